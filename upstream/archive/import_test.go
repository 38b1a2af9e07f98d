package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

var _ upstream.Pinner = (*cache.Registry)(nil)

// later is after all checkpoints of these tests.
func later() time.Time { return time.Unix(1_700_100_000, 0) }

// pool makes scratch stores in one database.
type pool struct {
	cache *cache.Cache
	next  atomic.Int64
}

func newPool(t testing.TB) *pool {
	t.Helper()
	return &pool{cache: openCache(t, t.TempDir())}
}

func openCache(t testing.TB, dir string) *cache.Cache {
	t.Helper()
	c, err := cache.Open(cache.Options{Dir: dir, TreeCache: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (p *pool) scratch(string) (Scratch, error) { return p, nil }

func (p *pool) Store(domain string) (upstream.Store, error) {
	return p.cache.Registry(fmt.Sprintf("%s-%d", domain, p.next.Add(1)))
}

func (p *pool) Close() error { return nil }

// site is where archives are imported.
type site struct {
	t        testing.TB
	dir      string
	pool     *pool
	cache    *cache.Cache
	stores   map[string]*cache.Registry
	replicas map[string]*upstream.Replica
}

// newSite makes a site with offline upstreams that hang on Alice's key.
func newSite(t testing.TB, p *pool, domains ...string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), pool: p, stores: map[string]*cache.Registry{}, replicas: map[string]*upstream.Replica{}}
	s.cache = p.cache
	for _, d := range domains {
		s.open(d, upstream.Options{OperatorKey: wargtest.Alice().Public().ID(), Offline: true})
	}
	return s
}

func (s *site) open(domain string, o upstream.Options) {
	s.t.Helper()
	store, err := s.cache.Registry(fmt.Sprintf("%s-site-%d", domain, s.pool.next.Add(1)))
	if err != nil {
		s.t.Fatal(err)
	}
	o.Domain, o.Store, o.Now = domain, store, later
	o.Dir, o.EvidenceDir = filepath.Join(s.dir, "upstreams", domain), filepath.Join(s.dir, "evidence")
	r, err := upstream.Open(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { r.Close() })
	s.stores[domain], s.replicas[domain] = store, r
}

func (s *site) options(archives ...*Archive) ImportOptions {
	return ImportOptions{
		Archives: archives, Replica: func(d string) *upstream.Replica { return s.replicas[d] },
		Scratch: s.pool.scratch, TempDir: s.dir, Now: later,
	}
}

// take imports archives and demands that they can be.
func (s *site) take(files ...[]byte) []upstream.Imported {
	s.t.Helper()
	done, err := s.try(files...)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

func (s *site) try(files ...[]byte) ([]upstream.Imported, error) {
	var archives []*Archive
	for _, b := range files {
		a, err := Open(partsOf(b), nil)
		if err != nil {
			return nil, err
		}
		archives = append(archives, a)
	}
	return Import(s.t.Context(), s.options(archives...))
}

// state returns what the site holds, as the bytes of an archive of it, or nil.
func (s *site) state() []byte {
	s.t.Helper()
	var held []Source
	for _, r := range s.replicas {
		if _, err := r.Holdings().Head(s.t.Context()); err == nil {
			held = append(held, r.Holdings())
		}
	}
	if len(held) == 0 {
		return nil
	}
	parts, _, err := tryExport(s.t.Context(), 0, ExportOptions{Sources: held})
	if err != nil {
		s.t.Fatal(err)
	}
	return parts[0]
}

// empty demands that nothing of an import arrived.
func (s *site) empty(contents ...[]byte) {
	s.t.Helper()
	if s.state() != nil {
		s.t.Fatal("something is served")
	}
	for domain, store := range s.stores {
		if n := store.Trees().LogLength; n != 0 {
			s.t.Fatalf("%d leaves of %s are stored", n, domain)
		}
		for _, c := range contents {
			if _, err := store.StatContent(warg.Sum(c)); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
				s.t.Fatalf("content is stored: %v", err)
			}
		}
	}
}

func TestImport(t *testing.T) {
	o := small(t)
	file := full(t, o)
	s := newSite(t, newPool(t), "up.example")
	done := s.take(file)
	want := upstream.Imported{Domain: "up.example", To: 4, Packages: 2, Records: 3, Contents: 3}
	want.ContentBytes = done[0].ContentBytes
	if len(done) != 1 || done[0] != want {
		t.Errorf("imported %+v, want %+v", done, want)
	}
	// Nobody may be there to have it from again, so none of it is evicted.
	if held, err := s.stores["up.example"].Holdings(t.Context()); err != nil || held.Pinned != held.Contents || held.Contents != 3 {
		t.Errorf("%d of %d contents are pinned: %v", held.Pinned, held.Contents, err)
	}
	// What a site holds makes the same archive again: nothing was lost on the way.
	if !bytes.Equal(s.state(), file) {
		t.Error("the site's own archive differs")
	}
	if again := s.take(file); again[0] != (upstream.Imported{Domain: "up.example", From: 4, To: 4}) {
		t.Errorf("importing again brought %+v", again)
	}
	st := s.replicas["up.example"].Status()
	if signed := o.head().Unverified().Timestamp; st.VerifiedAt.Unix() != int64(signed) || st.LogLength != 4 {
		t.Errorf("verified at %v, signed at %d; length %d", st.VerifiedAt, signed, st.LogLength)
	}
}

func TestImportOfSeveralRegistries(t *testing.T) {
	a, b := small(t), newOrigin(t, "other.example")
	b.release("test:z", "0.1.0", wargtest.Component("z"))
	file := full(t, a, b)
	s := newSite(t, newPool(t), "up.example", "other.example")
	s.take(file)
	if !bytes.Equal(s.state(), file) {
		t.Error("the site's own archive differs")
	}
	// All or nothing: one registry that the site does not know keeps the others out.
	half := newSite(t, s.pool, "up.example")
	if _, err := half.try(file); !errors.Is(err, &warg.Error{Kind: warg.KindForbidden}) {
		t.Errorf("got %v", err)
	}
	half.empty(a.contents["test:a@1.0.0"])
	// Or one that hangs on another key.
	half.open("other.example", upstream.Options{OperatorKey: wargtest.Bob().Public().ID(), Offline: true})
	if _, err := half.try(file); upstream.ClassOf(err) != upstream.ClassPin {
		t.Errorf("got %v", err)
	}
	half.empty(a.contents["test:a@1.0.0"])
	// Whichever comes first.
	other := newSite(t, s.pool, "other.example")
	other.open("up.example", upstream.Options{OperatorKey: wargtest.Bob().Public().ID(), Offline: true})
	if _, err := other.try(file); upstream.ClassOf(err) != upstream.ClassPin {
		t.Errorf("got %v", err)
	}
	other.empty(b.contents["test:z@0.1.0"])
}

func TestImportNeedsAPin(t *testing.T) {
	file := full(t, small(t))
	s := newSite(t, newPool(t))
	s.open("up.example", upstream.Options{TrustFirstKey: true})
	if _, err := s.try(file); !errors.Is(err, &warg.Error{Kind: warg.KindForbidden}) {
		t.Errorf("a key was trusted from an archive: %v", err)
	}
	s.empty()
}

func TestImportOfDeltas(t *testing.T) {
	o := small(t)
	first := full(t, o)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	o.release("test:c", "1.0.0", wargtest.Component("c"))
	second := since(t, open(t, first), o)
	if err := o.Operate(wargtest.Alice(), oplog.DefineNamespace{Namespace: "more"}); err != nil {
		t.Fatal(err)
	}
	o.note()
	o.release("test:c", "1.1.0", wargtest.Component("c2"))
	o.Resign()
	third := since(t, open(t, second), o)
	want := full(t, o)
	p := newPool(t)
	for _, test := range []struct {
		name  string
		steps [][][]byte
	}{
		{"one after another", [][][]byte{{first}, {second}, {third}}},
		{"together", [][][]byte{{first, second, third}}},
		{"some together", [][][]byte{{first}, {second, third}}},
		{"again and again", [][][]byte{{first, second}, {first}, {second}, {second, third}, {third}, {first}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, p, "up.example")
			for _, files := range test.steps {
				s.take(files...)
			}
			if !bytes.Equal(s.state(), want) {
				t.Error("the site does not hold what a full archive has")
			}
		})
	}
}

