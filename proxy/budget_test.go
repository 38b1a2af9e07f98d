package proxy

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestBudgetWaitsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100, 5*time.Second)
		if !b.take(60) || !b.take(40) {
			t.Fatal("what is there must be given at once")
		}
		start := time.Now()
		if b.take(1) || time.Since(start) != 5*time.Second {
			t.Fatalf("taken after %v", time.Since(start))
		}
		var order []int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, n := range []int64{80, 10, 10} {
			wg.Go(func() {
				if b.take(n) {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					b.give(n)
				}
			})
			synctest.Wait()
		}
		b.give(40) // not enough for the first, and the others must not overtake it
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("overtaken: %v", order)
		}
		b.give(60)
		wg.Wait()
		if len(order) != 3 || b.used() != 0 {
			t.Errorf("order %v, used %d", order, b.used())
		}
	})
}

func TestBudgetWithdrawalLetsOthersPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, time.Second)
		b.take(5)
		passed := make(chan bool, 1)
		start := time.Now()
		go b.take(10) // will not get it
		synctest.Wait()
		time.Sleep(time.Second / 2)
		go func() { passed <- b.take(5) }()
		if !<-passed || time.Since(start) != time.Second {
			t.Errorf("passed after %v", time.Since(start))
		}
	})
}

func TestBudgetLargerThanAll(t *testing.T) {
	b := newBudget(10, time.Second)
	if !b.take(1000) {
		t.Fatal("one claim may have everything, or it could never be served")
	}
	b.give(1000)
	if b.used() != 0 {
		t.Errorf("used %d", b.used())
	}
}

func TestBudgetProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBudget(64, 0)
		var taken []int64
		sum := int64(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			if len(taken) > 0 && rapid.Bool().Draw(t, "give") {
				b.give(taken[0])
				sum -= taken[0]
				taken = taken[1:]
				continue
			}
			n := rapid.Int64Range(1, 64).Draw(t, "bytes")
			if got := b.take(n); got != (sum+n <= 64) {
				t.Fatalf("take(%d) with %d taken: %v", n, sum, got)
			} else if got {
				taken = append(taken, n)
				sum += n
			}
			if b.used() != sum {
				t.Fatalf("used %d, want %d", b.used(), sum)
			}
		}
	})
}

func TestBudgetConcurrently(t *testing.T) {
	b := newBudget(1000, time.Minute)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 200 {
				n := int64(1 + i*13%400)
				if b.take(n) {
					b.give(n)
				}
			}
		})
	}
	wg.Wait()
	if b.used() != 0 {
		t.Errorf("used %d", b.used())
	}
}
