package authority

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// scrubAll reads everything once and returns what was found damaged.
func scrubAll(t *testing.T, a *Authority) map[string]int {
	t.Helper()
	damaged := map[string]int{}
	for _, source := range a.Scrubs() {
		items, err := source.Items()
		must(t, err)
		for _, item := range items {
			n, err := source.Check(t.Context(), item, func(int) error { return nil })
			must(t, err)
			damaged[source.Name] += n
		}
	}
	return damaged
}

// flipBit flips a bit of a file while a registry has it open.
func flipBit(t *testing.T, fsys durable.FS, path string, at int64) {
	t.Helper()
	f, err := fsys.OpenWrite(path)
	must(t, err)
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	must(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b, at)
	must(t, err)
	must(t, f.Close())
}

// scrubbed is a registry in memory with content and sealed segments.
func scrubbed(t *testing.T, change func(*Options)) (*Authority, *durable.Memory, []byte) {
	t.Helper()
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	if change != nil {
		change(&o)
	}
	a := open(t, o)
	content := wargtest.Component("precious")
	_, req := first("test:content", content)
	publish(t, a, req)
	upload(t, a, req, content)
	settled(t, a, req)
	for i := range 60 {
		_, req := first(fmt.Sprintf("test:many%d", i), nil)
		publish(t, a, req)
		settled(t, a, req)
	}
	if n := scrubAll(t, a); n["journal"]+n["history"]+n["content"] != 0 {
		t.Fatalf("damage without any: %v", n)
	}
	return a, m, content
}

// TestScrubbingFindsDamageOfTheLog flips bits while the registry works, where nobody
// looks by himself: it stops signing, and says why.
func TestScrubbingFindsDamageOfTheLog(t *testing.T) {
	for name, file := range map[string]string{"journal": "log/00000001.seg", "history": historyFile} {
		for _, at := range []int64{20, 700, 5000} {
			a, m, _ := scrubbed(t, func(o *Options) {
				var err error
				o.Audit, err = openTrail(o.FS, newClock())
				must(t, err)
			})
			flipBit(t, m, filepath.Join("/data/authority", file), at)
			n := scrubAll(t, a)
			if n[name] != 1 {
				t.Errorf("%s, byte %d: found %v", name, at, n)
			}
			f := a.Status().Fence
			if f == nil || f.Kind != FenceBehind || !strings.Contains(f.Reason, filepath.Base(file)) {
				t.Errorf("%s, byte %d: fenced as %+v", name, at, f)
			}
			if !slices.ContainsFunc(trailEvents(t, m), func(e trail.Event) bool { return e.Kind == trail.Damaged && e.Reason == f.Reason }) {
				t.Errorf("%s, byte %d: no line in the audit log", name, at)
			}
			_, req := first("test:late", nil)
			if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindUnavailable) {
				t.Errorf("%s: publishing goes on: %v", name, err)
			}
		}
	}
}

// TestScrubbingReadsTwice: what only one reading saw is no damage.
func TestScrubbingReadsTwice(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	once := &wrongOnce{FS: m}
	o := memoryOptions(once, c)
	a := open(t, o)
	for i := range 60 {
		_, req := first(fmt.Sprintf("test:many%d", i), nil)
		publish(t, a, req)
		settled(t, a, req)
	}
	once.path = "00000001.seg"
	if n := scrubAll(t, a); n["journal"] != 0 || once.path != "" {
		t.Errorf("found %v; read wrongly: %t", n, once.path == "")
	}
	if f := a.Status().Fence; f != nil {
		t.Errorf("fenced as %+v", f)
	}
}

// wrongOnce reads a file wrongly the first time it is opened.
type wrongOnce struct {
	durable.FS
	path string
}

func (w *wrongOnce) Open(name string) (durable.Reader, error) {
	r, err := w.FS.Open(name)
	if err != nil || w.path == "" || filepath.Base(name) != w.path {
		return r, err
	}
	w.path = ""
	return wrongReader{r}, nil
}

type wrongReader struct{ durable.Reader }

func (w wrongReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := w.Reader.ReadAt(b, off)
	if at := 900 - off; at >= 0 && at < int64(n) {
		b[at] ^= 1
	}
	return n, err
}

func contentPath(d warg.Digest) string {
	return filepath.Join("/data/content", d.Hex()[:2], d.Hex()[2:])
}

// TestScrubbingWithholdsContent: damaged content is not served, with an answer that says
// that it exists, until it is put back.
func TestScrubbingWithholdsContent(t *testing.T) {
	a, m, content := scrubbed(t, nil)
	d := warg.Sum(content)
	flipBit(t, m, contentPath(d), 3)
	if n := scrubAll(t, a); n["content"] != 1 {
		t.Errorf("found %v", n)
	}
	if _, err := a.Stat(t.Context(), d); !isKind(err, warg.KindUnavailable) {
		t.Errorf("looking at it: %v", err)
	}
	if _, err := a.Open(t.Context(), d); !isKind(err, warg.KindUnavailable) {
		t.Errorf("reading it: %v", err)
	}
	if f := a.Status().Fence; f != nil {
		t.Errorf("damaged content fences: %+v", f)
	}
}

// TestScrubbingHealsContent: somebody else has it.
func TestScrubbingHealsContent(t *testing.T) {
	var has []byte
	var asked int
	a, m, content := scrubbed(t, func(o *Options) {
		o.Heal = func(_ context.Context, _ warg.Digest, keep func(io.Reader) error) error {
			if asked++; has == nil {
				return errors.New("nobody has it")
			}
			return keep(bytes.NewReader(has))
		}
	})
	d := warg.Sum(content)
	for _, other := range [][]byte{nil, []byte("something else")} {
		has = other
		flipBit(t, m, contentPath(d), 3)
		scrubAll(t, a)
		if _, err := a.Stat(t.Context(), d); !isKind(err, warg.KindUnavailable) {
			t.Errorf("%q: looking at it: %v", other, err)
		}
		_, err := a.content.Put(d, bytes.NewReader(content), cas.Checks{MaxSize: 1 << 20})
		must(t, err)
	}
	has = content
	flipBit(t, m, contentPath(d), 3)
	if n := scrubAll(t, a); n["content"] != 1 || asked != 3 {
		t.Errorf("found %v, asked %d times", n, asked)
	}
	r, err := a.Open(t.Context(), d)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got, content) {
		t.Error("other bytes came back")
	}
}

// TestScrubbingBehindAFence: a registry that could open little of itself is scrubbed as
// far as that goes.
func TestScrubbingBehindAFence(t *testing.T) {
	for _, gone := range []string{historyFile, "anchor", "log/00000001.seg"} {
		a, m, content := scrubbed(t, nil)
		o := a.o
		must(t, a.Close())
		must(t, m.Remove(filepath.Join("/data/authority", gone)))
		o.Heal = func(context.Context, warg.Digest, func(io.Reader) error) error { return nil }
		a, err := Open(t.Context(), o)
		must(t, err)
		flipBit(t, m, contentPath(warg.Sum(content)), 3)
		if n := scrubAll(t, a); n["content"] != 1 {
			t.Errorf("without %s: found %v", gone, n)
		}
		if !a.Busy() && a.Status().Fence == nil {
			t.Errorf("without %s it is not fenced", gone)
		}
		must(t, a.Close())
	}
}
