package oplog_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

func key(t testing.TB, text string) warg.PrivateKey {
	t.Helper()
	k, err := warg.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func alice(t testing.TB) warg.PrivateKey {
	return key(t, "ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
}

func bob(t testing.TB) warg.PrivateKey {
	return key(t, "ecdsa-p256:2CV1EpLaSYEn4In4OAEDAj5O4Hzu8AFAxgHXuG310Ew=")
}

// next returns the record that follows the head of s, at the head's time.
func next(s *oplog.State, entries ...oplog.Entry) oplog.Record {
	r := oplog.Record{Time: warg.Timestamp{Seconds: 1700000000}, Entries: entries}
	if head, at, ok := s.Head(); ok {
		prev := warg.Digest(head).AnyHash()
		r.Prev, r.Time = &prev, at
	}
	return r
}

// add applies a record and fails the test if it is refused.
func add(t testing.TB, s *oplog.State, signer warg.PrivateKey, entries ...oplog.Entry) {
	t.Helper()
	if err := s.Validate(next(s, entries...).Sign(signer)); err != nil {
		t.Fatal(err)
	}
}

// started is a log of alice's with one namespace defined and one imported.
func started(t testing.TB) *oplog.State {
	t.Helper()
	s := new(oplog.State)
	add(t, s, alice(t), oplog.Init{Key: alice(t).Public()}, oplog.DefineNamespace{Namespace: "own"},
		oplog.ImportNamespace{Namespace: "theirs", Registry: "registry.example"})
	return s
}

func encoded(t testing.TB, s *oplog.State) string {
	t.Helper()
	b, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRefusals compares label and text of the errors of an operator log that a
// package log does not have, or words differently, and that nothing is left of a
// refused record.
func TestRefusals(t *testing.T) {
	a, b := alice(t), bob(t)
	bID := b.Public().ID()
	unauthorized := func(p string) string {
		return fmt.Sprintf("the key with ID %s did not have required permission %s", bID, p)
	}
	log := started(t)
	forged := next(log, oplog.DefineNamespace{Namespace: "more"}).Sign(a)
	forged.Signature = b.SignOperatorRecord(forged.Content)

	for name, c := range map[string]struct {
		state       *oplog.State
		env         warg.Envelope
		label, text string
	}{
		"define": {
			log, next(log, oplog.DefineNamespace{Namespace: "BAD"}).Sign(b), "UnauthorizedAction", unauthorized("defineNamespace"),
		},
		"import": {
			log, next(log, oplog.ImportNamespace{Namespace: "own"}).Sign(b), "UnauthorizedAction", unauthorized("importNamespace"),
		},
		"empty grant":  {log, next(log, oplog.Grant{Key: b.Public()}).Sign(b), "UnauthorizedAction", unauthorized("commit")},
		"empty revoke": {log, next(log, oplog.Revoke{KeyID: bID}).Sign(b), "UnauthorizedAction", unauthorized("commit")},
		"grant beyond the own permissions": {
			log, next(log, oplog.Revoke{KeyID: a.Public().ID(), Permissions: []oplog.Permission{oplog.PermissionImportNamespace}},
				oplog.Grant{Key: b.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit, oplog.PermissionImportNamespace}}).Sign(a),
			"UnauthorizedAction", fmt.Sprintf("the key with ID %s did not have required permission importNamespace", a.Public().ID()),
		},
		"invalid namespace": {
			log, next(log, oplog.DefineNamespace{Namespace: "x"}, oplog.DefineNamespace{Namespace: "a_b"}).Sign(a),
			"InvalidNamespace", "the namespace `a_b` is invalid; namespace must be a lowercased kebab case string",
		},
		"namespace twice": {
			log, next(log, oplog.ImportNamespace{Namespace: "own", Registry: "x"}).Sign(a),
			"NamespaceAlreadyDefined", "the namespace `own` is already defined and cannot be redefined",
		},
		"unknown signer": {
			log, next(log).Sign(b), "KeyIDNotRecognized", "the Key ID used to sign this envelope is not known to this operator log",
		},
		"init for another": {
			new(oplog.State), next(new(oplog.State), oplog.Init{Key: a.Public()}).Sign(b),
			"KeyIDNotRecognized", "the Key ID used to sign this envelope is not known to this operator log",
		},
		"bad signature": {log, forged, "SignatureError", "unable to verify signature"},
	} {
		t.Run(name, func(t *testing.T) {
			before, records := encoded(t, c.state), c.state.Records()
			err := c.state.Validate(c.env)
			var re *warg.RecordError
			if !errors.As(err, &re) || re.Label != c.label || err.Error() != c.text {
				t.Errorf("got %v, want %s: %s", err, c.label, c.text)
			}
			if after := encoded(t, c.state); after != before || c.state.Records() != records {
				t.Errorf("the state changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestUndecodable: a record that does not decode is no RecordError.
func TestUndecodable(t *testing.T) {
	var s oplog.State
	err := s.Validate(warg.Envelope{Content: []byte{0xff}})
	var re *warg.RecordError
	if err == nil || errors.As(err, &re) || encoded(t, &s) != "{}" {
		t.Errorf("got %v, state %s", err, encoded(t, &s))
	}
}

func TestApplySignatureVerified(t *testing.T) {
	s := started(t)
	rec := next(s, oplog.DefineNamespace{Namespace: "more"})
	env := rec.Sign(alice(t))
	env.Signature = bob(t).SignOperatorRecord(env.Content)
	if err := s.Clone().Apply(rec, env, oplog.CheckSignature); err == nil {
		t.Error("a bad signature was accepted")
	}
	if err := s.Apply(rec, env, oplog.SignatureVerified); err != nil {
		t.Errorf("the signature was checked: %v", err)
	}
	if head, _, _ := s.Head(); head != env.OperatorRecordID() {
		t.Errorf("head is %s", head)
	}
}

func TestView(t *testing.T) {
	s := started(t)
	id := alice(t).Public().ID()
	if k, ok := s.Key(id); !ok || k.ID() != id || len(s.Keys()) != 1 {
		t.Error("alice's key is not known")
	}
	if !s.Can(id, oplog.PermissionCommit) || s.Can("nobody", oplog.PermissionCommit) {
		t.Error("Can is wrong")
	}
	want := []oplog.Permission{oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace}
	if got := s.Permissions(id); !slices.Equal(got, want) {
		t.Errorf("alice may %v", got)
	}
	own, theirs := oplog.NamespaceState{Name: "own", Defined: true}, oplog.NamespaceState{Name: "theirs", Registry: "registry.example"}
	if got := s.Namespaces(); !slices.Equal(got, []oplog.NamespaceState{own, theirs}) {
		t.Errorf("namespaces %+v", got)
	}
	if got, ok := s.Namespace("theirs"); !ok || got != theirs {
		t.Errorf("theirs is %+v, %v", got, ok)
	}
	if got, ok := s.Namespace("nobodys"); ok {
		t.Errorf("nobodys is %+v", got)
	}
}

// TestClone: neither of two states changes with the other.
func TestClone(t *testing.T) {
	s := started(t)
	before := encoded(t, s)
	c := s.Clone()
	if encoded(t, c) != before || c.Records() != s.Records() {
		t.Fatal("the clone differs")
	}
	add(t, c, alice(t), oplog.DefineNamespace{Namespace: "more"}, oplog.Grant{Key: bob(t).Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	if encoded(t, s) != before || s.Records() != 1 {
		t.Error("the original changed with the clone")
	}
	cloned := encoded(t, c)
	add(t, s, alice(t), oplog.Revoke{KeyID: alice(t).Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}})
	if encoded(t, c) != cloned {
		t.Error("the clone changed with the original")
	}
}

// TestMarshalRegistry: any text may stand as a registry.
func TestMarshalRegistry(t *testing.T) {
	s := started(t)
	add(t, s, alice(t), oplog.ImportNamespace{Namespace: "odd", Registry: "<\"\n&>"})
	want := `"odd":{"state":{"imported":{"registry":"<\"\n&>"}}}`
	if got := encoded(t, s); got[len(got)-len(want)-2:] != want+"}}" {
		t.Errorf("got %s", got)
	}
}

func TestPermissionString(t *testing.T) {
	if got := fmt.Sprint(oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace, oplog.Permission(9)); got !=
		"commit defineNamespace importNamespace permission 9" {
		t.Errorf("got %s", got)
	}
}
