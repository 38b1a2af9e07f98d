package monitor

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestHonestRegistry(t *testing.T) {
	m := newRegistry(t, 13)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	r := w.look(StatusConsistent)
	c := latest(t, m)
	if r.By != ByLedger || r.Added != 13 || r.LogLength != 13 || r.LogRoot != c.LogRoot.String() || r.MapRoot != c.MapRoot.String() || r.OperatorKey != wargtest.Alice().Public().ID() {
		t.Errorf("%+v", r)
	}
	w.look(StatusUnchanged)
	if n := s.requests[api.OpLedger]; n != 1 {
		t.Errorf("the ledger was asked for %d times, although nothing was new", n)
	}
	for i := range 4 {
		grow(t, m, "more"+string(rune('a'+i)), 3)
		if r := w.look(StatusConsistent); r.Added != 3 {
			t.Errorf("%+v", r)
		}
	}
	m.Resign()
	if r := w.look(StatusUnchanged); r.Timestamp != latest(t, m).Timestamp {
		t.Errorf("%+v", r)
	}
	w.restart()
	w.look(StatusUnchanged)
	grow(t, m, "after", 7)
	w.look(StatusConsistent)
	if got := strings.Count(w.files()[journalFile], kindRebuilt+" "); got != 6 {
		t.Errorf("%d checkpoints were kept, want 6:\n%s", got, w.files()[journalFile])
	}
	if got := strings.Count(w.files()[journalFile], kindRenewed+" "); got != 1 {
		t.Errorf("%d checkpoints signed anew were kept, want 1", got)
	}
}

