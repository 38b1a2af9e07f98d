package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// chapter is a value that fills a generation in about ten transactions.
var chapter = strings.Repeat("x", behindBytes/10)

// TestBehind: everything that was committed is readable at any time, wherever it is on
// its way, and all of it is in the store below once this one is closed.
func TestBehind(t *testing.T) {
	m := new(Memory)
	put(t, m.Open(), "old", "1")
	s := NewBehind(m.Open(), 0)
	const chapters = 50
	for i := range chapters {
		put(t, s, fmt.Sprint("chapter ", i), strconv.Itoa(i)+chapter, "newest", strconv.Itoa(i))
		for _, known := range []int{0, i / 2, i} {
			if v := value(t, s, fmt.Sprint("chapter ", known)); v != strconv.Itoa(known)+chapter {
				t.Fatalf("after %d, chapter %d has %d bytes", i, known, len(v))
			}
		}
		if v := value(t, s, "newest"); v != strconv.Itoa(i) {
			t.Fatalf("newest is %q after %d", v, i)
		}
		if v := value(t, s, "old"); v != "1" {
			t.Fatalf("what was there before is %q", v)
		}
	}
	must(t, s.Close())
	below := m.Open()
	for i := range chapters {
		if v := value(t, below, fmt.Sprint("chapter ", i)); v != strconv.Itoa(i)+chapter {
			t.Errorf("below, chapter %d has %d bytes", i, len(v))
		}
	}
	if v := value(t, below, "newest"); v != strconv.Itoa(chapters-1) {
		t.Errorf("below, newest is %q", v)
	}
}

// TestBehindOrder: whenever the process ends, a key that tells how far everything is does
// not tell more than is there, though it is written again and again.
func TestBehindOrder(t *testing.T) {
	for seed := range uint64(20) {
		m := new(Memory)
		s := NewBehind(m.Open(), 1000)
		const steps = 40
		for i := range steps {
			put(t, s, fmt.Sprint("chapter ", i), chapter)
			put(t, s, "head", strconv.Itoa(i))
		}
		m.Crash(rand.New(rand.NewPCG(seed, 1)))
		_ = s.Close() // its process is gone
		below := m.Open()
		head := -1
		if v := value(t, below, "head"); v != "" {
			head, _ = strconv.Atoi(v)
		}
		for i := range head + 1 {
			if value(t, below, fmt.Sprint("chapter ", i)) == "" {
				t.Fatalf("seed %d: the head is %d, and chapter %d is not there", seed, head, i)
			}
		}
	}
}

// TestBehindFails: an error of the store below ends all commits, and Close says so.
func TestBehindFails(t *testing.T) {
	m := new(Memory)
	m.SetQuirks(Quirks{FailCommit: func() (bool, bool) { return true, false }})
	s := NewBehind(m.Open(), 0)
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		txn := s.Begin()
		must(t, txn.Set([]byte(fmt.Sprint(i)), []byte(chapter)))
		err = txn.Commit()
	}
	if !errors.Is(err, errCommit) {
		t.Errorf("committing: %v", err)
	}
	if err := s.Close(); !errors.Is(err, errCommit) {
		t.Errorf("closing: %v", err)
	}
	last := NewBehind(m.Open(), 0) // what fits into memory fails only here
	put(t, last, "a", "1")
	if err := last.Close(); !errors.Is(err, errCommit) {
		t.Errorf("closing the last: %v", err)
	}
}

// countedReads counts the looks into a store.
type countedReads struct {
	Store
	views atomic.Int64
}

func (c *countedReads) View(read func(Reader) error) error {
	c.views.Add(1)
	return c.Store.View(read)
}

// TestBehindKnows: of keys that were never set the store below is hardly ever asked.
func TestBehindKnows(t *testing.T) {
	const keys = 10_000
	below := &countedReads{Store: new(Memory).Open()}
	s := NewBehind(below, keys)
	for i := range keys {
		put(t, s, fmt.Sprint("there ", i), "1")
	}
	for i := range keys {
		if v := value(t, s, fmt.Sprint("not there ", i)); v != "" {
			t.Fatalf("%d is there: %q", i, v)
		}
	}
	if n := below.views.Load(); n > keys/50 {
		t.Errorf("asked %d times for %d keys that are not there", n, keys)
	}
	for i := range keys {
		if value(t, s, fmt.Sprint("there ", i)) != "1" {
			t.Fatalf("%d is not there", i)
		}
	}
	must(t, s.Close())
}
