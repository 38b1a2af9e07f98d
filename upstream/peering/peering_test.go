package peering

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// TestAskedUntilItAnswers: a peer that does not answer is asked after a second, then
// after twice that, up to a minute, each a quarter shorter or longer as chance has it.
// Nothing else is asked before it has answered, and everything then.
func TestAskedUntilItAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		chance   func(time.Duration) time.Duration
		quarters int // of each pause: how long it is
	}{
		"shortest": {shortest, 3}, "middle": {middle, 4}, "longest": {longest, 5},
	} {
		t.Run(name, func(t *testing.T) {
			stage(t, func(o *Options) { o.Chance = c.chance }, func(t *testing.T, s *scene) {
				s.peer.fail = silent
				s.pass(10 * time.Minute)
				want := []int{1, 2, 4, 8, 16, 32, 60, 60, 60} // seconds
				got := gaps(s.peer.asked("held", ""))
				if len(got) < len(want) {
					t.Fatalf("asked after %v only", got)
				}
				for i, n := range want {
					pause := time.Duration(n*c.quarters) * time.Second / 4
					if d := got[i] - pause; d > 0 || d < -time.Nanosecond {
						t.Errorf("pause %d is %v; want %v", i, got[i], pause)
					}
				}
				for _, call := range s.peer.all() {
					if call.what != "held" || call.registry != ownDomain {
						t.Fatalf("asked before the peer has answered: %+v", call)
					}
				}
				if n := s.count(Unreachable); n != uint64(len(got))+1 {
					t.Errorf("counted %d times", n)
				}
				if st := s.link.Status(); !st.AnsweredAt.IsZero() || !strings.Contains(st.LastError, "nobody there") || st.LastErrorAt.IsZero() {
					t.Errorf("status: %+v", st)
				}
				s.peer.set(func(p *farPeer) { p.fail = nil })
				s.pass(longestPause * 5 / 4)
				if len(s.peer.asked("held", ghost)) == 0 || len(s.peer.asked("verify", ownDomain)) == 0 || len(s.peer.asked("verify", ghost)) == 0 {
					t.Errorf("not everything was compared: %+v", s.peer.all())
				}
			})
		})
	}
}

// TestSaysOnceWhatIsWrong: the log has a line for each new reason, not for each attempt.
func TestSaysOnceWhatIsWrong(t *testing.T) {
	var text bytes.Buffer
	stage(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&text, nil)) }, func(t *testing.T, s *scene) {
		s.peer.fail = silent
		s.pass(10 * time.Minute)
		s.peer.set(func(p *farPeer) { p.fail = func(call) error { return errors.New("tls: something else") } })
		s.pass(10 * time.Minute)
		s.peer.set(func(p *farPeer) { p.fail = nil })
		s.pass(10 * time.Minute)
		s.stop()
		<-s.ended
		for what, want := range map[string]int{"nobody there": 1, "something else": 1, "peer has said": 1} {
			if n := strings.Count(text.String(), what); n != want {
				t.Errorf("%q stands %d times in the log, not %d:\n%s", what, n, want, text.String())
			}
		}
	})
}

// TestComparedWithinAnInterval: from one comparison of a registry to the next an
// interval passes at most, and three quarters of one at least, whatever chance says and
// also if the peer is slow.
func TestComparedWithinAnInterval(t *testing.T) {
	const interval = 40*time.Second + time.Second/2 // no multiple of headCheck
	for name, chance := range map[string]func(time.Duration) time.Duration{"shortest": shortest, "middle": middle, "longest": longest, "any": nil} {
		for _, takes := range []time.Duration{0, 5 * time.Second} {
			t.Run(name+" "+takes.String(), func(t *testing.T) {
				stage(t, func(o *Options) { o.Chance, o.Interval = chance, interval }, func(t *testing.T, s *scene) {
					s.peer.takes = takes
					s.pass(20 * interval)
					for _, registry := range []string{ownDomain, ghost} {
						at := s.peer.asked("held", registry)
						if registry == ownDomain {
							at = at[1:] // the first is asked by itself
						}
						pauses := gaps(at)
						if len(pauses) < 18 {
							t.Errorf("%s was compared %d times in 20 intervals", registry, len(at))
						}
						if least, most := slices.Min(pauses), slices.Max(pauses); most > interval || least < interval*3/4 {
							t.Errorf("%s was compared after %v to %v", registry, least, most)
						}
						if name == "any" && slices.Min(pauses) == slices.Max(pauses) {
							t.Errorf("%s is compared in step", registry)
						}
					}
				})
			})
		}
	}
}