func TestDeltaWithoutItsBase(t *testing.T) {
	o := small(t)
	first := full(t, o)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	second := since(t, open(t, first), o)
	o.release("test:a", "3.0.0", wargtest.Component("a4"))
	third := since(t, open(t, second), o)
	other := newOrigin(t, "up.example")
	other.release("test:b", "1.0.0", nil)
	parts, _ := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Packages: []warg.PackageName{wargtest.Name("test:b")}})
	for _, test := range []struct {
		name         string
		has, imports [][]byte
	}{
		{"nothing here", nil, [][]byte{second}},
		{"one left out", [][]byte{first}, [][]byte{third}},
		{"one left out of several", nil, [][]byte{first, third}},
		{"wrong order", nil, [][]byte{second, first}},
		{"the ledger, but not all packages", parts, [][]byte{third}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, newPool(t), "up.example")
			if test.has != nil {
				s.take(test.has...)
			}
			before := s.state()
			_, err := s.try(test.imports...)
			if !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
			if !bytes.Equal(before, s.state()) {
				t.Error("something was stored")
			}
		})
	}
	if _, err := newSite(t, newPool(t), "up.example").try(second, first); err == nil {
		t.Error("archives in the wrong order are taken")
	}
}

// TestDeltaTellsWhatIsMissing: a site that lacks something which the archives before a
// delta brought is told, even if the delta has nothing to do with it: nobody will bring
// it any more.
func TestDeltaTellsWhatIsMissing(t *testing.T) {
	o := small(t)
	first := full(t, o)
	part, _ := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Packages: []warg.PackageName{wargtest.Name("test:b")}})
	o.release("test:b", "2.0.0", wargtest.Component("b2"))
	delta := since(t, open(t, first), o)
	s := newSite(t, newPool(t), "up.example")
	s.take(part[0])
	before := s.state()
	if _, err := s.try(delta); !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
		t.Errorf("records that are not here: %v", err)
	}
	if !bytes.Equal(before, s.state()) {
		t.Error("something was stored")
	}
	s.take(first)
	s.take(delta)
	if !bytes.Equal(s.state(), full(t, o)) {
		t.Error("the site does not hold what a full archive has")
	}
}

