package monitor

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// crime is something that a registry signs and that convicts it. The watcher has
// looked at the registry at lengths 4 and 9, or at none of them.
type crime struct {
	name  string
	class string
	// only is "ledger" or "proof" if the crime can only be proven that way.
	only string
	do   func(s *site)
}

// later makes the registry's clock go on.
func later(m *wargtest.Memory, seconds int) *wargtest.Memory {
	for range seconds {
		m.Resign()
	}
	return m
}

// cut returns the registry as it was at a length.
func cut(t testing.TB, n int) *wargtest.Memory { return newRegistry(t, n) }

func crimes() []crime {
	alice := wargtest.Alice()
	signed := func(s *site, change func(*warg.Checkpoint)) {
		c := latest(s.t, s.reg)
		change(&c)
		s.show(c.Sign(alice))
	}
	return []crime{
		{"another log root for one length", ClassEquivocation, "", func(s *site) {
			signed(s, func(c *warg.Checkpoint) { c.LogRoot[5] ^= 1 })
		}},
		{"another map root for one length", ClassEquivocation, "", func(s *site) {
			signed(s, func(c *warg.Checkpoint) { c.MapRoot[5] ^= 1 })
		}},
		{"another history of one length", ClassEquivocation, "", func(s *site) {
			m := cut(s.t, 8)
			grow(s.t, m, "x", 1)
			s.reg = m
		}},
		{"a shorter length of another history", ClassEquivocation, "", func(s *site) {
			m := cut(s.t, 3)
			grow(s.t, m, "x", 3)
			s.reg = m
			s.ledgerOf = newRegistry(s.t, 9)
			honest := newRegistry(s.t, 9)
			s.proofs = func(from, to uint64) ([]byte, bool) {
				b, err := honest.Consistency(s.t.Context(), from, to)
				return b, err == nil
			}
		}},
		{"a shorter length with another map root", ClassEquivocation, ByLedger, func(s *site) {
			c := latest(s.t, newRegistry(s.t, 6))
			c.MapRoot[0] ^= 1
			s.show(c.Sign(alice))
		}},
		{"a known shorter length with another map root", ClassEquivocation, "", func(s *site) {
			c := latest(s.t, newRegistry(s.t, 4))
			c.MapRoot[0] ^= 1
			s.show(c.Sign(alice))
		}},
		{"a longer length with another map root", ClassEquivocation, ByLedger, func(s *site) {
			grow(s.t, s.reg, "y", 4)
			signed(s, func(c *warg.Checkpoint) { c.MapRoot[0] ^= 1 })
		}},
		{"a longer length of another history, whose ledger it shows", ClassEquivocation, ByLedger, func(s *site) {
			m := cut(s.t, 6)
			grow(s.t, m, "x", 8)
			s.reg = m
			s.refuse[api.OpConsistency] = 500
		}},
		{"a longer length of another history, which it proves", ClassEquivocation, "", func(s *site) {
			m := cut(s.t, 6)
			grow(s.t, m, "x", 8)
			s.reg = m
		}},
		{"a longer length of another history, with the ledger of the first", ClassEquivocation, "", func(s *site) {
			honest := s.reg
			m := cut(s.t, 6)
			grow(s.t, m, "x", 8)
			grow(s.t, honest, "y", 8)
			s.reg, s.ledgerOf = m, honest
		}},
		{"a history with another operator log, of a server that hangs up on unknown tokens", ClassEquivocation, ByLedger, func(s *site) {
			m := wargtest.NewMemory(wargtest.Options{Domain: "registry.test", Namespaces: []string{"test", "other"}})
			grow(s.t, m, "x", 12)
			s.reg, s.hangsUp = m, true
		}},
		{"a longer length of a history with another operator log", ClassEquivocation, "", func(s *site) {
			m := wargtest.NewMemory(wargtest.Options{Domain: "registry.test", Namespaces: []string{"test", "other"}})
			grow(s.t, m, "x", 12)
			s.reg = m
		}},
		{"a rewind that is signed later", ClassRewind, "", func(s *site) {
			s.reg = later(cut(s.t, 6), 100)
		}},
		{"a rewind to a known length that is signed later", ClassRewind, "", func(s *site) {
			s.reg = later(cut(s.t, 4), 100)
		}},
	}
}

// observed returns a site whose registry a watcher has looked at, at lengths 4 and 9.
func observed(t *testing.T, proofs bool) (*site, *watch) {
	t.Helper()
	s := newSite(t, newRegistry(t, 4))
	if proofs {
		s.refuse[api.OpLedger] = 404
	}
	w := newWatch(t, s, nil)
	w.look(StatusConsistent)
	s.reg = newRegistry(t, 9)
	w.look(StatusConsistent)
	return s, w
}

