package wargtest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Namespaces that a registry under test must have.
const (
	DefinedNamespace  = "test"          // its own
	ImportedNamespace = "other"         // of another registry
	ImportedRegistry  = "other.example" // that registry
)

// MemoryOptions are options of a [Memory] that can be filled by the suites.
func MemoryOptions() Options {
	return Options{
		Namespaces: []string{DefinedNamespace},
		Imports:    map[string]string{ImportedNamespace: ImportedRegistry},
		Wasm:       true,
	}
}

// Subject is an implementation under test. It must define the namespace
// DefinedNamespace, hold no packages, and let anybody publish who signs. It may
// have a content policy as long as that accepts a [Component].
type Subject struct {
	// Registry is what is tested.
	Registry warg.Registry

	// Publisher fills it: the same implementation, or the registry that stands
	// behind it.
	Publisher warg.Publisher

	// Sync makes Registry show everything that was published, if that does not
	// happen by itself. It may be nil.
	Sync func(ctx context.Context) error

	// OperatorKey signs the registry's checkpoints.
	OperatorKey warg.PublicKey

	// OperatorSecret is the private half of OperatorKey. Without it, no checkpoint
	// that the registry has not signed itself can be put to VerifyCheckpoint.
	OperatorSecret warg.PrivateKey

	// Imports says that ImportedNamespace is imported. Without it what happens
	// there is not tested.
	Imports bool

	// Wasm says that content is refused, and its record with it, unless it begins
	// like WebAssembly. Without it what the policy refuses is not tested.
	Wasm bool

	// Restarts says that an unknown fetch token is answered from the start of the
	// log, as a replica does whose upstream's tokens mean nothing to it.
	Restarts bool

	// Hold keeps complete records from being published until release is called.
	// It may be nil; then the state processing is not tested.
	Hold func() (release func())
}

// check is one test of a suite. It takes testing.TB so that the tests of the suites
// themselves can watch it fail.
type check struct {
	name string
	run  func(t testing.TB, s *scene)
}

// scene is a subject during a suite.
type scene struct {
	Subject
	world *world // what TestRegistry has published
}

// patience is how long a suite waits for something that happens in the background
// before it calls it stuck. Disks of test machines can be very slow.
const patience = 30 * time.Second

// sync makes the registry show what was published.
func (s *scene) sync(t testing.TB) {
	t.Helper()
	if s.Sync == nil {
		return
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatalf("bringing the registry up to date: %v", err)
	}
}

// view returns the latest checkpoint, having verified its signature.
func (s *scene) view(t testing.TB) warg.View {
	t.Helper()
	v, err := s.Registry.Checkpoint(t.Context())
	if err != nil {
		t.Fatalf("reading the checkpoint: %v", err)
	}
	c, err := v.Signed.Open(s.OperatorKey)
	if err != nil {
		t.Fatalf("opening the checkpoint: %v", err)
	}
	if c != v.Checkpoint {
		t.Fatalf("the signed checkpoint is %+v, the view says %+v", c, v.Checkpoint)
	}
	return v
}

// publish submits a record.
func (s *scene) publish(t testing.TB, p *Package, env warg.Envelope) warg.RecordStatus {
	t.Helper()
	st, err := s.Publisher.Publish(t.Context(), p.Request(env))
	if err != nil {
		t.Fatalf("publishing a record of %s: %v", p.Name(), err)
	}
	if st.RecordID != env.PackageRecordID() {
		t.Fatalf("publishing a record of %s: status is of record %s, want %s", p.Name(), st.RecordID, env.PackageRecordID())
	}
	return st
}

// upload sends content that a record waits for.
func (s *scene) upload(t testing.TB, p *Package, env warg.Envelope, content []byte) {
	t.Helper()
	err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(content), bytes.NewReader(content))
	if err != nil {
		t.Fatalf("uploading content of %s: %v", p.Name(), err)
	}
}

// release publishes a record, uploads the contents it waits for, and returns its
// index once it is published.
func (s *scene) release(t testing.TB, p *Package, env warg.Envelope, contents ...[]byte) uint64 {
	t.Helper()
	st := s.publish(t, p, env)
	if st.State == warg.StateSourcing {
		for _, c := range contents {
			s.upload(t, p, env, c)
		}
	}
	return s.published(t, p, env).Index
}

// published waits until a record is published.
func (s *scene) published(t testing.TB, p *Package, env warg.Envelope) warg.RecordStatus {
	t.Helper()
	st := s.settled(t, p, env)
	if st.State != warg.StatePublished {
		t.Fatalf("record of %s is %s (%s), want published", p.Name(), st.State, st.Reason)
	}
	return st
}

// settled waits until a record is published or rejected, by asking the publisher
// again: publishing what is known changes nothing and tells the state.
func (s *scene) settled(t testing.TB, p *Package, env warg.Envelope) warg.RecordStatus {
	t.Helper()
	const interval = time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		st := s.publish(t, p, env)
		if st.State == warg.StatePublished || st.State == warg.StateRejected {
			return st
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("record of %s is still %s after %v", p.Name(), st.State, patience)
		}
	}
}

// refused checks that an error is what it should be: of the kind of want, and equal
// in ID and Number where want has them.
func refused(t testing.TB, doing string, err error, want *warg.Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v (%#v), want kind %d, id %q, number %d", doing, err, err, want.Kind, want.ID, want.Number)
	}
}

// kind returns an error to compare with by kind alone.
func kind(k warg.Kind) *warg.Error { return &warg.Error{Kind: k} }
