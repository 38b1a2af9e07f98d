package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// origin is a registry that archives are made of.
type origin struct {
	t testing.TB
	*wargtest.Memory
	history  []warg.SignedCheckpoint // every checkpoint but those signed again
	packages map[string]*wargtest.Package
	contents map[string][]byte
}

func newOrigin(t testing.TB, domain string) *origin {
	t.Helper()
	m := wargtest.NewMemory(wargtest.Options{Domain: domain, Namespaces: []string{"test"}})
	o := &origin{t: t, Memory: m, packages: map[string]*wargtest.Package{}, contents: map[string][]byte{}}
	o.note()
	return o
}

// fork returns an independent registry with the same past.
func (o *origin) fork() *origin {
	f := &origin{t: o.t, Memory: o.Clone(), history: slices.Clone(o.history), packages: map[string]*wargtest.Package{}, contents: map[string][]byte{}}
	for name, p := range o.packages {
		f.packages[name] = p.Fork()
	}
	for d, c := range o.contents {
		f.contents[d] = c
	}
	return f
}

func (o *origin) note() { o.history = append(o.history, o.head()) }

func (o *origin) head() warg.SignedCheckpoint {
	o.t.Helper()
	v, err := o.Checkpoint(o.t.Context())
	if err != nil {
		o.t.Fatal(err)
	}
	return v.Signed
}

func (o *origin) length() uint64 { return o.head().Unverified().LogLength }

// release publishes a release of a package, made if it does not exist.
func (o *origin) release(name, version string, content []byte) {
	o.t.Helper()
	entries := []pkglog.Entry{wargtest.Release(version, content)}
	p, ok := o.packages[name]
	if !ok {
		p = wargtest.NewPackage(name)
		o.packages[name] = p
		entries = append([]pkglog.Entry{wargtest.Init(wargtest.Bob())}, entries...)
	}
	req := p.Request(p.Next(wargtest.Bob(), entries...))
	status, err := o.Publish(o.t.Context(), req)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, d := range status.Missing {
		if err := o.Upload(o.t.Context(), req.LogID, status.RecordID, d, bytes.NewReader(content)); err != nil {
			o.t.Fatal(err)
		}
	}
	o.contents[name+"@"+version] = content
	o.note()
}

// source returns the origin as a source.
func (o *origin) source() Source {
	return FromRegistry(o.Memory, func(_ context.Context, after uint64) iter.Seq2[warg.SignedCheckpoint, error] {
		return func(yield func(warg.SignedCheckpoint, error) bool) {
			for _, s := range o.history {
				if s.Unverified().LogLength > after && !yield(s, nil) {
					return
				}
			}
		}
	})
}

// small is a registry with three releases of two packages, the empty content and
// one of several frames among them.
func small(t testing.TB) *origin {
	t.Helper()
	o := newOrigin(t, "up.example")
	o.release("test:a", "1.0.0", wargtest.Component("a1"))
	o.release("test:b", "1.0.0", nil)
	o.release("test:a", "1.1.0", wargtest.Component("a2"))
	return o
}

// buffer is a part in memory.
type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

// export writes an archive into memory.
func export(t testing.TB, size int64, o ExportOptions) ([][]byte, Exported) {
	t.Helper()
	parts, done, err := tryExport(t.Context(), size, o)
	if err != nil {
		t.Fatal(err)
	}
	return parts, done
}

func tryExport(ctx context.Context, size int64, o ExportOptions) ([][]byte, Exported, error) {
	var files []*buffer
	v := NewVolumes(func(part int) (io.WriteCloser, error) {
		if part != len(files) {
			return nil, fmt.Errorf("part %d follows %d", part, len(files))
		}
		files = append(files, &buffer{})
		return files[part], nil
	}, size)
	done, err := Export(ctx, v, o)
	if err := errors.Join(err, v.Close()); err != nil {
		return nil, done, err
	}
	parts := make([][]byte, len(files))
	for i, f := range files {
		parts[i] = f.Bytes()
	}
	return parts, done, nil
}

// full exports all of some registries as one part.
func full(t testing.TB, origins ...*origin) []byte {
	t.Helper()
	parts, _ := export(t, 0, ExportOptions{Sources: sources(origins)})
	return parts[0]
}