// TestForks: a registry with two histories is refused with evidence, wherever the two
// come from, and believed nothing more.
func TestForks(t *testing.T) {
	o := small(t)
	first := full(t, o)
	f := o.fork()
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	f.release("test:a", "2.0.0", wargtest.Component("evil"))
	same := full(t, f)
	delta := since(t, open(t, first), f)
	o.release("test:a", "2.1.0", wargtest.Component("a4"))
	shorter := same
	for range 3 {
		f.release("test:b", fmt.Sprintf("2.0.%d", len(f.history)), nil)
	}
	longer := full(t, f)
	onFork := since(t, open(t, same), f)
	ours := full(t, o)
	resigned := o.fork() // signs the shorter state again, after the longer one
	resigned.Memory = small(t).Memory
	for range 10 {
		resigned.Resign()
	}
	for _, test := range []struct {
		name  string
		has   []byte
		file  []byte
		class upstream.Class
	}{
		{"longer", ours, longer, upstream.ClassEquivocation},
		{"shorter", ours, shorter, upstream.ClassEquivocation},
		{"of the same length", full(t, forked(t)), same, upstream.ClassEquivocation},
		{"delta on the common past", ours, delta, upstream.ClassEquivocation},
		{"delta on the fork", ours, onFork, upstream.ClassEquivocation},
		{"rewind", ours, full(t, resigned), upstream.ClassRewind},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, newPool(t), "up.example")
			s.take(test.has)
			before := s.state()
			_, err := s.try(test.file)
			if upstream.ClassOf(err) != test.class {
				t.Fatalf("got %v (%v)", err, upstream.ClassOf(err))
			}
			if len(upstream.EvidenceOf(err)) == 0 {
				t.Error("there is no evidence")
			}
			st := s.replicas["up.example"].Status()
			if st.State != upstream.StateQuarantined || st.Quarantine.Class != test.class.String() {
				t.Errorf("state %s %+v", st.State, st.Quarantine)
			}
			if !bytes.Equal(before, s.state()) {
				t.Error("what is served changed")
			}
			if _, err := s.try(test.has); err == nil {
				t.Error("a quarantined registry is believed again")
			}
		})
	}
}

