package authority

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// witness is somebody outside who remembers everything that the registry ever
// told anybody.
type witness struct {
	accepted  map[warg.RecordID]warg.PublishRequest
	published map[warg.RecordID]uint64
	rejected  map[warg.RecordID]string
	views     []warg.SignedCheckpoint
	heard     func(warg.PublishRequest, warg.RecordStatus) // if not nil
}

func newWitness() *witness {
	return &witness{
		accepted: map[warg.RecordID]warg.PublishRequest{}, published: map[warg.RecordID]uint64{},
		rejected: map[warg.RecordID]string{},
	}
}

func (w *witness) saw(req warg.PublishRequest, st warg.RecordStatus) {
	id := req.Record.PackageRecordID()
	w.accepted[id] = req
	if w.heard != nil {
		w.heard(req, st)
	}
	switch st.State {
	case warg.StatePublished:
		w.published[id] = st.Index
	case warg.StateRejected:
		w.rejected[id] = st.Reason
	case warg.StateSourcing, warg.StateProcessing:
	}
}

// teller tells the story: a fixed sequence of everything that can happen to a
// registry. It ends at the first error, which is that of a crash.
type teller struct {
	ctx context.Context
	a   *Authority
	w   *witness
	err error
}

var errCrash = errors.New("crash")

// do runs a step of the story unless it has ended.
func (s *teller) do(step func() error) {
	if s.err != nil {
		return
	}
	s.err = step()
	if v, err := s.a.Checkpoint(s.ctx); err == nil {
		s.w.views = append(s.w.views, v.Signed)
	}
}

func (s *teller) publish(req warg.PublishRequest) {
	s.do(func() error {
		st, err := s.a.Publish(s.ctx, req)
		if err == nil {
			s.w.saw(req, st)
		}
		return err
	})
}

// upload sends content. Told again after a crash, nobody may wait for it any more.
func (s *teller) upload(req warg.PublishRequest, content []byte) {
	s.do(func() error {
		err := s.a.Upload(s.ctx, req.LogID, req.Record.PackageRecordID(), warg.Sum(content), strings.NewReader(string(content)))
		if isKind(err, warg.KindNotSourcing) || isKind(err, warg.KindRejected) {
			return nil
		}
		return err
	})
}

func (s *teller) settle(req warg.PublishRequest) {
	s.do(func() error {
		st, err := s.a.Settled(s.ctx, req.LogID, req.Record.PackageRecordID())
		if err == nil {
			s.w.saw(req, st)
		}
		return err
	})
}

// story tells the story and returns the error that ended it. Every telling uses
// the same records.
func story(ctx context.Context, a *Authority, w *witness) error {
	s := &teller{ctx: ctx, a: a, w: w}
	bob := wargtest.Bob()
	one, two, shared, bad := wargtest.Component("one"), wargtest.Component("two"), wargtest.Component("shared"), []byte("no wasm")

	p, r := first("test:one", one)
	s.publish(r)
	s.upload(r, one)
	s.settle(r)
	_, plain := first("test:plain", nil)
	s.publish(plain)
	s.settle(plain)
	_, waits := first("test:waits", two)
	s.publish(waits)
	next := p.Request(p.Next(bob, wargtest.Release("2.0.0", one), wargtest.Yank("1.0.0")))
	s.publish(next)
	s.settle(next)

	rival := wargtest.NewPackage("test:rivals")
	other := rival.Fork()
	a1, a2 := rival.Request(firstRecord(rival, shared)), other.Request(firstRecord(other, shared))
	s.publish(a1)
	s.publish(a2)
	s.upload(a1, shared)
	s.settle(a1)
	s.settle(a2)

	_, refused := first("test:refused", bad)
	s.publish(refused)
	s.upload(refused, bad)
	s.settle(refused)
	s.do(func() error {
		err := s.a.DefineNamespace(s.ctx, "later")
		if isKind(err, warg.KindConflict) {
			return nil // told again
		}
		return err
	})
	_, late := first("later:package", nil)
	s.publish(late)
	s.settle(late)
	wrong := p.Request(p.Next(bob, wargtest.Yank("9.9.9")))
	s.publish(wrong)
	s.settle(wrong)
	return s.err
}

