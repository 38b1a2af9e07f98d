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
	var payload []byte
	err = n.db.View(func(txn *badger.Txn) error {
		payload, ok, err = get(txn, n.nameKey(log))
		return err
	})
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return warg.PackageName{}, false, nil
	}
	if err != nil || !ok {
		return warg.PackageName{}, false, err
	}
	name, err = warg.ParsePackageName(string(payload))
	if err != nil || name.LogID() != log {
		return warg.PackageName{}, false, nil
	}
	return name, true, nil
}

// PutName stores a verified name.
func (r *Registry) PutName(log warg.LogID, name warg.PackageName) error {
	n := r.now.Load()
	key := n.nameKey(log)
	err := n.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, []byte(name.String()))) })
	if err != nil {
		return fmt.Errorf("storing name `%s`: %w", name, err)
	}
	return nil
}
