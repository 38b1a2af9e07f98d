package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newDir(t *testing.T) (*Dir, *durable.Memory) {
	t.Helper()
	m := durable.NewMemory()
	must(t, durable.MkdirAll(m, "/log"))
	return &Dir{FS: m, Path: "/log", Grow: 4 << 10, Max: 16 << 10}, m
}

func header() Header {
	return Header{Kind: Log, Registry: warg.Sum([]byte("registry")), Number: 1, First: 7, Previous: warg.Sum([]byte("footer"))}
}

// payloads returns n payloads of different sizes.
func payloads(n int) [][]byte {
	var list [][]byte
	for i := range n {
		list = append(list, bytes.Repeat([]byte{byte(i + 1)}, 1+i*37%200))
	}
	return list
}

// scan returns the payloads of a segment.
func scan(t *testing.T, d *Dir, number uint64, tolerant bool) ([][]byte, Header, End) {
	t.Helper()
	r, err := d.OpenReader(number)
	must(t, err)
	defer r.Close()
	var list [][]byte
	end, err := r.Scan(tolerant, func(p Position, b []byte) error {
		list = append(list, slices.Clone(b))
		again, err := r.Read(p)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("reading %v again: %v", p, err)
		}
		return nil
	})
	must(t, err)
	return list, r.Header, end
}

func equal(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

func TestWriteScanResumeSeal(t *testing.T) {
	d, m := newDir(t)
	s, err := d.Create(header())
	must(t, err)
	want := payloads(60)
	for _, part := range [][][]byte{want[:1], want[1:20], want[20:40]} {
		places, err := s.Append(part)
		must(t, err)
		must(t, s.Sync())
		for i, p := range places {
			if b, err := s.Read(p); err != nil || !bytes.Equal(b, part[i]) {
				t.Errorf("reading back %v: %v", p, err)
			}
		}
	}
	must(t, s.Close())
	d.FS = m.Crash(nil) // everything was synced
	got, h, end := scan(t, d, 1, false)
	if !equal(got, want[:40]) || h != header() || end.Bad != "" || end.Rest || end.Footer != nil || end.Count != 40 {
		t.Fatalf("scan: %d payloads, %v, %+v", len(got), h, end)
	}
	s, err = d.Resume(h, end)
	must(t, err)
	_, err = s.Append(want[40:])
	must(t, err)
	edge := []warg.Digest{warg.Sum([]byte("a")), warg.Sum([]byte("b"))}
	f, err := s.Seal(edge)
	must(t, err)
	r, err := d.OpenReader(1)
	must(t, err)
	g, ok, err := r.Footer()
	must(t, err)
	if !ok || g.Hash != f.Hash || g.Count != 60 || !slices.Equal(g.Edge, edge) || g.Previous != header().Previous {
		t.Errorf("footer is %+v, want %+v", g, f)
	}
	got, _, end = scan(t, d, 1, false)
	if !equal(got, want) || end.Footer == nil || end.Footer.Hash != f.Hash {
		t.Errorf("scan of the sealed segment: %d payloads, %+v", len(got), end)
	}
	list, err := d.List()
	must(t, err)
	if !slices.Equal(list, []uint64{1}) {
		t.Errorf("segments are %v", list)
	}
}

func TestFull(t *testing.T) {
	d, _ := newDir(t)
	d.Max = 4 << 10
	s, err := d.Create(header())
	must(t, err)
	big := [][]byte{make([]byte, 40<<10)}
	if _, err := s.Append(big); err != nil {
		t.Errorf("an empty segment must take any frame: %v", err)
	}
	if _, err := s.Append(payloads(1)); !errors.Is(err, ErrFull) {
		t.Errorf("a full segment took a frame: %v", err)
	}
	if _, err := s.Append([][]byte{{}}); err == nil || errors.Is(err, ErrFull) {
		t.Errorf("an empty frame: %v", err)
	}
	if _, err := s.Append([][]byte{make([]byte, MaxPayload+1)}); err == nil {
		t.Error("a frame that is too large was taken")
	}
}

func TestCut(t *testing.T) {
	d, m := newDir(t)
	s, err := d.Create(header())
	must(t, err)
	want := payloads(10)
	places, err := s.Append(want)
	must(t, err)
	must(t, s.Cut(int64(places[4].Offset), 4))
	if got, _, end := scan(t, &Dir{FS: m.Crash(nil), Path: d.Path}, 1, false); !equal(got, want[:4]) || end.Rest {
		t.Errorf("after the cut: %d payloads, %+v", len(got), end)
	}
	_, err = s.Append(want[5:])
	must(t, err)
	_, err = s.Seal(nil)
	must(t, err)
	got, _, end := scan(t, d, 1, false)
	if !equal(got, slices.Concat(want[:4], want[5:])) || end.Footer == nil {
		t.Errorf("after going on: %d payloads, %+v", len(got), end)
	}
}

// TestEveryFlipIsNoticed flips each bit of a sealed and of an open segment. No
// scan may yield anything but a prefix of what was written.
func TestEveryFlipIsNoticed(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		d, m := newDir(t)
		s, err := d.Create(header())
		must(t, err)
		want := payloads(6)
		_, err = s.Append(want)
		must(t, err)
		used := s.End()
		if sealed {
			_, err = s.Seal([]warg.Digest{{1}, {2}})
			must(t, err)
			used += footerFixed + 2*warg.DigestSize + trailerSize
		}
		f, err := m.OpenWrite(s.Path())
		must(t, err)
		for at := range used {
			var b [1]byte
			_, err := f.ReadAt(b[:], at)
			must(t, err)
			flipped := b[0] ^ 1<<(at%8)
			_, err = f.WriteAt([]byte{flipped}, at)
			must(t, err)
			if noticed := scanDamaged(t, d, want, sealed); !noticed {
				t.Errorf("sealed %v: flip at byte %d was not noticed", sealed, at)
			}
			_, err = f.WriteAt(b[:], at)
			must(t, err)
		}
		if scanDamaged(t, d, want, sealed) {
			t.Error("the original counts as damaged")
		}
	}
}