// since exports what is new since an older archive.
func since(t testing.TB, older *Archive, origins ...*origin) []byte {
	t.Helper()
	parts, _ := export(t, 0, ExportOptions{Sources: sources(origins), Since: older})
	return parts[0]
}

func sources(origins []*origin) []Source {
	var all []Source
	for _, o := range origins {
		all = append(all, o.source())
	}
	return all
}

// partsOf makes parts of bytes.
func partsOf(parts ...[]byte) []Part {
	var all []Part
	for i, b := range parts {
		all = append(all, Part{fmt.Sprintf("a.%03d", i), bytes.NewReader(b), int64(len(b))})
	}
	return all
}

// open opens an archive in memory and demands that it can be.
func open(t testing.TB, parts ...[]byte) *Archive {
	t.Helper()
	a, err := Open(partsOf(parts...), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestExportIsDeterministic(t *testing.T) {
	a, b := small(t), newOrigin(t, "other.example")
	b.release("test:z", "0.1.0", wargtest.Component("z"))
	first, done := export(t, 0, ExportOptions{Sources: []Source{a.source(), b.source()}})
	again, _ := export(t, 0, ExportOptions{Sources: []Source{b.source(), a.source()}})
	if !bytes.Equal(first[0], again[0]) {
		t.Error("the same state makes different bytes")
	}
	arc := open(t, first...)
	if arc.ID() != done.ID {
		t.Errorf("the archive has id %s, the export said %s", arc.ID(), done.ID)
	}
	if want := []string{"other.example", "up.example"}; !slices.Equal(arc.Domains(), want) {
		t.Errorf("domains %v, want %v", arc.Domains(), want)
	}
	want := Counts{Checkpoints: 3, Leaves: 4, Operator: 1, Packages: 2, Records: 3, Contents: 3}
	for _, c := range a.contents {
		want.ContentBytes += uint64(len(c))
	}
	if got := arc.Cargo("up.example").Counts(); got != want || done.Registries[1].Counts != want {
		t.Errorf("counts %+v and %+v, want %+v", got, done.Registries[1].Counts, want)
	}
}

func TestSplitting(t *testing.T) {
	o := newOrigin(t, "up.example")
	big := bytes.Repeat([]byte("0123456789abcdef"), 40_000) // three frames
	o.release("test:a", "1.0.0", wargtest.Component("a1"))
	o.release("test:a", "1.1.0", big)
	o.release("test:b", "1.0.0", wargtest.Component("b"))
	whole, done := export(t, 0, ExportOptions{Sources: []Source{o.source()}})
	for _, size := range []int64{partHeader + 1000, 4096, 300_000, int64(len(whole[0])) - 1, int64(len(whole[0]))} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			parts, split := export(t, size, ExportOptions{Sources: []Source{o.source()}})
			if split.ID != done.ID {
				t.Errorf("the id depends on how the archive is split")
			}
			var joined []byte
			for i, p := range parts {
				if int64(len(p)) > size || len(p) <= partHeader {
					t.Errorf("part %d has %d bytes", i, len(p))
				}
				if i < len(parts)-1 && int64(len(p)) != size {
					t.Errorf("part %d has %d bytes and is not the last", i, len(p))
				}
				joined = append(joined, p[partHeader:]...)
			}
			if !bytes.Equal(joined, whole[0][partHeader:]) {
				t.Fatal("the parts joined are another stream")
			}
			c := open(t, parts...).Cargo("up.example")
			for name, want := range o.contents {
				if got := fetch(t, c, warg.Sum(want)); !bytes.Equal(got, want) {
					t.Errorf("content of %s differs", name)
				}
			}
		})
	}
}

func TestSmallestPartIsRefused(t *testing.T) {
	o := small(t)
	if _, _, err := tryExport(t.Context(), partHeader, ExportOptions{Sources: []Source{o.source()}}); err == nil {
		t.Error("parts without room for anything were written")
	}
}

