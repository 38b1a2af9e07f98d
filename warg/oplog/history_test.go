package oplog_test

import (
	"math"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"pgregory.net/rapid"
)

func TestCommitHistory(t *testing.T) {
	a, b := alice(t), bob(t)
	commit := []oplog.Permission{oplog.PermissionCommit}
	var s oplog.State
	var h oplog.CommitHistory
	observe := func(index uint64) {
		t.Helper()
		if err := h.Observe(index, &s); err != nil {
			t.Fatal(err)
		}
	}
	add(t, &s, a, oplog.Init{Key: a.Public()})
	observe(0)
	add(t, &s, a, oplog.Grant{Key: b.Public(), Permissions: commit})
	observe(5)
	add(t, &s, b, oplog.Revoke{KeyID: a.Public().ID(), Permissions: commit})
	observe(9)
	add(t, &s, b, oplog.Grant{Key: a.Public(), Permissions: commit}, oplog.Revoke{KeyID: a.Public().ID(), Permissions: commit})
	observe(10)

	add(t, &s, b, oplog.Grant{Key: a.Public(), Permissions: commit})
	if err := h.Observe(20, s.Clone()); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		length       uint64
		alice, bobby bool
	}{{0, false, false}, {1, true, false}, {5, true, false}, {6, true, true}, {9, true, true}, {10, false, true}, {20, false, true}, {21, true, true}, {math.MaxUint64, true, true}} {
		gotA, gotB := h.Holds(a.Public().ID(), c.length), h.Holds(b.Public().ID(), c.length)
		if gotA != c.alice || gotB != c.bobby {
			t.Errorf("length %d: alice %v, bob %v", c.length, gotA, gotB)
		}
	}
	if h.Holds("nobody", 5) || h.Length() != 21 {
		t.Errorf("an unknown key holds commit, or the length %d is wrong", h.Length())
	}
}

func TestCommitHistoryMisuse(t *testing.T) {
	a := alice(t)
	var s oplog.State
	var h oplog.CommitHistory
	if h.Observe(0, &s) == nil {
		t.Error("observed no record")
	}
	add(t, &s, a, oplog.Init{Key: a.Public()})
	if err := h.Observe(3, &s); err != nil {
		t.Fatal(err)
	}
	if h.Observe(4, &s) == nil {
		t.Error("observed one record twice")
	}
	b := bob(t).Public()
	add(t, &s, a, oplog.Grant{Key: b, Permissions: []oplog.Permission{oplog.PermissionCommit}})
	if h.Observe(3, &s) == nil {
		t.Error("observed two records at one index")
	}
	if s.Validate(next(&s, oplog.Init{Key: a.Public()}).Sign(a)) == nil {
		t.Fatal("initialized twice")
	}
	if err := h.Observe(4, &s); err != nil || !h.Holds(b.ID(), 5) || h.Holds(b.ID(), 4) {
		t.Errorf("after a refused record and a misuse: %v, bob holds commit: %v", err, h.Holds(b.ID(), 5))
	}
	add(t, &s, a)
	add(t, &s, a)
	if h.Observe(6, &s) == nil {
		t.Error("left out a record")
	}
	if !h.Holds(a.Public().ID(), 4) || h.Holds(a.Public().ID(), 3) {
		t.Error("misuse changed the history")
	}
}

// TestCommitHistoryReplay compares the history with replaying the log to each length.
func TestCommitHistoryReplay(t *testing.T) {
	keys := []warg.PrivateKey{alice(t), bob(t), key(t, "ecdsa-p256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=")}
	rapid.Check(t, func(rt *rapid.T) {
		type placed struct {
			index uint64
			env   warg.Envelope
		}
		var s oplog.State
		var h oplog.CommitHistory
		var log []placed
		index := uint64(0)
		for range rapid.IntRange(1, 10).Draw(rt, "records") {
			signer := rapid.SampledFrom(keys).Draw(rt, "signer")
			var entries []oplog.Entry
			if len(log) == 0 {
				entries = append(entries, oplog.Init{Key: signer.Public()})
			}
			for range rapid.IntRange(0, 4).Draw(rt, "entries") {
				subject := rapid.SampledFrom(keys).Draw(rt, "subject").Public()
				list := rapid.SliceOfN(rapid.SampledFrom([]oplog.Permission{oplog.PermissionCommit, oplog.PermissionDefineNamespace}), 0, 2).Draw(rt, "permissions")
				if rapid.Bool().Draw(rt, "grant") {
					entries = append(entries, oplog.Grant{Key: subject, Permissions: list})
				} else {
					entries = append(entries, oplog.Revoke{KeyID: subject.ID(), Permissions: list})
				}
			}
			env := next(&s, entries...).Sign(signer)
			if s.Validate(env) != nil {
				continue
			}
			index += uint64(rapid.IntRange(0, 3).Draw(rt, "gap"))
			if err := h.Observe(index, &s); err != nil {
				rt.Fatal(err)
			}
			log = append(log, placed{index, env})
			index++
		}
		for length := range index + 2 {
			var at oplog.State
			for _, p := range log {
				if p.index < length {
					if err := at.Validate(p.env); err != nil {
						rt.Fatal(err)
					}
				}
			}
			for _, k := range keys {
				id := k.Public().ID()
				if h.Holds(id, length) != at.Can(id, oplog.PermissionCommit) {
					rt.Fatalf("length %d: history says %v", length, h.Holds(id, length))
				}
			}
		}
	})
}
