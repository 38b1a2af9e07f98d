package cas

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, fsys durable.FS, dir string) *Store {
	t.Helper()
	s, err := Open(Options{FS: fsys, Dir: dir})
	must(t, err)
	return s
}

var plenty = Checks{MaxSize: 1 << 20}

func put(t *testing.T, s *Store, content string) warg.Digest {
	t.Helper()
	d := warg.Sum([]byte(content))
	n, err := s.Put(d, strings.NewReader(content), plenty)
	must(t, err)
	if n != int64(len(content)) {
		t.Fatalf("put %d bytes of %d", n, len(content))
	}
	return d
}

func read(t *testing.T, s *Store, d warg.Digest) string {
	t.Helper()
	f, size, err := s.Open(d)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	must(t, err)
	if int64(len(b)) != size {
		t.Fatalf("size is %d, read %d bytes", size, len(b))
	}
	return string(b)
}

func TestPutOpenStat(t *testing.T) {
	for name, fsys := range map[string]durable.FS{"os": durable.OS{}, "memory": durable.NewMemory()} {
		t.Run(name, func(t *testing.T) {
			dir := "/content"
			if name == "os" {
				dir = filepath.Join(t.TempDir(), "content")
			}
			s := open(t, fsys, dir)
			d := warg.Sum([]byte("hello"))
			if has, err := s.Has(d); has || err != nil {
				t.Errorf("has before put: %v, %v", has, err)
			}
			if _, _, err := s.Open(d); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("open before put: %v", err)
			}
			put(t, s, "hello")
			put(t, s, "hello") // again changes nothing
			put(t, s, "")
			if got := read(t, s, d); got != "hello" {
				t.Errorf("read %q", got)
			}
			s = open(t, fsys, dir)
			if got := read(t, s, d); got != "hello" {
				t.Errorf("read %q after opening again", got)
			}
			if n, err := s.Stat(d); n != 5 || err != nil {
				t.Errorf("stat: %d, %v", n, err)
			}
			if left, err := fsys.ReadDir(filepath.Join(dir, tmpDir)); len(left) > 0 || err != nil {
				t.Errorf("left in tmp: %v, %v", left, err)
			}
		})
	}
}

// TestRealFilesAreHandedOut: a wrapper would cost every download its sendfile.
func TestRealFilesAreHandedOut(t *testing.T) {
	s := open(t, durable.OS{}, t.TempDir())
	f, _, err := s.Open(put(t, s, "x"))
	must(t, err)
	defer f.Close()
	if _, ok := f.(*os.File); !ok {
		t.Errorf("Open returns a %T", f)
	}
}