// TestDefaultInterval: it is a minute.
func TestDefaultInterval(t *testing.T) {
	stage(t, func(o *Options) { o.Chance = shortest }, func(t *testing.T, s *scene) {
		s.pass(10*time.Minute - time.Second)
		if got := gaps(s.peer.asked("held", ghost)); len(got) != 9 || slices.Max(got) != DefaultInterval {
			t.Errorf("compared after %v", got)
		}
	})
}

// TestNewHeadIsShown: the peer sees a new head within a second, once, and nothing if
// there is none.
func TestNewHeadIsShown(t *testing.T) {
	stage(t, func(o *Options) { o.Interval = time.Hour }, func(t *testing.T, s *scene) {
		s.pass(time.Minute)
		first := len(s.peer.all())
		if first != 5 { // held of own, then held and verify of both
			t.Fatalf("%d questions at first: %+v", first, s.peer.all())
		}
		for i, r := range []*nearby{s.own, s.other} {
			r.grow(100)
			s.pass(headCheck)
			calls := s.peer.all()
			if len(calls) != first+i+1 {
				t.Fatalf("after a new head of %s: %+v", r.domain, calls[first+i:])
			}
			if c := calls[first+i]; c.what != "verify" || c.registry != r.domain || c.length != 100 {
				t.Errorf("after a new head of %s: %+v", r.domain, c)
			}
			s.pass(time.Minute)
		}
		s.own.set(func(n *nearby) { n.none = true; n.head = headOf(101) }) // fenced
		s.pass(time.Minute)
		if n := len(s.peer.all()); n != first+2 {
			t.Errorf("%d questions although nothing is new", n-first-2)
		}
		s.peer.set(func(p *farPeer) { p.calls = nil })
		s.pass(time.Hour)
		if n := len(s.peer.asked("verify", ownDomain)); n != 0 {
			t.Errorf("a head that is not served was shown %d times", n)
		}
	})
}

// TestFirstHeadIsShown: a registry of which nothing was known when everything was
// compared is shown when there is something, unless the peer does not answer for it.
func TestFirstHeadIsShown(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		stage(t, func(o *Options) { o.Interval = time.Hour }, func(t *testing.T, s *scene) {
			s.other.none = true
			if !wanted {
				s.peer.fail = func(c call) error {
					if c.registry == ghost {
						return warg.Errorf(warg.KindNotFound, "not a registry here")
					}
					return nil
				}
			}
			s.pass(time.Minute)
			s.other.set(func(n *nearby) { n.none = false })
			s.pass(headCheck)
			if n := len(s.peer.asked("verify", ghost)); (n == 1) != wanted {
				t.Errorf("a peer that answers for it (%t) was shown the first head %d times", wanted, n)
			}
		})
	}
}

// TestShownAgain: a head that the peer could not judge yet is shown again, less and less
// often, until it can. The next head does not wait for that.
func TestShownAgain(t *testing.T) {
	stage(t, func(o *Options) { o.Interval = time.Hour }, func(t *testing.T, s *scene) {
		s.pass(time.Minute)
		s.peer.set(func(p *farPeer) {
			p.calls = nil
			p.verdict = func(call) warg.Verdict { return warg.Unverified }
		})
		s.other.grow(20)
		s.pass(5 * time.Minute)
		got := gaps(s.peer.asked("verify", ghost))
		for i, n := range []int{1, 2, 4, 8, 16, 32, 60} {
			if pause := time.Duration(n) * time.Second; i >= len(got) || got[i] < pause || got[i] > pause+headCheck {
				t.Fatalf("shown after %v", got)
			}
		}
		for length := uint64(21); length < 24; length++ {
			s.peer.set(func(p *farPeer) { p.calls = nil })
			s.other.grow(length)
			s.pass(headCheck)
			if n := len(s.peer.asked("verify", ghost)); n != 1 {
				t.Errorf("the next head was shown %d times within a second", n)
			}
		}
		s.peer.set(func(p *farPeer) { p.calls, p.verdict = nil, nil })
		s.pass(5 * time.Minute)
		if n := len(s.peer.asked("verify", ghost)); n != 1 {
			t.Errorf("shown %d times more to a peer that has verified it", n)
		}
	})
}

