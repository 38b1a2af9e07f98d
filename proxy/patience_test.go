package proxy

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPatience(t *testing.T) {
	type key struct{}
	rows := map[string]func(p *patience) (want error){
		"nothing happens":   func(*patience) error { return nil },
		"time passes":       func(*patience) error { time.Sleep(time.Minute); return context.DeadlineExceeded },
		"less time passes":  func(*patience) error { time.Sleep(time.Minute - 1); return nil },
		"somebody waits":    func(p *patience) error { <-p.Done(); return context.DeadlineExceeded },
		"it is ended":       func(p *patience) error { p.end(); return context.Canceled },
		"it is ended twice": func(p *patience) error { p.end(); p.end(); return context.Canceled },
		"it ends in a wait": func(p *patience) error { p.Done(); p.end(); return context.Canceled },
		"a wait after it":   func(p *patience) error { p.end(); <-p.Done(); return context.Canceled },
		"a child waits": func(p *patience) error {
			c, end := context.WithCancel(p)
			defer end()
			<-c.Done()
			return context.DeadlineExceeded
		},
		"waiting in several": func(p *patience) error { go func() { <-p.Done() }(); <-p.Done(); return context.DeadlineExceeded },
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, stop := context.WithCancel(context.WithValue(context.Background(), key{}, "value"))
				defer stop()
				p := patient(base, time.Minute)
				defer p.end()
				due := time.Now().Add(time.Minute)
				if at, ok := p.Deadline(); !ok || !at.Equal(due) {
					t.Errorf("deadline %v", at)
				}
				if want := row(p); !errors.Is(p.Err(), want) || p.Value(key{}) != "value" {
					t.Errorf("%v, want %v", p.Err(), want)
				}
			})
		})
	}
}

// TestPatienceEndsWithItsBase: a shutdown ends what waits and what does not.
func TestPatienceEndsWithItsBase(t *testing.T) {
	base, stop := context.WithTimeout(context.Background(), time.Hour)
	waiting, idle := patient(base, 2*time.Hour), patient(base, 2*time.Hour)
	defer waiting.end()
	defer idle.end()
	first, _ := base.Deadline()
	if at, ok := idle.Deadline(); !ok || !at.Equal(first) {
		t.Errorf("deadline %v, the base's is %v", at, first)
	}
	done := waiting.Done()
	stop()
	<-done
	if !errors.Is(waiting.Err(), context.Canceled) || !errors.Is(idle.Err(), context.Canceled) {
		t.Errorf("%v, %v", waiting.Err(), idle.Err())
	}
}