// forked is like the first registry of TestForks after its next release.
func forked(t *testing.T) *origin {
	o := small(t)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	return o
}

// TestArchiveThatContradictsItself: an archive with checkpoints of two histories has
// the proof against the registry in itself.
func TestArchiveThatContradictsItself(t *testing.T) {
	o := small(t)
	f := o.fork()
	f.release("test:b", "2.0.0", nil)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	o.release("test:a", "2.1.0", wargtest.Component("a4"))
	o.history[len(o.history)-2] = f.head() // signed, of length 5, of another history
	s := newSite(t, newPool(t), "up.example")
	_, err := s.try(full(t, o))
	if upstream.ClassOf(err) != upstream.ClassEquivocation || len(upstream.EvidenceOf(err)) == 0 {
		t.Errorf("got %v", err)
	}
	s.empty()
	// Without anything to import into, the evidence is there all the same.
	opts := ImportOptions{Archives: []*Archive{open(t, full(t, o))}, Scratch: s.pool.scratch, TempDir: t.TempDir(), Now: later}
	if _, err := Verify(t.Context(), opts); len(upstream.EvidenceOf(err)) == 0 {
		t.Errorf("got %v", err)
	}
}

func TestVerify(t *testing.T) {
	o := small(t)
	first := full(t, o)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	second := since(t, open(t, first), o)
	opts := ImportOptions{Archives: []*Archive{open(t, first), open(t, second)}, Scratch: newPool(t).scratch, TempDir: t.TempDir(), Now: later}
	done, err := Verify(t.Context(), opts)
	if err != nil || len(done) != 1 {
		t.Fatal(done, err)
	}
	if v := done[0]; v.Checkpoint.LogLength != 5 || v.OperatorKey != wargtest.Alice().Public().ID() || v.Pinned {
		t.Errorf("verified %+v", v)
	}
	opts.Pin = func(string) warg.KeyID { return wargtest.Alice().Public().ID() }
	if done, err = Verify(t.Context(), opts); err != nil || !done[0].Pinned {
		t.Errorf("with the pin: %+v, %v", done, err)
	}
	opts.Pin = func(string) warg.KeyID { return wargtest.Bob().Public().ID() }
	if _, err = Verify(t.Context(), opts); upstream.ClassOf(err) != upstream.ClassPin {
		t.Errorf("with another pin: %v", err)
	}
	opts.Pin, opts.Archives = nil, opts.Archives[1:]
	if _, err = Verify(t.Context(), opts); !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
		t.Errorf("a delta alone: %v", err)
	}
}

