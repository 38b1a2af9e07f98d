package cache

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Name returns the verified name of a log. A damaged one counts as missing.
func (r *Registry) Name(log warg.LogID) (name warg.PackageName, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err == nil && v.leaves > 0 {
		return v.name, !v.name.IsZero(), nil
	}
	if err == nil { // a name may be put before the log is in the ledger
		err = n.db.View(func(txn *badger.Txn) error {
			name, err = n.name(txn, log)
			return err
		})
	}
	return name, !name.IsZero(), err
}

// name reads the name of a log, zero if there is none.
func (n *numbered) name(txn *badger.Txn, log warg.LogID) (warg.PackageName, error) {
	payload, ok, err := get(txn, n.nameKey(log))
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return warg.PackageName{}, nil
	}
	if err != nil || !ok {
		return warg.PackageName{}, err
	}
	name, err := warg.ParsePackageName(string(payload))
	if err != nil || name.LogID() != log {
		return warg.PackageName{}, nil
	}
	return name, nil
}

// PutName stores a verified name.
func (r *Registry) PutName(log warg.LogID, name warg.PackageName) error {
	return r.putNames([]warg.LogID{log}, []warg.PackageName{name})
}

// PutNames stores verified names of the logs that have their ids.
func (r *Registry) PutNames(names []warg.PackageName) error {
	logs := make([]warg.LogID, len(names))
	for i, name := range names {
		logs[i] = name.LogID()
	}
	return r.putNames(logs, names)
}

func (r *Registry) putNames(logs []warg.LogID, names []warg.PackageName) error {
	n := r.now.Load()
	wb := n.db.NewWriteBatch()
	defer wb.Cancel()
	for i, name := range names {
		key := n.nameKey(logs[i])
		if err := wb.Set(key, tree.Seal(key, []byte(name.String()))); err != nil {
			return fmt.Errorf("storing name `%s`: %w", name, err)
		}
	}
	if err := wb.Flush(); err != nil {
		return fmt.Errorf("storing names: %w", err)
	}
	n.views.name(logs, names)
	return nil
}