// scanDamaged reports whether damage was noticed by the header, the frames or the footer.
func scanDamaged(t *testing.T, d *Dir, want [][]byte, sealed bool) bool {
	t.Helper()
	r, err := d.OpenReader(1)
	if err != nil {
		if !errors.As(err, new(*DamageError)) {
			t.Error(err)
		}
		return true
	}
	if r.Header != header() {
		t.Errorf("a damaged header was believed: %+v", r.Header)
	}
	defer r.Close()
	_, ok, err := r.Footer()
	noticed := err != nil || ok != sealed
	n := 0
	end, err := r.Scan(false, func(_ Position, b []byte) error {
		if n >= len(want) || !bytes.Equal(b, want[n]) {
			t.Errorf("frame %d is wrong", n)
		}
		n++
		return nil
	})
	must(t, err)
	return noticed || end.Bad != "" || end.Rest || n != len(want)
}

func TestTolerantScan(t *testing.T) {
	d, m := newDir(t)
	s, err := d.Create(header())
	must(t, err)
	want := payloads(8)
	places, err := s.Append(want)
	must(t, err)
	f, err := m.OpenWrite(s.Path())
	must(t, err)
	for _, i := range []int{2, 3, 7} {
		_, err = f.WriteAt([]byte{0xff}, int64(places[i].Offset)+frameHeader)
		must(t, err)
	}
	got, h, end := scan(t, d, 1, true)
	if !equal(got, slices.Concat(want[:2], want[4:7])) || end.Skipped != 3 {
		t.Errorf("%d payloads, %+v", len(got), end)
	}
	s, err = d.Resume(h, end)
	must(t, err)
	_, err = s.Append(want[7:])
	must(t, err)
	if got, _, _ := scan(t, d, 1, true); !equal(got, slices.Concat(want[:2], want[4:])) {
		t.Errorf("after going on: %d payloads", len(got))
	}
	// A length that cannot be believed ends the scan, it does not loop.
	_, err = f.WriteAt([]byte{0x7f}, int64(places[0].Offset))
	must(t, err)
	if got, _, end := scan(t, d, 1, true); len(got) != 0 || end.Bad == "" {
		t.Errorf("%d payloads, %+v", len(got), end)
	}
}

func TestFrameOfAnotherPlace(t *testing.T) {
	d, m := newDir(t)
	s, err := d.Create(header())
	must(t, err)
	places, err := s.Append([][]byte{{1, 2}, {3, 4}})
	must(t, err)
	f, err := m.OpenWrite(s.Path())
	must(t, err)
	first := make([]byte, frameHeader+2)
	_, err = f.ReadAt(first, int64(places[0].Offset))
	must(t, err)
	_, err = f.WriteAt(first, int64(places[1].Offset))
	must(t, err)
	if _, err := s.Read(places[1]); !errors.As(err, new(*DamageError)) {
		t.Errorf("a frame that was written elsewhere is read: %v", err)
	}
	must(t, m.Rename(s.Path(), d.path(2)))
	if _, err := d.OpenReader(2); !errors.As(err, new(*DamageError)) {
		t.Errorf("a segment under another number is read: %v", err)
	}
}

