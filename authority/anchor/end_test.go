package anchor

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
)

// TestHistoryEnd: the end of a history is found at every length, before and behind each
// place where it grows, and also where the file was made without room to grow.
func TestHistoryEnd(t *testing.T) {
	m := durable.NewMemory()
	h, err := CreateHistory(m, "/anchor.log", registry())
	must(t, err)
	block := signed(t, 7, 7)
	for n := uint64(0); n <= 2*growBlocks+3; n++ {
		if n%97 == 0 || n%growBlocks < 4 || n%growBlocks > growBlocks-4 {
			if got := openHistory(t, m).Len(); got != n {
				t.Fatalf("%d lines are found, and there are %d", got, n)
			}
		}
		must(t, h.Append(block, nil))
	}
	must(t, WriteHistory(m, "/anchor.log", registry(), nil, true))
	h = openHistory(t, m)
	if h.Len() != 0 || !h.HasGaps() {
		t.Errorf("an empty history has %d lines", h.Len())
	}
	must(t, h.Append(block, nil))
	if h = openHistory(t, m); h.Len() != 1 || !h.HasGaps() {
		t.Errorf("after the first line there are %d", h.Len())
	}
}

// step goes through the block behind n lines in small steps, and then in large ones.
func step(at int64, n uint64) int64 {
	if at < int64(n+2)*blockSize {
		return 61
	}
	return 1009
}

// TestHistoryWithSomethingBehind: nothing that stands behind the end can make the history
// seem longer or shorter than it is. Within the next block it is an unfinished line;
// anywhere else it is damage, and so is a block of zeros before the end.
func TestHistoryWithSomethingBehind(t *testing.T) {
	const lines = 5
	for _, n := range []uint64{lines, growBlocks - 1, growBlocks, growBlocks + 1} {
		m := durable.NewMemory()
		h, err := CreateHistory(m, "/anchor.log", registry())
		must(t, err)
		for range n {
			must(t, h.Append(signed(t, 7, 7), nil))
		}
		f, err := m.OpenWrite("/anchor.log")
		must(t, err)
		fi, err := f.Stat()
		must(t, err)
		for at := int64(n+1) * blockSize; at < fi.Size(); at += step(at, n) {
			_, err := f.WriteAt([]byte{1}, at)
			must(t, err)
			h, err := OpenHistory(m, "/anchor.log", registry())
			switch next := at < int64(n+2)*blockSize; {
			case next && (err != nil || h.Len() != n):
				t.Fatalf("%d lines, a byte at %d of the next: %v", n, at, err)
			case !next && !errors.As(err, new(*DamageError)):
				t.Fatalf("%d lines, a byte at %d of %d: %v", n, at, fi.Size(), err)
			}
			_, err = f.WriteAt([]byte{0}, at)
			must(t, err)
		}
		last := int64(n) * blockSize
		_, err = f.WriteAt(make([]byte, blockSize), last-blockSize)
		must(t, err)
		if _, err := OpenHistory(m, "/anchor.log", registry()); !errors.As(err, new(*DamageError)) {
			t.Errorf("%d lines, the last but one of zeros: %v", n, err)
		}
	}
}