// keeps checks that the registry keeps every promise that the witness heard.
func (w *witness) keeps(t *testing.T, a *Authority) {
	t.Helper()
	ctx := t.Context()
	for id, req := range w.accepted {
		st, err := a.Record(ctx, req.LogID, id)
		if err != nil {
			t.Errorf("an accepted record of %s was lost: %v", req.Name, err)
			continue
		}
		if index, ok := w.published[id]; ok && (st.State != warg.StatePublished || st.Index != index) {
			t.Errorf("the record of %s published at %d is now %+v", req.Name, index, st)
		}
		if reason, ok := w.rejected[id]; ok && (st.State != warg.StateRejected || st.Reason != reason) {
			t.Errorf("the record of %s rejected because %q is now %+v", req.Name, reason, st)
		}
	}
	for _, signed := range w.views {
		v, err := a.VerifyCheckpoint(ctx, signed)
		if err != nil || v.Checkpoint != warg.Verified || v.Signature != warg.Verified {
			t.Errorf("a checkpoint of length %d that was shown is now %+v (%v): a fork", signed.Unverified().LogLength, v, err)
		}
	}
	if n := len(w.views); n > 0 && length(t, a) < w.views[n-1].Unverified().LogLength {
		t.Errorf("the log shrank to %d", length(t, a))
	}
}

// audit rebuilds everything from what a stranger can fetch, and compares.
func audit(t *testing.T, a *Authority) {
	t.Helper()
	ctx := t.Context()
	v, err := a.Checkpoint(ctx)
	must(t, err)
	c, err := v.Signed.Open(wargtest.Alice().Public())
	must(t, err)
	packed, err := a.Ledger(ctx, 0, int(c.LogLength)+10)
	must(t, err)
	if len(packed) != int(c.LogLength)*warg.LedgerEntrySize {
		t.Fatalf("the ledger has %d bytes at length %d", len(packed), c.LogLength)
	}
	var edge vlog.Edge
	var entries []vmap.Entry
	var cursors []warg.LogCursor
	seen := map[warg.LogID]bool{warg.OperatorLogID: true}
	leaves := map[uint64]warg.Leaf{}
	for i := range c.LogLength {
		b := packed[i*warg.LedgerEntrySize:]
		leaf := warg.Leaf{LogID: warg.LogID(b[:32]), RecordID: warg.RecordID(b[32:64])}
		edge.Append(vlog.LeafHash(leaf.LogValue()))
		entries = append(entries, vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()})
		leaves[i] = leaf
		if !seen[leaf.LogID] {
			seen[leaf.LogID] = true
			cursors = append(cursors, warg.LogCursor{LogID: leaf.LogID})
		}
	}
	if edge.Root() != c.LogRoot {
		t.Error("the ledger leads to another log root")
	}
	if m := (vmap.Map{}).Update(entries); m.Root() != c.MapRoot {
		t.Error("the ledger leads to another map root")
	}
	page, err := a.Logs(ctx, warg.LogsRequest{LogLength: c.LogLength, Packages: cursors, Limit: 1000})
	must(t, err)
	var operator oplog.State
	total := 0
	for _, r := range page.Operator {
		must(t, operator.Validate(r.Envelope))
		if leaves[r.Index] != (warg.Leaf{LogID: warg.OperatorLogID, RecordID: r.OperatorRecordID()}) {
			t.Errorf("operator record at %d is not what the ledger says", r.Index)
		}
		total++
	}
	for _, log := range page.Packages {
		var state pkglog.State
		for _, r := range log.Records {
			must(t, state.Validate(r.Envelope))
			if leaves[r.Index] != (warg.Leaf{LogID: log.LogID, RecordID: r.PackageRecordID()}) {
				t.Errorf("record at %d is not what the ledger says", r.Index)
			}
			total++
		}
		for _, r := range state.Releases() {
			if r.Yanked {
				continue
			}
			d, err := r.Content.Digest()
			must(t, err)
			f, err := a.Open(ctx, d)
			if err != nil {
				t.Errorf("content of a published release is not there: %v", err)
				continue
			}
			must(t, f.Close())
		}
	}
	if total != int(c.LogLength) {
		t.Errorf("logs have %d records, the registry %d", total, c.LogLength)
	}
}