// TestOverRealHTTP is the one test with a socket.
func TestOverRealHTTP(t *testing.T) {
	s := newSite(t, newRegistry(t, 8))
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	defer server.Close()
	w, err := Open(server.URL+"/base/", Options{Dir: t.TempDir(), OnBehalf: "other.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if r, err := w.Look(t.Context()); err != nil || r.Status != StatusConsistent {
		t.Errorf("%+v %v", r, err)
	}
	if got := s.header.Get(api.HeaderRegistry); got != "other.example" {
		t.Errorf("asked on behalf of %q", got)
	}
}

func TestKeyRotation(t *testing.T) {
	m := newRegistry(t, 3)
	next := wargtest.Stranger("next")
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	w.look(StatusConsistent)

	operate(t, m, wargtest.Alice(), oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	m.UseKey(next)
	m.Resign()
	w.look(StatusConsistent)
	operate(t, m, next, oplog.Revoke{KeyID: wargtest.Alice().Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	w.look(StatusConsistent)

	m.UseKey(wargtest.Alice()) // whose right is gone
	m.Resign()
	w.look(StatusRefused)
	grow(t, m, "revoked", 1)
	w.look(StatusRefused)
	m.UseKey(next)
	m.Resign()
	w.restart()
	w.look(StatusConsistent)

	if r := w.look(StatusUnchanged); r.OperatorKey != wargtest.Alice().Public().ID() {
		t.Errorf("the log was begun by %s", r.OperatorKey)
	}
}

// TestKeysOfOldCheckpoints: who may sign is asked of the operator log as it was at
// the checkpoint's length, not as it is now.
func TestKeysOfOldCheckpoints(t *testing.T) {
	m := newRegistry(t, 4)
	before := latest(t, m)
	next := wargtest.Stranger("next")
	operate(t, m, wargtest.Alice(), oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	m.UseKey(next)
	operate(t, m, next, oplog.Revoke{KeyID: wargtest.Alice().Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	after := latest(t, m)
	for _, c := range []struct {
		name   string
		signed warg.SignedCheckpoint
		want   string
	}{
		{"before the revocation", before.Sign(wargtest.Alice()), StatusOld},
		{"before the grant", before.Sign(next), StatusRefused},
		{"after the revocation", after.Sign(wargtest.Alice()), StatusRefused},
		{"after the grant", after.Sign(next), StatusUnchanged},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, m)
			w := newWatch(t, s, nil)
			w.look(StatusConsistent)
			s.show(c.signed)
			w.look(c.want)
		})
	}
}

// TestOneSecond: several lengths are signed within one second; that is no rewind.
func TestOneSecond(t *testing.T) {
	m := newRegistry(t, 4)
	early := latest(t, m)
	grow(t, m, "a", 2)
	late := latest(t, m)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	w.look(StatusConsistent)
	early.Timestamp = late.Timestamp
	s.show(early.Sign(wargtest.Alice()))
	w.look(StatusOld)
	early.Timestamp++
	s.show(early.Sign(wargtest.Alice()))
	w.look(StatusForked)
}

func TestOperatorKeyIsPinned(t *testing.T) {
	s := newSite(t, newRegistry(t, 3))
	for _, c := range []struct {
		name string
		pins []warg.KeyID
		want string
	}{
		{"the right one", []warg.KeyID{wargtest.Alice().Public().ID()}, StatusConsistent},
		{"one of two", []warg.KeyID{wargtest.Bob().Public().ID(), wargtest.Alice().Public().ID()}, StatusConsistent},
		{"another one", []warg.KeyID{wargtest.Bob().Public().ID()}, StatusRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			newWatch(t, s, func(o *Options) { o.OperatorKeys = c.pins }).look(c.want)
		})
	}
}

// TestAnotherOperatorLogIsRefused: what was believed first cannot be replaced, by
// whom ever.
func TestAnotherOperatorLogIsRefused(t *testing.T) {
	s := newSite(t, newRegistry(t, 3))
	w := newWatch(t, s, nil)
	w.look(StatusConsistent)
	other := wargtest.NewMemory(wargtest.Options{Domain: "registry.test", Key: wargtest.Bob(), Namespaces: []string{"test"}})
	grow(t, other, "other", 9)
	s.set(func() { s.reg = other })
	w.look(StatusRefused)
	s.set(func() { s.reg = newRegistry(t, 5) })
	w.look(StatusConsistent)
}

// TestRefusals are answers that are wrong and prove nothing, since anybody on the way
// can make them.
func TestRefusals(t *testing.T) {
	alice := wargtest.Alice()
	edit := func(s *site, change func(*warg.Checkpoint)) {
		c := latest(s.t, s.reg)
		change(&c)
		s.show(c.Sign(alice))
	}
	flip := func(b []byte) []byte { b = slices.Clone(b); b[len(b)-1] ^= 1; return b }
	for _, c := range []struct {
		name   string
		status string
		attack func(s *site)
	}{
		{"signed by a stranger", StatusRefused, func(s *site) {
			s.show(latest(s.t, s.reg).Sign(wargtest.Stranger("evil")))
		}},
		{"signed by a publisher", StatusRefused, func(s *site) { s.show(latest(s.t, s.reg).Sign(wargtest.Bob())) }},
		{"another time than was signed", StatusRefused, func(s *site) {
			c := latest(s.t, s.reg)
			good := c.Sign(alice)
			c.Timestamp += 7
			s.show(warg.NewSignedCheckpoint(c.Claims(), good.KeyID(), good.Signature()))
		}},
		{"length 0", StatusRefused, func(s *site) { edit(s, func(c *warg.Checkpoint) { c.LogLength = 0 }) }},
		{"a length that no log can have", StatusRefused, func(s *site) { edit(s, func(c *warg.Checkpoint) { c.LogLength = 1 << 40 }) }},
		{"a length beyond what is followed", StatusRefused, func(s *site) { edit(s, func(c *warg.Checkpoint) { c.LogLength = 5000 }) }},
		{"a length beyond the ledger", StatusUnreachable, func(s *site) { edit(s, func(c *warg.Checkpoint) { c.LogLength++ }) }},
		{"a short root", StatusRefused, func(s *site) {
			s.change[api.OpCheckpoint] = func(b []byte) []byte {
				return []byte(strings.Replace(string(b), latest(s.t, s.reg).LogRoot.String(), "sha256:00", 1))
			}
		}},
		{"no JSON", StatusRefused, func(s *site) { s.change[api.OpCheckpoint] = func([]byte) []byte { return []byte("{") } }},
		{"an endless checkpoint", StatusRefused, func(s *site) {
			s.change[api.OpCheckpoint] = func(b []byte) []byte { return append(b, make([]byte, maxCheckpointBody)...) }
		}},
		{"a changed leaf", StatusRefused, func(s *site) { s.change[api.OpLedgerRecords] = flip }},
		{"a page that is short", StatusRefused, func(s *site) {
			s.change[api.OpLedgerRecords] = func(b []byte) []byte { return b[:len(b)-1] }
		}},
		{"a ledger that ends early", StatusRefused, func(s *site) {
			s.change[api.OpLedger] = func([]byte) []byte { return api.AppendLedger(nil, nil) }
		}},
		{"a ledger elsewhere", StatusRefused, func(s *site) {
			s.change[api.OpLedger] = func(b []byte) []byte {
				return []byte(strings.ReplaceAll(string(b), `"v1/ledger`, `"http://169.254.169.254/ledger`))
			}
		}},
		{"the operator log without its last record", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, err := api.ParseLogsPage(b)
				if err != nil || len(page.Operator) < 2 {
					return b
				}
				page.Operator = page.Operator[:len(page.Operator)-1]
				return api.AppendLogsPage(nil, page)
			}
		}},
		{"an operator record at another index", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, err := api.ParseLogsPage(b)
				if err != nil {
					return b
				}
				page.Operator[len(page.Operator)-1].Index--
				return api.AppendLogsPage(nil, page)
			}
		}},
		{"an operator record beyond the checkpoint", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, _ := api.ParseLogsPage(b)
				page.Operator[0].Index = 1000
				return api.AppendLogsPage(nil, page)
			}
		}},
		{"an operator record of another signature", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, _ := api.ParseLogsPage(b)
				page.Operator[0].Signature = page.Operator[1].Signature
				return api.AppendLogsPage(nil, page)
			}
		}},
		{"no operator log", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func([]byte) []byte { return []byte(`{"more":false}`) }
		}},
		{"an operator log without end", StatusRefused, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, _ := api.ParseLogsPage(b)
				for len(page.Operator) < operatorPage {
					page.Operator = append(page.Operator, page.Operator[0])
				}
				return api.AppendLogsPage(nil, page)
			}
		}},
		{"status 500 for the checkpoint", StatusUnreachable, func(s *site) { s.refuse[api.OpCheckpoint] = 500 }},
		{"a redirect", StatusUnreachable, func(s *site) { s.refuse[api.OpCheckpoint] = 302 }},
		{"status 429 for the operator log", StatusUnreachable, func(s *site) { s.refuse[api.OpLogs] = 429 }},
		{"status 503 for the ledger", StatusUnreachable, func(s *site) { s.refuse[api.OpLedger] = 503 }},
		{"status 404 for a page", StatusUnreachable, func(s *site) { s.refuse[api.OpLedgerRecords] = 404 }},
	} {
		for _, begun := range []bool{false, true} {
			name := c.name + ", at first sight"
			if begun {
				name = c.name + ", later"
			}
			t.Run(name, func(t *testing.T) {
				m := newRegistry(t, 4)
				s := newSite(t, m)
				w := newWatch(t, s, func(o *Options) { o.MaxLength = 1000 })
				if begun {
					w.look(StatusConsistent)
				}
				operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "second"}) // index 4
				operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "third"})
				grow(t, m, "second", 7)
				c.attack(s)
				r := w.look(c.status)
				if len(w.state.convictions) > 0 || r.Evidence != "" {
					t.Errorf("convicted: %+v", r)
				}
				s.set(func() {
					clear(s.change)
					clear(s.refuse)
					s.shown = nil
				})
				w.restart()
				w.look(StatusConsistent) // an honest registry works again
				if begun && w.state.leaves != 13 || len(w.op.records) != 3 {
					t.Errorf("%d leaves, %d operator records", w.state.leaves, len(w.op.records))
				}
			})
		}
	}
}