// TestLostCache: the head outlives the cache, which importing again restores.
func TestLostCache(t *testing.T) {
	o := small(t)
	first := full(t, o)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	second := since(t, open(t, first), o)
	s := newSite(t, newPool(t), "up.example")
	s.take(first)
	s.take(second)
	want := s.state()
	s.replicas["up.example"].Close()
	s.cache = openCache(t, t.TempDir())
	s.open("up.example", upstream.Options{OperatorKey: wargtest.Alice().Public().ID(), Offline: true})
	if s.state() != nil {
		t.Fatal("the cache was not lost")
	}
	if _, err := s.try(first); !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
		t.Errorf("the view went back, or: %v", err)
	}
	if s.state() != nil {
		t.Error("something older than the head is served")
	}
	s.take(first, second)
	if !bytes.Equal(s.state(), want) {
		t.Error("what was lost is not there again")
	}
}

// TestEvictedContentComesBack: an import adds what is not held, even from an older
// archive, and changes nothing else.
func TestOlderArchiveOnAPartialSite(t *testing.T) {
	o := small(t)
	older := full(t, o)
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	parts, _ := export(t, 0, ExportOptions{Sources: []Source{o.source()}, Packages: []warg.PackageName{wargtest.Name("test:b")}})
	s := newSite(t, newPool(t), "up.example")
	s.take(parts[0])
	done := s.take(older)
	if got := done[0]; got.From != 5 || got.To != 5 || got.Packages != 1 || got.Records != 2 || got.Contents != 2 {
		t.Errorf("imported %+v", got)
	}
}

// TestEveryByteResealed changes every byte of an archive and makes all checksums
// right again, as an attacker would. Each is refused with nothing stored, or makes
// the same state.
func TestEveryByteResealed(t *testing.T) {
	good := full(t, small(t))
	p := newPool(t)
	ref := newSite(t, p, "up.example")
	ref.take(good)
	want := ref.state()
	var opened, harmless atomic.Int64
	t.Run("at", func(t *testing.T) {
		const atATime = 256
		for from := partHeader; from < len(good); from += atATime {
			t.Run(fmt.Sprint(from), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, p, "up.example")
				for i := from; i < min(from+atATime, len(good)); i++ {
					bad := bytes.Clone(good)
					bad[i] ^= 1
					bad = reseal(bad)
					if _, err := Open(partsOf(bad), nil); err != nil || bytes.Equal(bad, good) {
						continue
					}
					opened.Add(1)
					_, err := s.try(bad)
					switch {
					case upstream.ClassOf(err) != upstream.ClassNone, errors.Is(err, &warg.Error{Kind: warg.KindForbidden}):
						s.empty()
					case err != nil:
						t.Fatalf("byte %d: %v", i, err)
					default: // it is a fetch token, which is the registry's own business
						harmless.Add(1)
						if got := s.state(); !sameButTokens(t, got, want) {
							t.Fatalf("byte %d makes another state", i)
						}
						s = newSite(t, p, "up.example")
					}
				}
			})
		}
	})
	t.Logf("%d of %d changed archives open, %d of them are harmless", opened.Load(), len(good), harmless.Load())
	if opened.Load() == 0 || harmless.Load() == 0 {
		t.Error("the test does not reach what it is about")
	}
}

// sameButTokens reports whether two archives of one registry differ in nothing but
// fetch tokens.
func sameButTokens(t *testing.T, a, b []byte) bool {
	t.Helper()
	strip := func(file []byte) []byte {
		c := open(t, file).Cargo("up.example")
		out := &buffer{}
		w := newWriter(out)
		for log := range c.Packages() {
			records, err := everything(c, log.LogID)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				r.Token = ""
				w.write(kindRecord, func(e *encoder) { e.record(r) })
			}
		}
		records, err := everything(c, warg.OperatorLogID)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			r.Token = ""
			w.write(kindRecord, func(e *encoder) { e.record(r) })
		}
		f := c.frames(0)
		for f.at < f.end {
			k, payload, err := f.next()
			if err != nil {
				t.Fatal(err)
			}
			if k != kindRecord && k != kindOperator && k != kindEnd {
				w.frame(k, payload)
			}
		}
		return out.Bytes()
	}
	return bytes.Equal(strip(a), strip(b))
}