// TestNewsForASilentPeer: who does not listen is shown a new head less and less often,
// and as soon as ever once it listens again.
func TestNewsForASilentPeer(t *testing.T) {
	stage(t, func(o *Options) { o.Interval = time.Hour }, func(t *testing.T, s *scene) {
		s.pass(time.Minute)
		s.peer.set(func(p *farPeer) { p.fail, p.calls = silent, nil })
		s.own.grow(4)
		s.pass(5 * time.Minute)
		got := gaps(s.peer.asked("verify", ownDomain))
		for i, n := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			pause := time.Duration(n) * time.Second
			if i >= len(got) || got[i] < pause || got[i] > pause+headCheck {
				t.Fatalf("shown after %v", got)
			}
		}
		s.other.grow(8) // of this it was told nothing yet
		s.pass(headCheck)
		if len(s.peer.asked("verify", ghost)) != 1 {
			t.Error("one registry waits for another")
		}
		s.peer.set(func(p *farPeer) { p.fail = nil })
		s.pass(longestPause * 5 / 4)
		s.peer.set(func(p *farPeer) { p.calls = nil })
		s.own.grow(5)
		s.pass(headCheck)
		if n := len(s.peer.asked("verify", ownDomain)); n != 1 {
			t.Errorf("shown %d times within a second after it listens again", n)
		}
		s.peer.set(func(p *farPeer) { p.fail, p.calls = silent, nil })
		s.own.grow(6)
		s.pass(5 * time.Second)
		if n := len(s.peer.asked("verify", ownDomain)); n < 3 {
			t.Errorf("shown %d times in 5 s when it fails anew", n)
		}
	})
}

// TestContradiction: an alarm is counted, told, and shown to the peer as well; nothing
// else stops for it.
func TestContradiction(t *testing.T) {
	var text bytes.Buffer
	stage(t, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&text, nil)) }, func(t *testing.T, s *scene) {
		third := &nearby{domain: "third.example", head: headOf(1)}
		s.compare(third)
		s.peer.held[ghost] = headOf(9)
		s.other.saw = func(held *warg.SignedCheckpoint) error {
			if held == nil || held.Unverified().LogLength != 9 {
				t.Errorf("judged %v", held)
			}
			return &Alarm{errors.New("two histories")}
		}
		s.pass(headCheck / 2)
		if s.count(Contradiction) != 1 || !strings.Contains(s.link.Status().LastError, ghost+": two histories") {
			t.Errorf("status: %+v", s.link.Status())
		}
		for what, registry := range map[string]string{"verify": ghost, "held": third.domain, "consistency": ghost} {
			if len(s.peer.asked(what, registry)) != 1 {
				t.Errorf("no %s of %s: %+v", what, registry, s.peer.all())
			}
		}
		s.pass(DefaultInterval)
		if s.count(Contradiction) < 2 {
			t.Error("it is not compared again")
		}
		s.stop()
		<-s.ended
		if !strings.Contains(text.String(), "level=ERROR") || !strings.Contains(text.String(), "two histories") {
			t.Errorf("the log: %s", text.String())
		}
	})
}

