package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// nameServer answers every question about a name with an address of this machine, over
// a pipe, and counts the questions.
type nameServer struct {
	mu    sync.Mutex
	asked map[uint16]int // by record type
}

const typeA, typeAAAA = 1, 28

// resolver returns a resolver that asks it.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go s.serve(theirs)
		return ours, nil
	}}
}

// serve answers one question, in the form that TCP has: the length comes first.
func (s *nameServer) serve(c net.Conn) {
	defer c.Close()
	var size uint16
	if binary.Read(c, binary.BigEndian, &size) != nil {
		return
	}
	q := make([]byte, size)
	if _, err := io.ReadFull(c, q); err != nil {
		return
	}
	const head, tail = 12, 4 // of a message; type and class behind the name
	end := head
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end++
	kind := binary.BigEndian.Uint16(q[end:])
	s.mu.Lock()
	s.asked[kind]++
	s.mu.Unlock()
	answer := append([]byte{q[0], q[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, q[head:end+tail]...)
	if kind == typeA {
		answer[7] = 1
		answer = append(answer, 0xc0, head, 0, typeA, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
}

// TestNameIsResolvedOnce: the address that was judged is the one that is connected to.
// Who resolves the name again to connect can be told another address by then.
func TestNameIsResolvedOnce(t *testing.T) {
	s, _ := filled(t)
	names := &nameServer{asked: map[uint16]int{}}
	c := s.client(t, func(o *ClientOptions) {
		o.Resolver = names.resolver()
		o.URL = strings.Replace(o.URL, "127.0.0.1", "up.example", 1)
	})
	if _, err := c.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names.asked[typeA] != 1 || names.asked[typeAAAA] > 1 {
		t.Errorf("the name was resolved more than once: %v", names.asked)
	}
}

// TestLengthsThatWereNeverSigned: our trees may end at lengths that no checkpoint has,
// after a crash. Nothing is proven for them.
func TestLengthsThatWereNeverSigned(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.publish("test:a", "1.1.0")
	packed, err := w.up.Ledger(t.Context(), 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Extend(t.Context(), unpack(packed), nil); err != nil {
		t.Fatal(err)
	}
	w.publish("test:a", "1.2.0")
	w.refresh()
	if ok, err := w.store.HasLength(3); !ok || err != nil {
		t.Fatalf("the store does not have length 3: %v", err)
	}
	if _, err := w.replica.Inclusion(t.Context(), 3, []uint64{2}); !errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound, Number: 3}) {
		t.Errorf("inclusion at a length that was never signed: %v", err)
	}
	for _, length := range []uint64{2, 4} {
		if _, err := w.replica.Inclusion(t.Context(), length, []uint64{length - 1}); err != nil {
			t.Errorf("inclusion at length %d: %v", length, err)
		}
	}
}

// TestCacheOfAnotherHistory: a cache that belongs to another history than the head is
// not served, whether it is longer or not.
func TestCacheOfAnotherHistory(t *testing.T) {
	for name, more := range map[string]int{"as long": 1, "longer": 2} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("test:a", "1.0.0")
			w.refresh()
			served := w.replica.view.Load().cp
			other := newWorld(t)
			for i := range more {
				other.publish("test:b", []string{"1.0.0", "1.1.0"}[i])
				other.refresh()
			}
			w.options.Store = other.store
			w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable})
			w.restart()
			if v := w.replica.view.Load(); v != nil {
				t.Errorf("%+v is served from a cache of %+v", v.cp, w.options.Store.Trees())
			}
			if h := w.replica.trusted.current().view; h != served {
				t.Errorf("the head is %+v now, was %+v", h, served)
			}
		})
	}
}

// TestPermissionAtItsLength: what a key might sign depends on the length of the
// checkpoint, not on what the operator log says now.
func TestPermissionAtItsLength(t *testing.T) {
	alice, next := wargtest.Alice(), wargtest.Stranger("next")
	commit := []oplog.Permission{oplog.PermissionCommit}
	w := newWorld(t)
	w.refresh()
	old := w.replica.view.Load()
	for _, e := range []oplog.Entry{
		oplog.Grant{Key: next.Public(), Permissions: commit},
		oplog.Revoke{KeyID: alice.Public().ID(), Permissions: commit},
	} {
		key := alice
		if _, revokes := e.(oplog.Revoke); revokes {
			key = next
			w.up.UseKey(next)
		}
		if err := w.up.Operate(key, e); err != nil {
			t.Fatal(err)
		}
	}
	w.refresh()
	now := w.replica.view.Load()
	for name, c := range map[string]struct {
		cp   warg.Checkpoint
		key  warg.PrivateKey
		want warg.Verdict
	}{
		"revoked key, when it might":     {old.cp, alice, warg.Verified},
		"granted key, before it was":     {old.cp, next, warg.Invalid},
		"revoked key, since it may not":  {now.cp, alice, warg.Invalid},
		"granted key, since it may sign": {now.cp, next, warg.Verified},
	} {
		got, err := w.replica.VerifyCheckpoint(t.Context(), c.cp.Sign(c.key))
		if err != nil || got.Signature != c.want {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, c.want)
		}
	}
}

// TestRewrittenWhileTheCacheIsGone: a registry that shows another history to who has
// lost his copy is convicted by the lengths that were accepted before.
func TestRewrittenWhileTheCacheIsGone(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.publish("test:a", "1.1.0")
	w.refresh()
	head := w.replica.trusted.current().view
	w.replica.Close()
	w.store = newMemStore()
	w.options.Store = w.store
	w.open()
	forked(2, 3)(w)
	err := w.replica.Refresh(t.Context())
	if ClassOf(err) != ClassEquivocation {
		t.Errorf("refresh: %v", err)
	}
	if q := w.replica.Status().Quarantine; q == nil || q.Evidence == "" {
		t.Errorf("quarantine: %+v", q)
	}
	if h := w.replica.trusted.current().view; h != head || w.store.Trees().LogLength != 0 {
		t.Errorf("the head is %+v, was %+v; the store has %+v", h, head, w.store.Trees())
	}
}

// TestReaderOfContentLeaves: the fetch that a reader began goes on for the others when
// that reader has gone.
func TestReaderOfContentLeaves(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	w.refresh()
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.tap.before = func(ctx context.Context, call string) error {
		if call != "content" {
			return nil
		}
		once.Do(func() { close(started) })
		<-release
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	leader, follower := make(chan error, 1), make(chan error, 1)
	stat := func(ctx context.Context, end chan error) {
		_, err := w.replica.Stat(ctx, warg.Sum(content))
		end <- err
	}
	go stat(ctx, leader)
	<-started
	go stat(t.Context(), follower)
	cancel()
	if err := <-leader; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	close(release)
	if err := <-follower; err != nil {
		t.Errorf("who stayed: %v", err)
	}
}
