package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openBadger(t *testing.T) Store {
	t.Helper()
	db, err := badger.Open(badger.DefaultOptions("").WithInMemory(true).WithLogger(nil).
		WithMemTableSize(8 << 20).WithDetectConflicts(false).WithMetricsEnabled(false))
	must(t, err)
	return Badger(db)
}

// value returns what a key has, "" if it is not there.
func value(t testing.TB, s Store, key string) (v string) {
	t.Helper()
	err := s.View(func(r Reader) error {
		return r.Read([]byte(key), func(b []byte) error {
			v = string(b)
			return nil
		})
	})
	if !errors.Is(err, ErrNotFound) {
		must(t, err)
	}
	return v
}

func put(t testing.TB, s Store, pairs ...string) {
	t.Helper()
	txn := s.Begin()
	defer txn.Discard()
	for p := range slices.Chunk(pairs, 2) {
		must(t, txn.Set([]byte(p[0]), []byte(p[1])))
	}
	must(t, txn.Commit())
}

// TestContract holds for every store.
func TestContract(t *testing.T) {
	stores := map[string]func(*testing.T) Store{
		"badger":                    openBadger,
		"memory":                    func(*testing.T) Store { return new(Memory).Open() },
		"behind":                    func(t *testing.T) Store { return NewBehind(openBadger(t), 100) },
		"behind, perhaps not empty": func(*testing.T) Store { return NewBehind(new(Memory).Open(), 0) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			err := s.View(func(r Reader) error { return r.Read([]byte("a"), func([]byte) error { return nil }) })
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("an absent key: %v", err)
			}
			put(t, s, "a", "1", "b", "2")
			put(t, s, "a", "3")
			if a, b := value(t, s, "a"), value(t, s, "b"); a != "3" || b != "2" {
				t.Errorf("a = %q, b = %q", a, b)
			}
			list(t, s)
			txn := s.Begin()
			must(t, txn.Set([]byte("a"), []byte("4")))
			if a := value(t, s, "a"); a != "3" {
				t.Errorf("before the commit a = %q", a)
			}
			txn.Discard()
			if a := value(t, s, "a"); a != "3" {
				t.Errorf("after discarding a = %q", a)
			}
			refusal := errors.New("refused by the caller")
			err = s.View(func(r Reader) error { return r.Read([]byte("a"), func([]byte) error { return refusal }) })
			if !errors.Is(err, refusal) {
				t.Errorf("an error of the caller became %v", err)
			}
			fill(t, s)
			must(t, s.Close())
		})
	}
}

// list looks at what a store says it has, if it can say that. It has a and b.
func list(t *testing.T, s Store) {
	t.Helper()
	l, ok := s.(Lister)
	if !ok {
		return
	}
	for prefix, want := range map[string]string{"": " a=3 b=2", "b": " b=2", "c": ""} {
		got := ""
		must(t, l.List([]byte(prefix), func(key, value []byte) error {
			got += fmt.Sprintf(" %s=%s", key, value)
			return nil
		}))
		if got != want {
			t.Errorf("with prefix %q there is %q", prefix, got)
		}
	}
	enough := errors.New("enough")
	if err := l.List(nil, func([]byte, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("an error of the caller became %v", err)
	}
}

// fill writes until a transaction is full: what it took before is committed.
func fill(t *testing.T, s Store) {
	t.Helper()
	txn := s.Begin()
	defer txn.Discard()
	big := make([]byte, 64<<10)
	n := 0
	for ; n < 1<<12; n++ {
		err := txn.Set(fmt.Appendf(nil, "big %d", n), big)
		if errors.Is(err, ErrTooLarge) {
			break
		}
		must(t, err)
	}
	if n == 1<<12 {
		t.Fatal("a transaction never is too large")
	}
	must(t, txn.Commit())
	if v := value(t, s, fmt.Sprintf("big %d", n-1)); len(v) != len(big) {
		t.Errorf("the last value has %d bytes", len(v))
	}
	if v := value(t, s, fmt.Sprintf("big %d", n)); v != "" {
		t.Error("what did not fit is there")
	}
}

// TestCrash: a crash takes the newest transactions, never one from the middle, and
// nothing that was there when the store was closed.
func TestCrash(t *testing.T) {
	lost := map[int]bool{}
	for seed := range uint64(50) {
		m := new(Memory)
		s := m.Open()
		put(t, s, "closed", "1")
		must(t, s.Close())
		s = m.Open()
		for i := range 5 {
			put(t, s, fmt.Sprint(i), "x")
		}
		m.Crash(rand.New(rand.NewPCG(seed, 0)))
		if err := s.View(func(r Reader) error { return r.Read([]byte("closed"), func([]byte) error { return nil }) }); err == nil {
			t.Fatal("a dead process reads")
		}
		s = m.Open()
		if value(t, s, "closed") != "1" {
			t.Fatal("what was closed is lost")
		}
		n := 0
		for value(t, s, fmt.Sprint(n)) != "" {
			n++
		}
		for i := n; i < 5; i++ {
			if value(t, s, fmt.Sprint(i)) != "" {
				t.Fatalf("transaction %d survived, %d did not", i, n)
			}
		}
		lost[5-n] = true
	}
	if len(lost) != 6 {
		t.Errorf("numbers of lost transactions: %v", lost)
	}
}

// TestQuirks: the memory misbehaves as it was told, and not otherwise.
func TestQuirks(t *testing.T) {
	m := new(Memory)
	s := m.Open()
	put(t, s, "a", "1")
	m.Lose("a")
	if v := value(t, s, "a"); v != "" {
		t.Errorf("read %q", v)
	}
	put(t, s, "a", "1")
	if v := value(t, s, "a"); v != "1" {
		t.Errorf("written anew, it is %q", v)
	}
	for _, applied := range []bool{false, true} {
		m.SetQuirks(Quirks{FailCommit: func() (bool, bool) { return true, applied }})
		txn := s.Begin()
		must(t, txn.Set([]byte("b"), []byte("2")))
		if err := txn.Commit(); err == nil {
			t.Error("a commit that fails does not fail")
		}
		if v := value(t, s, "b"); (v == "2") != applied {
			t.Errorf("applied %t: read %q", applied, v)
		}
	}
	m.SetQuirks(Quirks{PanicOnOpen: func() bool { return true }})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("opening does not panic")
			}
		}()
		m.Open()
	}()
	m.SetQuirks(Quirks{})
	m.Erase()
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("keys after erasing: %q", keys)
	}
}