// TestOldCheckpoints: a replica that lags shows what is true, and is not accused.
func TestOldCheckpoints(t *testing.T) {
	m := newRegistry(t, 6)
	six := must(m.Checkpoint(t.Context()))(t).Signed
	grow(t, m, "a", 2)
	eight := must(m.Checkpoint(t.Context()))(t).Signed
	grow(t, m, "b", 2)
	for _, withLedger := range []bool{true, false} {
		s := newSite(t, m)
		if !withLedger {
			s.refuse[api.OpLedger] = 404
		}
		w := newWatch(t, s, nil)
		w.look(StatusConsistent)
		s.show(eight) // never seen
		w.look(StatusOld)
		s.show(six)
		w.look(StatusOld)
		w.restart()
		s.show(eight) // seen
		w.look(StatusOld)
		if len(w.state.views) != 3 {
			t.Errorf("%d views", len(w.state.views))
		}
	}
}

func TestFutureAndPastTimesAreRemarked(t *testing.T) {
	m := newRegistry(t, 6)
	s := newSite(t, m)
	w := newWatch(t, s, func(o *Options) { o.Now = func() time.Time { return time.Unix(1_600_000_000, 0) } })
	if r := w.look(StatusConsistent); !strings.Contains(r.Message, "in the future") {
		t.Errorf("%+v", r)
	}
	grow(t, m, "a", 1)
	c := latest(t, m)
	c.Timestamp = 1_500_000_000 // the registry's clock was set back: strange, and harmless
	s.show(c.Sign(wargtest.Alice()))
	if r := w.look(StatusConsistent); !strings.Contains(r.Message, "before that of a shorter one") || r.Evidence != "" {
		t.Errorf("%+v", r)
	}
}