func TestPutRefuses(t *testing.T) {
	no := errors.New("policy says no")
	digest := warg.Sum([]byte("hello"))
	cases := []struct {
		name   string
		body   io.Reader
		checks Checks
		want   func(error) bool
	}{
		{"wrong bytes", strings.NewReader("hellO"), plenty, func(err error) bool {
			var m *MismatchError
			return errors.As(err, &m) && m.Want == digest && m.Found == warg.Sum([]byte("hellO"))
		}},
		{"too short", strings.NewReader("hell"), plenty, func(err error) bool {
			return errors.As(err, new(*MismatchError))
		}},
		{"too large", strings.NewReader("hello"), Checks{MaxSize: 4}, func(err error) bool {
			return errors.Is(err, ErrTooLarge)
		}},
		{"endless", endless{}, plenty, func(err error) bool { return errors.Is(err, ErrTooLarge) }},
		{"cut off", io.MultiReader(strings.NewReader("hel"), iotest.ErrReader(io.ErrUnexpectedEOF)), plenty, func(err error) bool {
			return errors.As(err, new(*BodyError)) && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"not accepted", strings.NewReader("hello"), Checks{MaxSize: 5, Accept: func() error { return no }}, func(err error) bool {
			return errors.Is(err, no)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := durable.NewMemory()
			s := open(t, m, "/c")
			_, err := s.Put(digest, c.body, c.checks)
			if !c.want(err) {
				t.Errorf("put: %v", err)
			}
			if errors.As(err, new(*StoreError)) {
				t.Errorf("%v blames the store", err)
			}
			if has, _ := s.Has(digest); has {
				t.Error("content is there")
			}
			if files := m.Tree("/c"); len(files) > 0 {
				t.Errorf("left behind: %v", files)
			}
			if put(t, s, "hello") != digest || read(t, s, digest) != "hello" {
				t.Error("another attempt does not succeed")
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestAcceptComesAfterDigest: nobody may judge bytes that are not the content.
func TestAcceptComesAfterDigest(t *testing.T) {
	s := open(t, durable.NewMemory(), "/c")
	var seen bytes.Buffer
	asked := 0
	checks := Checks{MaxSize: 100, Tee: &seen, Accept: func() error { asked++; return nil }}
	if _, err := s.Put(warg.Sum([]byte("right")), strings.NewReader("wrong"), checks); err == nil || asked != 0 {
		t.Errorf("wrong bytes: %v, asked %d times", err, asked)
	}
	seen.Reset()
	_, err := s.Put(warg.Sum([]byte("right")), iotest.OneByteReader(strings.NewReader("right")), checks)
	must(t, err)
	if asked != 1 || seen.String() != "right" {
		t.Errorf("asked %d times about %q", asked, seen.String())
	}
}

func TestDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, durable.OS{}, dir)
	d := put(t, s, "precious")
	_, name := s.place(d)
	damage := func(b string) {
		must(t, os.WriteFile(name, []byte(b), 0o600))
	}
	check := func(s *Store, what string) {
		t.Helper()
		_, _, err := s.Open(d)
		var c *CorruptError
		if !errors.As(err, &c) || c.Digest != d {
			t.Fatalf("%s: %v", what, err)
		}
		if has, err := s.Has(d); has || err != nil {
			t.Errorf("%s: damaged content is still there (%v)", what, err)
		}
		if _, err := os.Stat(c.Moved); err != nil {
			t.Errorf("%s: not kept aside: %v", what, err)
		}
		put(t, s, "precious")
		if read(t, s, d) != "precious" {
			t.Errorf("%s: does not heal", what)
		}
	}
	damage("precioux")
	check(s, "changed while open")
	damage("preciou")
	check(s, "shortened")
	damage("precious!")
	check(open(t, durable.OS{}, dir), "changed between processes")
}

func TestVerifiedOncePerProcess(t *testing.T) {
	f := durable.NewFault(durable.NewMemory())
	s := open(t, f, "/c")
	d := put(t, s, "x")
	reads := func() int { return f.Counts()[durable.OpRead] }
	before := reads()
	for range 3 {
		r, _, err := s.Open(d)
		must(t, err)
		must(t, r.Close())
	}
	if n := reads() - before; n != 0 {
		t.Errorf("%d reads of what was just hashed", n)
	}
	s = open(t, f, "/c")
	for range 3 {
		r, _, err := s.Open(d)
		must(t, err)
		must(t, r.Close())
	}
	if n := reads() - before; n != 2 { // the byte, and the end
		t.Errorf("%d reads in a new process", n)
	}
}

// TestPowerCuts cuts the power at every stage of a Put: content that was
// acknowledged is there, and content that is there is right.
func TestPowerCuts(t *testing.T) {
	stages := []string{"blobTmp", "blobSynced", "blobRenamed", "blobDirSynced", "done"}
	for seed := range uint64(40) {
		var keep *rand.Rand
		if seed > 0 {
			keep = rand.New(rand.NewPCG(seed, 7))
		}
		for _, at := range stages {
			m := durable.NewMemory()
			var after *durable.Memory
			s, err := Open(Options{FS: m, Dir: "/c", Step: func(name string) error {
				if name == at {
					after = m.Crash(keep)
				}
				return nil
			}})
			must(t, err)
			d := put(t, s, "content")
			if at == "done" {
				after = m.Crash(keep)
			}
			s = open(t, after, "/c")
			has, err := s.Has(d)
			must(t, err)
			if !has && (at == "done" || at == "blobDirSynced") {
				t.Fatalf("seed %d: lost after %s", seed, at)
			}
			if has && read(t, s, d) != "content" {
				t.Fatalf("seed %d: wrong after %s", seed, at)
			}
		}
	}
}

// TestEveryCallCanFail fails each call of a Put: it reports it, and the next
// process can put the content.
func TestEveryCallCanFail(t *testing.T) {
	d := warg.Sum([]byte("content"))
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for at := 1; ; at++ {
			m := durable.NewMemory()
			f := durable.NewFault(m)
			s := open(t, f, "/c")
			f.SetPlan(durable.Plan{At: at, Err: cause})
			_, err := s.Put(d, strings.NewReader("content"), plenty)
			if !f.Reached() {
				must(t, err)
				break
			}
			failed := opAt(t, at)
			final := errors.As(err, new(*StoreError))
			sync := failed == durable.OpSync || failed == durable.OpSyncDir || failed == durable.OpFstat
			switch {
			case err == nil:
				t.Errorf("%v at call %d (%s): no error", cause, at, failed)
			case final != (cause == syscall.EIO || sync):
				t.Errorf("%v at call %d (%s): %v", cause, at, failed, err)
			case !final && !errors.Is(err, ErrNoSpace):
				t.Errorf("%v at call %d (%s): %v is not a lack of space", cause, at, failed, err)
			}
			put(t, open(t, m, "/c"), "content")
		}
	}
}

// opAt returns which call the at-th of a first Put is.
func opAt(t *testing.T, at int) (op durable.Op) {
	t.Helper()
	f := durable.NewFault(durable.NewMemory())
	s := open(t, f, "/c")
	n := 0
	f.SetPlan(durable.Plan{At: 1000, Match: func(o durable.Op, _ string) bool {
		if n++; n == at {
			op = o
		}
		return true
	}})
	put(t, s, "content")
	return op
}

// TestSyncsAreShared: many uploads at once sync each directory once a round.
func TestSyncsAreShared(t *testing.T) {
	f := durable.NewFault(durable.NewMemory())
	arrived, gate := make(chan struct{}), make(chan struct{})
	var first sync.Once
	s, err := Open(Options{FS: f, Dir: "/c", Step: func(name string) error {
		if name == "blobSynced" {
			first.Do(func() {
				close(arrived)
				<-gate // until all others wait for the next round
			})
		}
		return nil
	}})
	must(t, err)
	// The same content, so that all go into one directory.
	d := warg.Sum([]byte("x"))
	const uploads = 20
	var wg sync.WaitGroup
	upload := func() {
		if _, err := s.Put(d, strings.NewReader("x"), plenty); err != nil {
			t.Error(err)
		}
	}
	wg.Go(upload)
	<-arrived // the first round holds one upload
	for range uploads - 1 {
		wg.Go(upload)
	}
	waiting := func() int {
		s.round.mu.Lock()
		defer s.round.mu.Unlock()
		return len(s.round.waiting)
	}
	for waiting() < uploads-1 {
		runtime.Gosched()
	}
	before := f.Counts()[durable.OpSyncDir]
	close(gate)
	wg.Wait()
	if n := f.Counts()[durable.OpSyncDir] - before; n != 2 {
		t.Errorf("%d directory syncs for two rounds", n)
	}
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(Options{FS: durable.OS{}, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 32<<10)
	var n int
	for b.Loop() {
		n++
		content[0], content[1], content[2] = byte(n), byte(n>>8), byte(n>>16)
		if _, err := s.Put(warg.Sum(content), bytes.NewReader(content), plenty); err != nil {
			b.Fatal(err)
		}
	}
}
