package authority

import (
	"slices"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// operators is the operator log's state, always in memory: it has a record for
// each namespace and each change of keys. The sequencer changes it when it
// validates a batch.
type operators struct {
	mu      sync.RWMutex
	state   oplog.State         // under mu
	history oplog.CommitHistory // under mu
}

// apply validates the record that takes a registry index, and changes the state.
func (o *operators) apply(index uint64, env warg.Envelope) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.state.Validate(env); err != nil {
		return err
	}
	return o.history.Observe(index, &o.state)
}

// record makes the next record of the log, signed. Its time is not before the
// last one's.
func (o *operators) record(key warg.PrivateKey, now warg.Timestamp, entries []oplog.Entry) warg.Envelope {
	o.mu.RLock()
	defer o.mu.RUnlock()
	rec := oplog.Record{Time: now, Entries: entries}
	if head, time, ok := o.state.Head(); ok {
		prev := warg.Digest(head).AnyHash()
		rec.Prev = &prev
		if time.Compare(now) > 0 {
			rec.Time = time
		}
	}
	return rec.Sign(key)
}

// check returns an error unless records may be published in a namespace.
func (o *operators) check(namespace string) error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	ns, ok := o.state.Namespace(namespace)
	switch {
	case !ok:
		return &warg.Error{Kind: warg.KindNamespaceNotFound, ID: namespace}
	case !ns.Defined:
		return &warg.Error{Kind: warg.KindNamespaceImported, ID: namespace}
	}
	return nil
}

// namespaces returns a copy of what the log says of namespaces.
func (o *operators) namespaces() []oplog.NamespaceState {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Clone(o.state.Namespaces())
}

// mayCommit reports whether a key holds commit now.
func (o *operators) mayCommit(id warg.KeyID) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.state.Can(id, oplog.PermissionCommit)
}

// committer returns a key that the log knows, if it held commit at a length of the
// registry.
func (o *operators) committer(id warg.KeyID, length uint64) (warg.PublicKey, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	key, ok := o.state.Key(id)
	return key, ok && o.history.Holds(id, length)
}