// TestContradictionOfOurOwn: a peer that holds another history of ours has answered.
func TestContradictionOfOurOwn(t *testing.T) {
	stage(t, nil, func(t *testing.T, s *scene) {
		s.own.saw = func(*warg.SignedCheckpoint) error { return &Alarm{errors.New("two histories")} }
		s.pass(time.Second)
		if len(s.peer.asked("held", ghost)) != 1 || s.count(Contradiction) != 2 {
			t.Errorf("status: %+v", s.link.Status())
		}
	})
}

// TestWhatAnswersMean: each way in which a comparison may end is counted as what it is.
func TestWhatAnswersMean(t *testing.T) {
	lie := warg.Errorf(warg.KindUpstreamInvalid, "not signed")
	gone := warg.Errorf(warg.KindNotFound, "not a registry here")
	only := func(what string, err error) func(call) error {
		return func(c call) error {
			if c.what == what && c.registry == ghost {
				return err
			}
			return nil
		}
	}
	verdict := func(v warg.Verdict) func(s *scene) {
		return func(s *scene) {
			s.peer.verdict = func(c call) warg.Verdict {
				if c.registry == ghost {
					return v
				}
				return warg.Verified
			}
		}
	}
	cases := map[string]struct {
		prepare func(s *scene)
		held    Result   // what asking for the other registry ends with
		shown   []Result // what showing it ends with
		wrong   string   // the last error
	}{
		"it agrees":              {func(s *scene) { s.peer.held[ghost] = headOf(7) }, Consistent, []Result{Verified}, ""},
		"it holds more":          {func(s *scene) { s.peer.held[ghost] = headOf(8) }, Consistent, []Result{Verified}, ""},
		"it holds nothing":       {func(*scene) {}, Absent, []Result{Verified}, ""},
		"it is news":             {verdict(warg.Unverified), Absent, []Result{Unverified}, ""},
		"it denies":              {verdict(warg.Invalid), Absent, []Result{Denied}, "length 7 is invalid"},
		"it does not answer":     {func(s *scene) { s.peer.fail = only("held", errors.New("timeout")) }, Unreachable, nil, "timeout"},
		"it does not listen":     {func(s *scene) { s.peer.fail = only("verify", errors.New("timeout")) }, Absent, []Result{Unreachable}, "timeout"},
		"it makes no sense":      {func(s *scene) { s.peer.fail = only("held", lie) }, Refused, nil, "not signed"},
		"it does not answer for": {func(s *scene) { s.peer.fail = only("held", gone) }, Absent, nil, ""},
		"nothing is known here": {func(s *scene) {
			s.peer.held[ghost] = headOf(7)
			s.other.saw = func(*warg.SignedCheckpoint) error { return NothingKnown{} }
		}, Unjudged, []Result{Verified}, ""},
		"it shows forgeries": {func(s *scene) {
			s.peer.held[ghost] = headOf(7)
			s.other.saw = func(*warg.SignedCheckpoint) error { return lie }
		}, Refused, nil, "not signed"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			stage(t, nil, func(t *testing.T, s *scene) {
				s.peer.held[ownDomain] = headOf(3)
				c.prepare(s)
				s.pass(headCheck / 2)
				if told := s.other.told; len(told) == 1 && (told[0] == nil) != (c.held == Absent) {
					t.Errorf("judged %v", told[0])
				}
				want := map[Result]uint64{Consistent: 2, Verified: 1} // our own: asked twice, shown once
				want[c.held]++
				for _, r := range c.shown {
					want[r]++
				}
				st := s.link.Status()
				for r := range results {
					if st.Checks[r] != want[r] {
						t.Errorf("%s: counted %d times, not %d", r, st.Checks[r], want[r])
					}
				}
				if !strings.Contains(st.LastError, c.wrong) || (st.LastError == "") != (c.wrong == "") {
					t.Errorf("last error %q; want %q", st.LastError, c.wrong)
				}
				if st.Domain != peerDomain || st.AnsweredAt.IsZero() {
					t.Errorf("status: %+v", st)
				}
			})
		})
	}
}

