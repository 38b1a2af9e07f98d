package proxy

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// from returns a stake of the i-th address that cannot be made to leave.
func from(i int) *stake {
	return &stake{peer: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32), leave: func() {}}
}

// settled returns a stake of the i-th address that has n bytes, all filled.
func settled(t *testing.T, b *budget, i int, n int64) *stake {
	t.Helper()
	s := from(i)
	if !b.take(s, n) || !b.arrived(s) {
		t.Fatalf("%d bytes were not free", n)
	}
	return s
}

func TestBudgetWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 5*time.Second, time.Second)
		large, small := settled(t, b, 1, 60), settled(t, b, 1, 40)
		start := time.Now()
		if b.take(from(1), 1) || time.Since(start) != 5*time.Second {
			t.Fatalf("taken after %v", time.Since(start))
		}
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, n := range []int64{80, 10, 10} {
			wg.Go(func() {
				s := from(2)
				if b.take(s, n) {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					b.give(s)
				}
			})
			synctest.Wait()
		}
		b.give(small) // not enough for the first, and the others must not overtake it
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("overtaken: %v", order)
		}
		b.give(large)
		wg.Wait()
		if len(order) != 3 || b.used() != 0 {
			t.Errorf("order %v, used %d", order, b.used())
		}
	})
}

// TestBudgetIsShared: a hundred claims of one address do not keep the one of another
// waiting for more than what is given back next.
func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, time.Minute, time.Hour)
		var held []*stake
		for range 10 {
			held = append(held, settled(t, b, 1, 10))
		}
		var order []int
		var mu sync.Mutex
		claim := func(i int) {
			if b.take(from(i), 10) {
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}
		}
		for range 100 {
			go claim(1)
		}
		synctest.Wait()
		go claim(2)
		synctest.Wait()
		go claim(3)
		synctest.Wait()
		for range 3 {
			b.give(held[0])
			held = held[1:]
			synctest.Wait()
		}
		if !slices.Equal(order, []int{2, 3, 1}) {
			t.Errorf("served in the order %v", order)
		}
		time.Sleep(time.Minute) // the others give up
		synctest.Wait()
		for _, l := range b.waiting {
			t.Errorf("a line is left with %d claims", len(l.claims))
		}
	})
}

func TestBudgetWithdrawalLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, time.Second, time.Hour)
		settled(t, b, 1, 5)
		passed := make(chan bool, 1)
		start := time.Now()
		go b.take(from(1), 10) // will not get it
		synctest.Wait()
		time.Sleep(time.Second / 2)
		go func() { passed <- b.take(from(1), 5) }()
		if !<-passed || time.Since(start) != time.Second {
			t.Errorf("passed after %v", time.Since(start))
		}
	})
}

// TestBudgetPresses: who waits makes those leave that have not filled what they took, the
// one first that has kept it for longest, after the grace and no more of them than needed.
func TestBudgetPresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 5*time.Second, 2*time.Second)
		start := time.Now()
		var told []string
		slow := func(name string, n int64) *stake {
			s := from(1)
			s.leave = func() {
				told = append(told, fmt.Sprint(name, " after ", time.Since(start)))
				go b.give(s) // as its reader will
			}
			if !b.take(s, n) {
				t.Fatalf("no room for %s", name)
			}
			time.Sleep(time.Second / 2)
			return s
		}
		first := slow("first", 20)
		slow("second", 20)
		slow("third", 20)
		if !b.take(first, 20) { // it goes on, and so is the last of them
			t.Fatal("no room to go on")
		}
		settled(t, b, 3, 20) // all there: not to be told to leave
		if len(told) > 0 {
			t.Fatalf("nobody waits, and yet: %v", told)
		}
		time.Sleep(time.Second / 4)
		s := from(2)
		if !b.take(s, 30) {
			t.Error("not served")
		}
		if want := []string{"second after 2.5s", "third after 3s"}; !slices.Equal(told, want) {
			t.Errorf("%q were told to leave; want %q", told, want)
		}
		if !b.arrived(first) {
			t.Error("one was told to leave without need")
		}
	})
}

// TestBudgetHoldAndWait: one that waits for more itself is not blamed for what it holds,
// and one that was told to leave gets no more.
func TestBudgetHoldAndWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 5*time.Second, time.Second)
		a, c := from(1), from(2)
		a.leave = func() { t.Error("it waits for us, not we for it") }
		left := false
		c.leave = func() { left = true }
		if !b.take(a, 50) || !b.take(c, 50) {
			t.Fatal("not free")
		}
		got := make(chan bool, 1)
		go func() { got <- b.take(a, 50) }()
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if !left || b.take(c, 1) || b.arrived(c) {
			t.Errorf("told to leave: %v, and goes on", left)
		}
		b.give(c)
		if !<-got {
			t.Error("what was given back was not given on")
		}
		b.give(a)
		if b.used() != 0 || len(b.lines) != 0 {
			t.Errorf("%d bytes and %d lines are left", b.used(), len(b.lines))
		}
	})
}

func TestBudgetLargerThanAll(t *testing.T) {
	b := newBudget(10, time.Second, time.Second)
	s := from(1)
	if !b.take(s, 1000) {
		t.Fatal("one claim may have everything, or it could never be served")
	}
	b.give(s)
	if b.used() != 0 {
		t.Errorf("used %d", b.used())
	}
}

func TestBudgetProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(64, 0, time.Hour)
		var stakes []*stake
		sum := int64(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			if len(stakes) > 0 && rapid.Bool().Draw(t, "give") {
				sum -= stakes[0].bytes
				b.give(stakes[0])
				stakes = stakes[1:]
				continue
			}
			n := rapid.Int64Range(1, 64).Draw(t, "bytes")
			s := from(rapid.IntRange(1, 3).Draw(t, "address"))
			if len(stakes) > 0 && rapid.Bool().Draw(t, "more") {
				s = stakes[len(stakes)-1]
				n = min(n, 64-s.bytes)
			}
			before := s.bytes
			if got := b.take(s, n); got != (sum+n <= 64) {
				t.Fatalf("take(%d) with %d taken: %v", n, sum, got)
			} else if got {
				if before == 0 {
					stakes = append(stakes, s)
				}
				sum += n
			}
			held := int64(0)
			for _, l := range b.lines {
				held += l.held
			}
			if b.used() != sum || held != sum || b.wanted != 0 || b.leaving != 0 {
				t.Fatalf("used %d, held %d, want %d; %d wanted, %d leaving", b.used(), held, sum, b.wanted, b.leaving)
			}
		}
	})
}

func TestBudgetConcurrently(t *testing.T) {
	b := newBudget(1000, time.Minute, 0)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for j := range 200 {
				s := from(i % 7)
				if b.take(s, int64(1+i*13%400)) && j%3 == 0 {
					b.take(s, int64(1+i*7%100))
				}
				b.give(s)
			}
		})
	}
	wg.Wait()
	if b.used() != 0 || b.wanted != 0 || b.leaving != 0 || len(b.lines) != 0 || b.arriving.Len() != 0 {
		t.Errorf("used %d, wanted %d, leaving %d, %d lines, %d arriving", b.used(), b.wanted, b.leaving, len(b.lines), b.arriving.Len())
	}
}