// TestSealingSurvivesPowerCuts cuts the power at every call of Seal: either the
// segment is still open with all frames, or sealing can be completed.
func TestSealingSurvivesPowerCuts(t *testing.T) {
	for seed := range uint64(20) {
		for at := 1; ; at++ {
			m := durable.NewMemory()
			must(t, durable.MkdirAll(m, "/log"))
			fault := durable.NewFault(m)
			d := &Dir{FS: fault, Path: "/log", Grow: 4 << 10, Max: 16 << 10}
			s, err := d.Create(header())
			must(t, err)
			want := payloads(5)
			_, err = s.Append(want)
			must(t, err)
			must(t, s.Sync())
			fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			_, err = s.Seal([]warg.Digest{{1}, {2}})
			if !fault.Reached() {
				must(t, err)
				break
			}
			d.FS = m.Crash(rand.New(rand.NewPCG(seed, uint64(at))))
			got, h, end := scan(t, d, 1, false)
			if !equal(got, want) {
				t.Fatalf("seed %d call %d: %d payloads, %+v", seed, at, len(got), end)
			}
			if end.Footer != nil {
				must(t, d.Finish(h, end))
				r, err := d.OpenReader(1)
				must(t, err)
				if _, ok, err := r.Footer(); !ok || err != nil {
					t.Fatalf("seed %d call %d: sealing was not completed: %v", seed, at, err)
				}
			}
		}
	}
}

// TestCreatingSurvivesEverything fails each call of Create: afterwards the
// segment is either whole or not there.
func TestCreatingSurvivesEverything(t *testing.T) {
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
		for at := 1; ; at++ {
			d, m := newDir(t)
			fault := durable.NewFault(m)
			d.FS = fault
			fault.SetPlan(durable.Plan{At: at, Outcome: outcome, Err: syscall.EIO})
			_, err := d.Create(header())
			if !fault.Reached() {
				must(t, err)
				break
			}
			d.FS = m.Crash(nil)
			list, err := d.List()
			must(t, err)
			if len(list) == 1 {
				scan(t, d, 1, false)
			}
			if len(list) > 1 || len(d.FS.(*durable.Memory).Tree("/log")) != len(list) {
				t.Errorf("outcome %d, call %d leaves %v", outcome, at, list)
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	d := &Dir{FS: durable.NewMemory(), Path: "/", Grow: 1 << 10, Max: 4 << 10}
	s, err := d.Create(header())
	if err != nil {
		f.Fatal(err)
	}
	if _, err := s.Append(payloads(4)); err != nil {
		f.Fatal(err)
	}
	add := func() {
		f.Add([]byte(d.FS.(*durable.Memory).Tree("/")["/00000001.seg"]))
	}
	add()
	if _, err := s.Seal([]warg.Digest{{9}}); err != nil {
		f.Fatal(err)
	}
	add()
	f.Fuzz(func(t *testing.T, file []byte) {
		m := durable.NewMemory()
		w, err := m.Create("/00000001.seg")
		must(t, err)
		_, err = w.Write(file)
		must(t, err)
		d := &Dir{FS: m, Path: "/", Grow: 1 << 10, Max: 4 << 10}
		r, err := d.OpenReader(1)
		if err != nil {
			return
		}
		_, _, _ = r.Footer()
		for _, tolerant := range []bool{false, true} {
			bytes := 0
			end, err := r.Scan(tolerant, func(_ Position, b []byte) error { bytes += len(b); return nil })
			must(t, err)
			if bytes > len(file) || end.Offset > max(int64(len(file)), headerSize) {
				t.Errorf("%d bytes of payload up to %d in a file of %d", bytes, end.Offset, len(file))
			}
		}
	})
}

func Example() {
	d := &Dir{FS: durable.NewMemory(), Path: "/", Grow: 4 << 10, Max: 64 << 10}
	s, err := d.Create(Header{Kind: Log, Number: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	places, err := s.Append([][]byte{[]byte("first"), []byte("second")})
	if err == nil {
		err = s.Sync()
	}
	b, rerr := s.Read(places[1])
	fmt.Println(string(b), places[1].Offset, err, rerr)
	// Output: second 109 <nil> <nil>
}