func TestCrimes(t *testing.T) {
	for _, c := range crimes() {
		for _, by := range []string{ByLedger, ByProof} {
			if c.only != "" && c.only != by {
				continue
			}
			t.Run(c.name+", by "+by, func(t *testing.T) {
				s, w := observed(t, by == ByProof)
				c.do(s)
				r := w.look(StatusForked)
				file := w.evidence(r)
				v := convicts(t, file, c.class)
				if v.Registry != address {
					t.Errorf("said to be about %q", v.Registry)
				}
				if _, err := CheckEvidence(file, []warg.KeyID{wargtest.Bob().Public().ID()}); err == nil {
					t.Error("evidence against Alice convicts Bob")
				}
				if v, err := CheckEvidence(file, nil); err != nil || len(v.Keys) != 1 || v.Keys[0] != wargtest.Alice().Public().ID() {
					t.Errorf("without trusted keys: %+v %v", v, err)
				}
				w.restart()
				if again := w.look(StatusForked); again.Evidence != r.Evidence {
					t.Errorf("shown again, the same crime has other evidence: %s", again.Evidence)
				}
				w.evidence(r)
				good := newSite(t, newRegistry(t, 9))
				s.reg, s.ledgerOf, s.shown, s.proofs = good.reg, nil, nil, nil
				delete(s.refuse, api.OpConsistency)
				w.restart()
				if after := w.look(StatusUnchanged); after.Evidence != r.Evidence || !strings.Contains(after.Message, "convicted") {
					t.Errorf("after the crime an honest face is believed: %+v", after)
				}
			})
		}
	}
}

// TestWhatWasSeenIsNotForgotten: a checkpoint that could not be judged when it was
// shown, because the registry kept silent, is judged later.
func TestWhatWasSeenIsNotForgotten(t *testing.T) {
	for _, c := range []struct {
		name  string
		class string
		shown func(m *wargtest.Memory) warg.Checkpoint
	}{
		{"an honest one", "", func(m *wargtest.Memory) warg.Checkpoint { return latest(t, m) }},
		{"another log root", ClassEquivocation, func(m *wargtest.Memory) warg.Checkpoint {
			c := latest(t, m)
			c.LogRoot[0] ^= 1
			return c
		}},
		{"another map root", ClassEquivocation, func(m *wargtest.Memory) warg.Checkpoint {
			c := latest(t, m)
			c.MapRoot[0] ^= 1
			return c
		}},
		{"an honest one, signed later than a longer one", "", func(m *wargtest.Memory) warg.Checkpoint {
			c := latest(t, m)
			c.Timestamp += 50 // the clock was wrong; nobody went back
			return c
		}},
	} {
		for i, silent := range []api.Op{api.OpLogs, api.OpLedger, api.OpLedgerRecords, api.OpConsistency, api.OpInclusion, api.OpLogs} {
			more := i % 2 * 2 // does the registry show the same length again, or a longer one?
			proofs := silent == api.OpConsistency || silent == api.OpInclusion
			if proofs && more > 0 && c.name == "another map root" {
				continue // nobody can tell
			}
			t.Run(fmt.Sprintf("%s, without %v, %d more", c.name, silent, more), func(t *testing.T) {
				m := newRegistry(t, 5)
				s := newSite(t, m)
				quiet := func() {
					clear(s.refuse)
					if proofs {
						s.refuse[api.OpLedger] = 404
					}
				}
				quiet()
				w := newWatch(t, s, nil)
				w.look(StatusConsistent)
				grow(t, m, "a", 3)
				s.show(c.shown(m).Sign(wargtest.Alice()))
				s.refuse[silent] = 503
				for range 2 {
					if r := must(w.Look(t.Context()))(t); r.fine() || r.Evidence != "" {
						t.Fatalf("%+v", r)
					}
				}
				if len(w.state.pending) != 1 {
					t.Fatalf("%d checkpoints wait", len(w.state.pending))
				}
				w.restart()
				quiet()
				s.shown = nil
				grow(t, m, "b", more)
				if c.class == "" {
					if r := w.look(StatusConsistent); r.Evidence != "" {
						t.Errorf("%+v", r)
					}
					if len(w.state.pending) != 0 || len(w.state.views) != 2+more/2 {
						t.Errorf("%d wait, %d views", len(w.state.pending), len(w.state.views))
					}
					return
				}
				convicts(t, w.evidence(w.look(StatusForked)), c.class)
				w.restart()
				if r := w.look(StatusUnchanged); r.Evidence == "" || len(w.state.pending) != 0 {
					t.Errorf("%+v, %d wait", r, len(w.state.pending))
				}
			})
		}
	}
}