// fetch reads content from a cargo.
func fetch(t testing.TB, c *Cargo, d warg.Digest) (content []byte) {
	t.Helper()
	err := c.Fetch(t.Context(), d, func(body io.Reader, size int64) (err error) {
		content, err = io.ReadAll(body)
		if int64(len(content)) != size {
			t.Errorf("content of %d bytes was announced with %d", len(content), size)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestSelection(t *testing.T) {
	o := small(t)
	parts, done := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Packages: []warg.PackageName{wargtest.Name("test:b")}})
	c := open(t, parts...).Cargo("up.example")
	if got := c.Counts(); got.Packages != 1 || got.Records != 1 || got.Contents != 1 || got.Leaves != 4 || got.Operator != 1 {
		t.Errorf("one package: %+v", got)
	}
	if done.Registries[0].MissingPackages != 0 {
		t.Errorf("packages that were not chosen are counted as missing")
	}
	_, _, err := tryExport(t.Context(), 0, ExportOptions{Sources: []Source{o.source()}, Packages: []warg.PackageName{wargtest.Name("test:zzz")}})
	if err == nil {
		t.Error("a package that does not exist was archived")
	}
}

func TestDelta(t *testing.T) {
	o := small(t)
	old := open(t, full(t, o))
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	o.release("test:c", "1.0.0", wargtest.Component("c"))
	delta := open(t, since(t, old, o))
	if id, ok := delta.Base(); !ok || id != old.ID() {
		t.Errorf("the delta builds on %s, %v", id, ok)
	}
	c := delta.Cargo("up.example")
	want := Counts{Checkpoints: 1, Leaves: 2, Packages: 2, Records: 2, Contents: 2}
	want.ContentBytes = c.Counts().ContentBytes
	if c.Counts() != want {
		t.Errorf("counts %+v, want %+v", c.Counts(), want)
	}
	if c.Base() != old.Cargo("up.example").Head() {
		t.Error("the base is another checkpoint")
	}
	_, err := c.Ledger(t.Context(), 0, 10)
	if err == nil {
		t.Error("the delta answers for leaves that it does not have")
	}
	// A delta on a delta lists what both before it have.
	o.release("test:b", "1.1.0", wargtest.Component("b2"))
	third := open(t, since(t, delta, o)).Cargo("up.example")
	logs := map[warg.LogID]uint64{}
	for l, err := range third.BaseLogs() {
		if err != nil || !l.Named {
			t.Fatal(l, err)
		}
		logs[l.LogID] = l.Count
	}
	for name, n := range map[string]uint64{"test:a": 3, "test:b": 1, "test:c": 1} {
		if logs[wargtest.Name(name).LogID()] != n {
			t.Errorf("the base has %d records of %s, want %d", logs[wargtest.Name(name).LogID()], name, n)
		}
	}
	contents := 0
	for _, err := range third.BaseContents() {
		if err != nil {
			t.Fatal(err)
		}
		contents++
	}
	if len(logs) != 3 || contents != 5 {
		t.Errorf("the base has %d logs and %d contents", len(logs), contents)
	}
	if n := third.Counts(); n.Records != 1 || n.Contents != 1 || n.Leaves != 1 {
		t.Errorf("second delta: %+v", n)
	}
}

func TestEmptyDelta(t *testing.T) {
	o := small(t)
	old := open(t, full(t, o))
	delta := open(t, since(t, old, o))
	if got := delta.Cargo("up.example").Counts(); got != (Counts{}) {
		t.Errorf("nothing is new, but there is %+v", got)
	}
	if since := open(t, since(t, delta, o)); since.Size() == 0 || since.Cargo("up.example").Counts() != (Counts{}) {
		t.Error("a delta on an empty delta is not empty")
	}
}

func TestDeltaIsRefused(t *testing.T) {
	o := small(t)
	before := o.fork()
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	before.release("test:a", "2.0.0", wargtest.Component("other"))
	newer := open(t, full(t, o))
	longer := o.fork()
	longer.release("test:a", "3.0.0", wargtest.Component("a4"))
	other := newOrigin(t, "other.example")
	for _, test := range []struct {
		name  string
		since []byte
		of    *origin
	}{
		{"of another history", full(t, before), o},
		{"of a later state", full(t, longer), o},
		{"of a registry that is not archived", full(t, o, other), o},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := tryExport(t.Context(), 0, ExportOptions{Sources: []Source{test.of.source()}, Since: open(t, test.since)})
			if err == nil {
				t.Error("a delta was written")
			}
			t.Log(err)
		})
	}
	if parts, _ := export(t, 0, ExportOptions{Sources: []Source{o.source(), other.source()}, Since: newer}); len(parts) != 1 {
		t.Error("a registry cannot join later")
	} else if c := open(t, parts...).Cargo("other.example"); !c.Base().IsZero() || c.Counts().Leaves != 1 {
		t.Errorf("a registry that joined later: %+v", c.Counts())
	}
}