// TestServingOffline runs the conformance suite against a site that gets everything
// by archives, with the cable out.
func TestServingOffline(t *testing.T) {
	wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		o := &origin{t: t, Memory: m}
		o.note()
		s := newSite(t, newPool(t))
		s.open(m.Domain(), upstream.Options{OperatorKey: wargtest.Alice().Public().ID(), MaxAge: 24 * 365 * time.Hour, Transport: cut{t: t}})
		var last *Archive
		sync := func(ctx context.Context) error {
			file := full(t, o)
			if last != nil {
				file = since(t, last, o)
			}
			last = open(t, file)
			_, err := s.try(file)
			return err
		}
		return wargtest.Subject{
			Registry: s.replicas[m.Domain()], Publisher: noting{m, o}, Sync: sync,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
			Imports: true, Wasm: true, Restarts: true,
		}
	})
}

// cut is the transport of a site without network. Only content that nobody has may
// be asked for: a site that says so in its configuration would answer 503 even then.
type cut struct {
	upstream.Transport
	t *testing.T
}

func (c cut) Fetch(_ context.Context, d warg.Digest, _ func(io.Reader, int64) error) error {
	return warg.NotFound(warg.KindContentNotFound, d)
}

func (c cut) Checkpoint(context.Context) (warg.View, error) {
	return warg.View{}, warg.Errorf(warg.KindUnavailable, "the cable is out")
}

// noting notes the checkpoint after everything that is published.
type noting struct {
	*wargtest.Memory
	o *origin
}

func (n noting) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	st, err := n.Memory.Publish(ctx, req)
	n.look()
	return st, err
}

func (n noting) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, d warg.Digest, body io.Reader) error {
	err := n.Memory.Upload(ctx, log, id, d, body)
	n.look()
	return err
}

func (n noting) look() {
	if h := n.o.head(); h.Unverified().LogLength > n.o.history[len(n.o.history)-1].Unverified().LogLength {
		n.o.history = append(n.o.history, h)
	}
}

func TestImportNeedsRoom(t *testing.T) {
	o := small(t)
	file := full(t, o)
	s := newSite(t, newPool(t), "up.example")
	opts := s.options(open(t, file))
	room := opts.Archives[0].Cargo("up.example").Counts().ContentBytes
	opts.Free = func() (uint64, error) { return room - 1, nil }
	if _, err := Import(t.Context(), opts); !errors.Is(err, &warg.Error{Kind: warg.KindNoSpace}) {
		t.Errorf("got %v", err)
	}
	s.empty(o.contents["test:a@1.0.0"])
	opts.Free = func() (uint64, error) { return room, nil }
	if _, err := Import(t.Context(), opts); err != nil {
		t.Error(err)
	}
	opts.Free = func() (uint64, error) { return 0, nil }
	if _, err := Import(t.Context(), opts); err != nil {
		t.Errorf("what is held already takes room: %v", err)
	}
}

// brittle is a store of which one call that writes fails.
type brittle struct {
	*cache.Registry
	*chance
}

var errBroken = errors.New("the disk is broken")

func (b *brittle) Extend(ctx context.Context, leaves []warg.Leaf, accept func(warg.Checkpoint) error) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.Extend(ctx, leaves, accept)
}

func (b *brittle) PutRecords(log warg.LogID, n uint64, records []warg.Record) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.PutRecords(log, n, records)
}

func (b *brittle) PutName(log warg.LogID, name warg.PackageName) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.PutName(log, name)
}

func (b *brittle) PutContent(ctx context.Context, d warg.Digest, body io.Reader, limit int64) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.PutContent(ctx, d, body, limit)
}