// TestWithoutLedger: proofs of consistency are second best, and said to be.
func TestWithoutLedger(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		m := newRegistry(t, 6)
		s := newSite(t, m)
		s.refuse[api.OpLedger] = status
		w := newWatch(t, s, nil)
		if r := w.look(StatusConsistent); r.By != ByProof {
			t.Errorf("%+v", r)
		}
		operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "second"})
		w.look(StatusConsistent)
		grow(t, m, "a", 5)
		w.look(StatusConsistent)
		w.restart()
		w.look(StatusUnchanged)

		clear(s.refuse) // from now on it has one, and everything before is checked by it
		if r := w.look(StatusUnchanged); r.By != ByLedger {
			t.Errorf("%+v", r)
		}
		for _, v := range w.state.views {
			if !v.rebuilt {
				t.Errorf("length %d was not rebuilt", v.length)
			}
		}
		grow(t, m, "b", 1)
		s.refuse[api.OpLedger] = status
		w.look(StatusRefused) // there is no way back
	}
}

func TestWithoutLedgerRefusals(t *testing.T) {
	proof := func(edit func(*warg.InclusionProof)) func([]byte) []byte {
		return func(b []byte) []byte {
			p, err := api.ParseInclusion(b)
			if err != nil {
				return b
			}
			edit(&p)
			return api.AppendInclusion(nil, p)
		}
	}
	for _, c := range []struct {
		name   string
		status string
		attack func(s *site)
	}{
		{"no proof of consistency", StatusUnreachable, func(s *site) { s.refuse[api.OpConsistency] = 404 }},
		{"a malformed proof of consistency", StatusRefused, func(s *site) {
			s.proofs = func(uint64, uint64) ([]byte, bool) { return []byte("x"), true }
		}},
		{"a proof of consistency that leads elsewhere", StatusRefused, func(s *site) {
			other := newRegistry(s.t, 3)
			grow(s.t, other, "other", 20)
			s.proofs = func(from, to uint64) ([]byte, bool) {
				b, err := other.Consistency(s.t.Context(), from, to)
				return b, err == nil
			}
		}},
		{"no proof of inclusion", StatusUnreachable, func(s *site) { s.refuse[api.OpInclusion] = 500 }},
		{"a malformed proof of inclusion", StatusRefused, func(s *site) {
			s.change[api.OpInclusion] = func([]byte) []byte { return []byte(`{"log":1}`) }
		}},
		{"no log proof", StatusRefused, func(s *site) {
			s.change[api.OpInclusion] = proof(func(p *warg.InclusionProof) { p.Log = nil })
		}},
		{"no map proof", StatusRefused, func(s *site) {
			s.change[api.OpInclusion] = proof(func(p *warg.InclusionProof) { p.Map = nil })
		}},
		{"another map proof", StatusRefused, func(s *site) {
			s.change[api.OpInclusion] = proof(func(p *warg.InclusionProof) { p.Map[len(p.Map)-1] ^= 1 })
		}},
		{"another log proof", StatusRefused, func(s *site) {
			s.change[api.OpInclusion] = proof(func(p *warg.InclusionProof) { p.Log[len(p.Log)-1] ^= 1 })
		}},
		{"the operator log without its last record", StatusUnreachable, func(s *site) {
			s.change[api.OpLogs] = func(b []byte) []byte {
				page, err := api.ParseLogsPage(b)
				if err != nil || len(page.Operator) == 0 {
					return b
				}
				page.Operator = page.Operator[:len(page.Operator)-1]
				return api.AppendLogsPage(nil, page)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newRegistry(t, 6)
			s := newSite(t, m)
			s.refuse[api.OpLedger] = 404
			w := newWatch(t, s, nil)
			w.look(StatusConsistent)
			operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "second"})
			grow(t, m, "a", 5)
			c.attack(s)
			w.look(c.status)
			s.set(func() {
				clear(s.change)
				clear(s.refuse)
				s.proofs = nil
				s.refuse[api.OpLedger] = 404
			})
			w.restart()
			if r := w.look(StatusConsistent); r.Evidence != "" {
				t.Errorf("convicted: %+v", r)
			}
		})
	}
}