// TestStub: a delta can be made without the archive that it builds on.
func TestStub(t *testing.T) {
	o := small(t)
	first := open(t, full(t, o))
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	second := open(t, since(t, first, o))
	o.release("test:a", "2.1.0", wargtest.Component("a4"))
	for name, old := range map[string]*Archive{"of a full archive": first, "of a delta": second} {
		var stub bytes.Buffer
		if err := old.WriteStub(&stub); err != nil {
			t.Fatal(err)
		}
		want, _ := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Since: old})
		got, _ := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Since: open(t, stub.Bytes()), Stub: true})
		if !bytes.Equal(got[0], want[0]) {
			t.Errorf("%s: the delta differs", name)
		}
	}
}

// TestJoined: an archive reads as one file, however it was split.
func TestJoined(t *testing.T) {
	o := small(t)
	want := full(t, o)
	parts, _ := export(t, partHeader+500, ExportOptions{Sources: []Source{o.source()}})
	a := open(t, parts...)
	got, err := io.ReadAll(io.NewSectionReader(a, 0, a.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the parts joined differ: %v", err)
	}
	var files []*buffer
	v := NewVolumes(func(int) (io.WriteCloser, error) {
		files = append(files, &buffer{})
		return files[len(files)-1], nil
	}, partHeader+500)
	if err := errors.Join(CopyStream(v, bytes.NewReader(want)), v.Close()); err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if !bytes.Equal(f.Bytes(), parts[i]) {
			t.Errorf("part %d, cut from the whole, differs", i)
		}
	}
	for _, bad := range [][]byte{nil, want[:10], parts[1], bytes.Repeat([]byte("x"), 100)} {
		if err := CopyStream(io.Discard, bytes.NewReader(bad)); !errors.As(err, new(*DamageError)) {
			t.Errorf("copying something else: %v", err)
		}
	}
	for _, at := range []int64{0, 1, partHeader - 1, partHeader, partHeader + 1, a.Size() - 1} {
		var b [3]byte
		n, err := a.ReadAt(b[:], at)
		if !bytes.Equal(b[:n], want[at:min(at+3, int64(len(want)))]) || (err != nil) != (n < 3) {
			t.Errorf("at %d: %d bytes, %v", at, n, err)
		}
	}
}

// rotten is a source of which one content is damaged where it is held.
type rotten struct {
	Source
	digest warg.Digest
}

func (r rotten) Content(ctx context.Context, d warg.Digest) (warg.Content, int64, error) {
	body, size, err := r.Source.Content(ctx, d)
	if err != nil || d != r.digest {
		return body, size, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(body, b); err != nil {
		return nil, 0, errors.Join(err, body.Close())
	}
	b[len(b)/2] ^= 1
	return unheld{bytes.NewReader(b)}, size, body.Close()
}

// unheld is content in memory.
type unheld struct{ *bytes.Reader }

func (unheld) Close() error { return nil }

// TestDamagedContentIsNotCarried: what is not what it is called is noticed here, and not
// by the site that the medium was carried to.
func TestDamagedContentIsNotCarried(t *testing.T) {
	o := small(t)
	bad := rotten{o.source(), warg.Sum(o.contents["test:a@1.1.0"])}
	if _, _, err := tryExport(t.Context(), 0, ExportOptions{Sources: []Source{bad}}); err == nil || !strings.Contains(err.Error(), "damaged where it is held") {
		t.Errorf("got %v", err)
	}
}
