package wargtest

import (
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

func rejectionChecks() []check {
	return []check{
		{"rejection/rules of the log", checkRejections},
		{"rejection/first records", checkFirstRecords},
	}
}

// checkRejections: a record that breaks a rule of its log is rejected for the reason
// that the protocol gives, takes no place in the log, and leaves its log as it was.
func checkRejections(t testing.TB, s *scene) {
	bob, alice := Bob(), Alice()
	p, c := NewPackage("test:rules"), Component("rules")
	s.release(t, p, p.Next(bob, Init(bob), Release("1.0.0", c), Grant(alice.Public(), pkglog.PermissionRelease)), c)
	s.release(t, p, p.Next(bob, Release("2.0.0", c), Yank("2.0.0")), c)
	aliceID := string(alice.Public().ID())
	tests := []struct {
		name  string
		key   warg.PrivateKey
		entry []pkglog.Entry
		want  string
	}{
		{"released before", bob, []pkglog.Entry{Release("1.0.0", c)}, "an entry attempted to release version 1.0.0 which is already released"},
		{"yanked before", bob, []pkglog.Entry{Release("2.0.0", c)}, "an entry attempted to release version 2.0.0 which is already released"},
		{"twice in one record", bob, []pkglog.Entry{Release("3.0.0", c), Release("3.0.0", c)}, "an entry attempted to release version 3.0.0 which is already released"},
		{"yank what is not there", bob, []pkglog.Entry{Yank("9.0.0")}, "an entry attempted to yank version 9.0.0 which had not yet been released"},
		{"yank twice", bob, []pkglog.Entry{Yank("2.0.0")}, "an entry attempted to yank version 2.0.0 which is already yanked"},
		{"begin again", bob, []pkglog.Entry{Init(bob)}, "a second \"init\" entry was found"},
		{"yank without permission", alice, []pkglog.Entry{Yank("1.0.0")}, "the key with ID " + aliceID + " did not have required permission yank"},
		{"grant without permission", alice, []pkglog.Entry{Grant(alice.Public(), pkglog.PermissionYank)}, "the key with ID " + aliceID + " did not have required permission yank"},
		{"revoke what is not held", bob, []pkglog.Entry{Revoke(alice.Public().ID(), pkglog.PermissionYank)}, "attempted to remove permission yank from key " + aliceID + " which did not have it"},
	}
	for _, tt := range tests {
		env := p.Fork().Next(tt.key, tt.entry...)
		length := s.view(t).Checkpoint.LogLength
		s.rejected(t, p, env, "the package record was invalid: "+tt.want)
		if st := s.publish(t, p, env); st.State != warg.StateRejected {
			t.Errorf("%s: publishing again made it %s", tt.name, st.State)
		}
		if now := s.view(t).Checkpoint.LogLength; now != length {
			t.Errorf("%s: the log went from length %d to %d", tt.name, length, now)
		}
	}
	s.release(t, p, p.Next(alice, Release("3.0.0", c)), c)
	s.sync(t)
	page := s.logs(t, warg.LogsRequest{LogLength: s.view(t).Checkpoint.LogLength, Packages: []warg.LogCursor{{LogID: p.LogID()}}})
	const accepted = 3
	if n := len(page.Packages[0].Records); n != accepted {
		t.Errorf("the log has %d records, want %d", n, accepted)
	}
}

// rejected publishes a record that must be rejected.
func (s *scene) rejected(t testing.TB, p *Package, env warg.Envelope, reason string) {
	t.Helper()
	s.publish(t, p, env)
	st := s.settled(t, p, env)
	if st.State != warg.StateRejected || st.Reason != reason {
		t.Errorf("got %s %q, want rejected because %q", st.State, st.Reason, reason)
	}
	got, err := s.Registry.Record(t.Context(), p.LogID(), env.PackageRecordID())
	if err != nil || got.State != warg.StateRejected || got.Reason != reason {
		t.Errorf("its state is %+v, %v", got, err)
	}
}

// checkFirstRecords: a first record has nothing before it and begins with init.
func checkFirstRecords(t testing.TB, s *scene) {
	bob := Bob()
	p := NewPackage("test:first")
	lost := p.Fork()
	lost.Next(bob, Init(bob))
	s.rejected(t, p, lost.Next(bob, Init(bob)), "the package record was invalid: the first record contained a previous hash value")
	s.hidden(t, p)
	s.release(t, p, p.Next(bob, Init(bob)))
}