func TestEndedContext(t *testing.T) {
	w := newWatch(t, newSite(t, newRegistry(t, 3)), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := w.Look(ctx); err != nil || r.Status != StatusUnreachable {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWrongAddresses(t *testing.T) {
	for _, a := range []string{"", "registry.test", "ftp://registry.test", "http://", "http://u:p@registry.test", "http://registry.test?x", "http://registry.test#x", "http://[::1", "/path"} {
		var wrong *AddressError
		if _, err := Open(a, Options{Dir: t.TempDir()}); !errors.As(err, &wrong) || wrong.Address != a {
			t.Errorf("%q: %v", a, err)
		}
	}
	if _, err := Open(address, Options{Dir: t.TempDir(), OnBehalf: "../x"}); err == nil {
		t.Error("a domain that is a path was accepted")
	}
}

// TestEveryCheckpointIsKept: longer ones, those signed anew, and old ones alike, each
// once, as they were signed.
func TestEveryCheckpointIsKept(t *testing.T) {
	m := newRegistry(t, 3)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	var shown []warg.SignedCheckpoint
	look := func(want string) {
		t.Helper()
		shown = append(shown, must(m.Checkpoint(t.Context()))(t).Signed)
		s.show(shown[len(shown)-1])
		w.look(want)
		w.look(StatusUnchanged) // and again
	}
	look(StatusConsistent)
	for range 2 {
		m.Resign()
		look(StatusUnchanged)
	}
	grow(t, m, "a", 1)
	between := must(m.Checkpoint(t.Context()))(t).Signed
	grow(t, m, "b", 1)
	look(StatusConsistent)
	shown = append(shown, between)
	s.show(between)
	w.look(StatusOld)
	w.restart()
	w.look(StatusOld)
	journal := w.files()[journalFile]
	for i, c := range shown {
		if n := strings.Count(journal, string(api.AppendCheckpoint(nil, c))); n != 1 {
			t.Errorf("checkpoint %d of %d stands in the journal %d times", i, len(shown), n)
		}
	}
}