// TestOneThatWaitsIsEnough: a registry that signs the same anew while it keeps silent
// about the rest does not fill the state.
func TestOneThatWaitsIsEnough(t *testing.T) {
	m := newRegistry(t, 5)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	s.refuse[api.OpLedger] = 503
	for range 5 {
		m.Resign()
		w.look(StatusUnreachable)
	}
	if got := strings.Count(w.files()[journalFile], "\n"+kindSeen+" "); got != 1 || len(w.state.pending) != 1 {
		t.Errorf("%d lines, %d wait", got, len(w.state.pending))
	}
}

// TestStrangersAreForgotten: what anybody could have sent does not stay.
func TestStrangersAreForgotten(t *testing.T) {
	m := newRegistry(t, 5)
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	s.refuse[api.OpLogs] = 503
	for i := range 2 * maxPending {
		c := latest(t, m)
		c.MapRoot = warg.Sum([]byte(fmt.Sprint(i)))
		s.show(c.Sign(wargtest.Stranger("evil")))
		w.look(StatusUnreachable)
		if i == maxPending/2 {
			w.restart()
		}
	}
	if len(w.state.pending) != maxPending {
		t.Errorf("%d checkpoints wait", len(w.state.pending))
	}
	clear(s.refuse)
	s.shown = nil
	if r := w.look(StatusConsistent); r.Evidence != "" || len(w.state.pending) != 0 {
		t.Errorf("%+v, %d wait", r, len(w.state.pending))
	}
}

// rotated returns evidence against a registry whose operator has passed the right to
// sign on to another key, and that key.
func rotated(t *testing.T) ([]byte, warg.KeyID) {
	t.Helper()
	next := wargtest.Stranger("next")
	registry := func() *wargtest.Memory {
		m := newRegistry(t, 3)
		operate(t, m, wargtest.Alice(), oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
		m.UseKey(next)
		operate(t, m, next, oplog.Revoke{KeyID: wargtest.Alice().Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
		return m
	}
	m := registry()
	s := newSite(t, m)
	w := newWatch(t, s, nil)
	grow(t, m, "a", 3)
	w.look(StatusConsistent)
	s.reg = registry()
	grow(t, s.reg, "b", 5)
	return w.evidence(w.look(StatusForked)), next.Public().ID()
}

// TestEvidenceAfterKeyRotation: the signer is a key that the reader has never heard
// of, and the operator log in the file says why it counts.
func TestEvidenceAfterKeyRotation(t *testing.T) {
	file, next := rotated(t)
	v := convicts(t, file, ClassEquivocation)
	if len(v.Keys) != 1 || v.Keys[0] != wargtest.Alice().Public().ID() || v.Checkpoints[0].KeyID != next {
		t.Errorf("%+v", v)
	}
	if v, err := CheckEvidence(file, []warg.KeyID{next}); err != nil || v.Keys[0] != next {
		t.Errorf("for a reader who trusts the signer: %+v %v", v, err)
	}
	if _, err := CheckEvidence(file, []warg.KeyID{wargtest.Bob().Public().ID()}); err == nil {
		t.Error("an operator log that the trusted key did not begin was believed")
	}
	if !bytes.Contains(file, []byte("operatorLogs")) {
		t.Error("no operator log in the file")
	}
}

// TestManyCrimes: evidence does not fill the disk.
func TestManyCrimes(t *testing.T) {
	s, w := observed(t, false)
	for i := range maxConvictions + 20 {
		c := latest(t, s.reg)
		c.MapRoot = warg.Sum([]byte(fmt.Sprint(i)))
		s.show(c.Sign(wargtest.Alice()))
		if r := w.look(StatusForked); r.Evidence == "" {
			t.Fatalf("%+v", r)
		}
	}
	files := 0
	for name := range w.files() {
		if strings.HasPrefix(name, evidenceDir) {
			files++
		}
	}
	if files != maxConvictions || len(w.state.convictions) != maxConvictions {
		t.Errorf("%d files, %d convictions", files, len(w.state.convictions))
	}
	w.restart()
	if len(w.state.convictions) != maxConvictions {
		t.Errorf("%d convictions after a restart", len(w.state.convictions))
	}
}