// TestErrorIsForgotten: when the peer agrees about our own registry again, what was
// wrong before is over.
func TestErrorIsForgotten(t *testing.T) {
	stage(t, nil, func(t *testing.T, s *scene) {
		s.peer.held[ownDomain] = headOf(3)
		s.pass(time.Second)
		s.peer.set(func(p *farPeer) { p.fail = silent })
		s.pass(DefaultInterval)
		was := s.link.Status()
		if was.LastError == "" {
			t.Fatal("nothing is wrong with a peer that is gone")
		}
		failed := was.Checks[Unreachable]
		s.pass(DefaultInterval)
		if was.Checks[Unreachable] != failed {
			t.Error("a status changes after it was asked for")
		}
		s.peer.set(func(p *farPeer) { p.fail = nil })
		s.pass(DefaultInterval)
		if st := s.link.Status(); st.LastError != "" || !st.LastErrorAt.IsZero() || !st.AnsweredAt.After(was.AnsweredAt) {
			t.Errorf("status: %+v", st)
		}
	})
}

// TestOneRegistryDoesNotHideOthers: a registry that the peer cannot answer for now does
// not keep the next from being compared.
func TestOneRegistryDoesNotHideOthers(t *testing.T) {
	stage(t, nil, func(t *testing.T, s *scene) {
		last := &nearby{domain: "last.example", head: headOf(1)}
		s.compare(last)
		s.peer.fail = func(c call) error {
			if c.registry == ghost {
				return silent(c)
			}
			return nil
		}
		s.peer.held[last.domain] = headOf(1)
		s.pass(time.Second)
		if text := s.link.Status().LastError; !strings.Contains(text, ghost) {
			t.Errorf("what was wrong is hidden: %q", text)
		}
		if len(s.peer.asked("held", last.domain)) != 1 || len(s.peer.asked("verify", last.domain)) != 1 {
			t.Errorf("asked: %+v", s.peer.all())
		}
	})
}

// TestQuestionsEnd: a question that is not answered is given up after ten seconds.
func TestQuestionsEnd(t *testing.T) {
	stage(t, func(o *Options) { o.Chance = shortest }, func(t *testing.T, s *scene) {
		s.peer.takes = time.Hour
		s.pass(30 * time.Second)
		at := s.peer.asked("held", ownDomain)
		if len(at) < 2 || at[1]-at[0] != askTimeout+firstPause*3/4 {
			t.Errorf("asked at %v", at)
		}
		if !strings.Contains(s.link.Status().LastError, context.DeadlineExceeded.Error()) {
			t.Errorf("status: %+v", s.link.Status())
		}
	})
	stage(t, nil, func(t *testing.T, s *scene) {
		s.peer.deaf = "verify"
		s.pass(30 * time.Second)
		if at := s.peer.asked("held", ghost); len(at) != 1 || at[0] > askTimeout {
			t.Errorf("a head that nobody looks at holds up the next registry: %v", at)
		}
	})
}

// TestEnds: whatever a link is doing, it ends at once with its context.
func TestEnds(t *testing.T) {
	cases := map[string]struct {
		prepare func(s *scene)
		at      time.Duration
	}{
		"asking":                 {func(s *scene) { s.peer.takes = 5 * time.Second }, time.Second},
		"waiting to ask":         {func(s *scene) { s.peer.fail = silent }, 20 * time.Second},
		"comparing everything":   {func(s *scene) { s.peer.takes = 5 * time.Second }, 6 * time.Second},
		"showing":                {func(s *scene) { s.peer.takes = 5 * time.Second }, 11 * time.Second},
		"waiting for the next":   {func(*scene) {}, 30 * time.Second},
		"comparing it once more": {func(s *scene) { s.peer.takes = time.Second }, DefaultInterval + time.Second/2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			stage(t, nil, func(t *testing.T, s *scene) {
				c.prepare(s)
				s.pass(c.at)
				before := len(s.peer.all())
				began := time.Now()
				s.stop()
				<-s.ended
				if d := time.Since(began); d != 0 {
					t.Errorf("it went on for %v", d)
				}
				if n := len(s.peer.all()); n != before {
					t.Errorf("%d more questions were asked", n-before)
				}
			})
		})
	}
}