func (b *brittle) PinContent(d warg.Digest) error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.PinContent(d)
}

func (b *brittle) Sync() error {
	if err := b.step(); err != nil {
		return err
	}
	return b.Registry.Sync()
}

// TestBrokenStore lets every write of an import fail once, the first, the second and
// so on until there are no more. What is served stays what it was, also after a
// restart, and importing again completes it.
func TestBrokenStore(t *testing.T) {
	o := small(t)
	first := full(t, o)
	o.release("test:c", "1.0.0", wargtest.Component("c"))
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	second := since(t, open(t, first), o)
	want := full(t, o)
	p := newPool(t)
	for fails := 1; ; fails++ {
		s := newSite(t, p, "up.example")
		s.take(first)
		before := s.state()
		b := &brittle{Registry: s.stores["up.example"], chance: &chance{act: func(string) error { return errBroken }}}
		b.left.Store(int64(fails))
		options := upstream.Options{
			Domain: "up.example", Store: b, OperatorKey: wargtest.Alice().Public().ID(), Offline: true, Now: later,
			Dir: filepath.Join(s.dir, "upstreams", "up.example"), EvidenceDir: filepath.Join(s.dir, "evidence"),
		}
		restart := func() {
			t.Helper()
			s.replicas["up.example"].Close()
			r, err := upstream.Open(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			s.replicas["up.example"] = r
		}
		restart()
		_, err := s.try(second)
		if err == nil {
			if fails < 8 {
				t.Errorf("an import has only %d writes", fails-1)
			}
			break
		}
		if !errors.Is(err, errBroken) {
			t.Fatalf("write %d: %v", fails, err)
		}
		if !bytes.Equal(s.state(), before) {
			t.Fatalf("write %d: what is served changed", fails)
		}
		restart()
		if !bytes.Equal(s.state(), before) {
			t.Fatalf("write %d: what is served changed with a restart", fails)
		}
		s.take(second)
		if !bytes.Equal(s.state(), want) {
			t.Fatalf("write %d: importing again does not complete it", fails)
		}
	}
}

// TestNobodyIsLeftBehind: a part of the news is not taken where that would make
// packages unavailable that are held.
func TestNobodyIsLeftBehind(t *testing.T) {
	o := small(t)
	first := full(t, o)
	some := func(older *Archive, names ...string) []byte {
		t.Helper()
		x := ExportOptions{Sources: []Source{o.source()}, Since: older}
		for _, name := range names {
			x.Packages = append(x.Packages, wargtest.Name(name))
		}
		parts, _ := export(t, 0, x)
		return parts[0]
	}
	onlyA := some(nil, "test:a")
	o.release("test:a", "2.0.0", wargtest.Component("a3"))
	o.release("test:b", "2.0.0", wargtest.Component("b2"))
	o.release("test:c", "1.0.0", wargtest.Component("c"))
	newsOfA := some(open(t, first), "test:a")
	p := newPool(t)

	s := newSite(t, p, "up.example")
	s.take(first)
	before := s.state()
	for _, file := range [][]byte{newsOfA, some(nil, "test:a")} {
		if _, err := s.try(file); !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) {
			t.Errorf("got %v", err)
		}
		if !bytes.Equal(s.state(), before) {
			t.Error("what is served changed")
		}
	}
	s.take(some(open(t, first), "test:a", "test:b")) // c was never here

	// A site that has only one package stays with that.
	part := newSite(t, p, "up.example")
	part.take(onlyA)
	part.take(some(open(t, onlyA), "test:a"))
	if st := part.replicas["up.example"].Status(); st.LogLength != 7 {
		t.Errorf("length %d", st.LogLength)
	}
	// One that can ask the registry takes what it gets.
	online := newSite(t, p)
	online.open("up.example", upstream.Options{OperatorKey: wargtest.Alice().Public().ID(), Transport: cut{t: t}})
	online.take(first)
	online.take(newsOfA)
}
