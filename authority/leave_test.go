package authority

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// TestFenceUnderLoad: a fence that is raised while batches follow each other lets the one
// that is on its way end, and no other begin; nor is anything signed again.
func TestFenceUnderLoad(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	o.byHand = true
	var a *Authority
	raise := false
	_, second := first("test:second", nil)
	o.Step = func(name string) error {
		if raise && name == "visible" {
			raise = false
			publish(t, a, second)
			a.setFence(FenceBehind, "somebody has seen more")
		}
		return nil
	}
	a = open(t, o)
	_, req := first("test:first", nil)
	publish(t, a, req)
	raise = true
	c.Add(48 * time.Hour)
	_, err := a.turn()
	must(t, err)
	signed := a.anchor.Signed
	if n := signed.Unverified().LogLength; n != 2 {
		t.Errorf("length %d was signed", n)
	}
	c.Add(48 * time.Hour)
	_, err = a.turn()
	must(t, err)
	if a.anchor.Signed != signed {
		t.Error("a fenced registry signs")
	}
	if st, err := a.Record(t.Context(), second.LogID, second.Record.PackageRecordID()); err != nil || st.State != warg.StateProcessing {
		t.Errorf("the record behind the fence is %+v, %v", st, err)
	}
}

// TestFencesKeepTheirRank: what the clock has to say never opens what was closed for a
// weightier reason, nor does its own end.
func TestFencesKeepTheirRank(t *testing.T) {
	c := newClock()
	a := open(t, memoryOptions(durable.NewMemory(), c))
	a.setFence(FenceClock, "first")
	a.setFence(FenceBehind, "second")
	a.setFence(FencePeers, "third")
	a.setFence(FenceClock, "fourth")
	a.checkClock(c.Now())
	if f := a.Status().Fence; f == nil || f.Kind != FenceBehind || f.Reason != "second" {
		t.Errorf("the fence is %+v", f)
	}
}

// TestAcceptTooLowDestroysNothing: all that knew how much was signed for is gone, and a
// frame is damaged. A word that is too low and has a root that is not the journal's is
// refused with everything as it was, also what stands behind the damage.
func TestAcceptTooLowDestroysNothing(t *testing.T) {
	c := newClock()
	m, w := grown(t, c)
	must(t, m.Remove("/data/authority/anchor"))
	must(t, m.Remove("/data/authority/anchor.log"))
	const segment1 = "/data/authority/log/00000001.seg"
	content := []byte(m.Tree("/data/authority")[segment1])
	last := len(content) - 1
	for content[last] == 0 {
		last--
	}
	flip(t, m, segment1, int64(last))
	before := m.Tree("/data/authority")
	o := memoryOptions(m, c)
	low := w.views[0].Unverified()
	var no *RefusedError
	if err := Accept(t.Context(), o, Word{low.LogLength, warg.Sum(nil)}); !errors.As(err, &no) {
		t.Errorf("accepted: %v", err)
	}
	after := m.Tree("/data/authority")
	for _, tree := range []map[string]string{before, after} {
		delete(tree, "/data/authority/index.opening")
		delete(tree, "/data/authority/lock")
	}
	if !maps.Equal(before, after) {
		t.Error("a refused word changed something")
	}
	if _, err := anchor.NewFile(m, "/data/authority/anchor", "").Load(); err == nil {
		t.Error("there is an anchor")
	}
}
