package wargtest

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/vlog"
)

func memorySubject(m *Memory) Subject {
	return Subject{
		Registry: m, Publisher: m, OperatorKey: Alice().Public(), OperatorSecret: Alice(),
		Imports: true, Wasm: true, Hold: m.Hold,
	}
}

func TestMemoryIsARegistry(t *testing.T) {
	TestRegistry(t, func(*testing.T) Subject { return memorySubject(NewMemory(MemoryOptions())) })
}

func TestMemoryIsAPublisher(t *testing.T) {
	TestPublisher(t, func(*testing.T) Subject { return memorySubject(NewMemory(MemoryOptions())) })
}

func latest(t *testing.T, m *Memory) warg.View {
	t.Helper()
	v, err := m.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func publish(t *testing.T, m *Memory, p *Package, env warg.Envelope) {
	t.Helper()
	if st, err := m.Publish(t.Context(), p.Request(env)); err != nil || st.State != warg.StatePublished {
		t.Fatalf("got %+v, %v", st, err)
	}
}

// TestClonesFork: a clone has the same history, and what comes after is its own.
func TestClonesFork(t *testing.T) {
	m := NewMemory(MemoryOptions())
	p := NewPackage("test:a")
	publish(t, m, p, p.Next(Bob(), Init(Bob())))
	c := m.Clone()
	if latest(t, m) != latest(t, c) {
		t.Fatal("the clone has another checkpoint")
	}
	q, r := NewPackage("test:b"), NewPackage("test:c")
	publish(t, m, q, q.Next(Bob(), Init(Bob())))
	publish(t, c, r, r.Next(Bob(), Init(Bob())))
	mine, theirs := latest(t, m).Checkpoint, latest(t, c).Checkpoint
	if mine.LogLength != theirs.LogLength || mine.SameView(theirs) {
		t.Fatalf("got %+v and %+v, want a fork", mine, theirs)
	}
	bundle, err := c.Consistency(t.Context(), 2, theirs.LogLength)
	if err != nil {
		t.Fatal(err)
	}
	old, ok := m.views[2]
	if err := vlog.VerifyConsistency(bundle, point(old.Checkpoint), point(theirs)); !ok || err != nil {
		t.Errorf("the clone does not extend the common history: %v", err)
	}
	if _, err := m.Names(t.Context(), []warg.LogID{r.LogID()}); !errors.Is(err, kind(warg.KindLogNotFound)) {
		t.Errorf("the original knows what the clone published: %v", err)
	}
}

func TestCloneKeepsWhatWaits(t *testing.T) {
	m := NewMemory(MemoryOptions())
	m.Hold()
	p := NewPackage("test:a")
	env := p.Next(Bob(), Init(Bob()))
	if st, err := m.Publish(t.Context(), p.Request(env)); err != nil || st.State != warg.StateProcessing {
		t.Fatalf("got %+v, %v", st, err)
	}
	c := m.Clone()
	c.Hold()()
	for _, tt := range []struct {
		m    *Memory
		want warg.State
	}{{m, warg.StateProcessing}, {c, warg.StatePublished}} {
		if st, err := tt.m.Record(t.Context(), p.LogID(), env.PackageRecordID()); err != nil || st.State != tt.want {
			t.Errorf("got %+v, %v; want %s", st, err, tt.want)
		}
	}
}

func TestResign(t *testing.T) {
	m := NewMemory(Options{})
	before := latest(t, m)
	m.Resign()
	after := latest(t, m)
	if !after.Checkpoint.SameView(before.Checkpoint) || after.Checkpoint.Timestamp <= before.Checkpoint.Timestamp {
		t.Errorf("got %+v after %+v", after.Checkpoint, before.Checkpoint)
	}
	if _, err := after.Signed.Open(Alice().Public()); err != nil {
		t.Error(err)
	}
}

// TestOperate: namespaces and keys can be changed later, and only by who may.
func TestOperate(t *testing.T) {
	m := NewMemory(Options{Domain: "d.example", Key: Bob()})
	if m.Domain() != "d.example" {
		t.Errorf("named %s", m.Domain())
	}
	if err := m.Operate(Alice(), oplog.DefineNamespace{Namespace: "test"}); err == nil {
		t.Error("a stranger may define a namespace")
	}
	grant := oplog.Grant{Key: Alice().Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}
	if err := m.Operate(Bob(), oplog.DefineNamespace{Namespace: "test"}, grant); err != nil {
		t.Fatal(err)
	}
	m.UseKey(Alice())
	m.Resign()
	v := latest(t, m)
	if _, err := v.Signed.Open(Alice().Public()); err != nil || v.Checkpoint.LogLength != 2 {
		t.Errorf("got %+v, %v", v.Checkpoint, err)
	}
	p := NewPackage("test:a")
	publish(t, m, p, p.Next(Bob(), Init(Bob())))
}

func TestKeys(t *testing.T) {
	for _, tt := range []struct {
		key  warg.PrivateKey
		want warg.KeyID
	}{
		{Alice(), "sha256:d6d9b4cd077a829c0275233bf3843c8294e250dfcc82b8ea15745e92982a820d"},
		{Bob(), "sha256:8ed824821ce75c381458f8097996ab77780550ba7fb9c240e4799bb781941abb"},
	} {
		if got := tt.key.Public().ID(); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
	if a, b := Stranger("a").Public().ID(), Stranger("b").Public().ID(); a == b || a != Stranger("a").Public().ID() {
		t.Errorf("got %s and %s", a, b)
	}
}

// TestPackagesDiffer: records with the same entries are different records where they
// must be.
func TestPackagesDiffer(t *testing.T) {
	a, b := NewPackage("test:a"), NewPackage("test:b")
	fork := a.Fork()
	seen := map[warg.RecordID]bool{}
	for _, p := range []*Package{a, b, fork} {
		for range 3 {
			seen[p.Next(Bob(), Init(Bob())).PackageRecordID()] = true
		}
	}
	if len(seen) != 9 {
		t.Errorf("%d different records, want 9", len(seen))
	}
}
