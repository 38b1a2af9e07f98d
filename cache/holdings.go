package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// Holdings is how much of a registry is here, besides its ledger.
type Holdings struct {
	Packages     int64 // package logs of which records are held
	Records      int64 // of the operator log as well
	Contents     int64
	ContentBytes int64 // some of it may be held for other registries too
	Pinned       int64 // of Contents: never evicted
	PinnedBytes  int64 // of those
}

// Holdings counts what is held. It reads a key for each log and each content, so it
// is for people who ask, not for every scrape of a monitor.
func (r *Registry) Holdings(ctx context.Context) (h Holdings, err error) {
	n := r.now.Load()
	err = r.c.db.View(func(txn *badger.Txn) error {
		logs := append(append([]byte{}, n.prefix...), kindHeld)
		err := eachKey(ctx, txn, logs, func(key []byte) error {
			var held uint64
			ok, err := getNumbers(txn, key, &held)
			if errors.Is(err, tree.ErrIndexCorrupt) || err == nil && !ok {
				return nil // counts as missing
			}
			if h.Records += int64(held); held > 0 && string(key[len(logs):]) != string(warg.OperatorLogID[:]) {
				h.Packages++
			}
			return err
		})
		if err != nil {
			return err
		}
		return eachKey(ctx, txn, r.scope, func(key []byte) error {
			if len(key) != len(r.scope)+warg.DigestSize {
				return nil
			}
			digest := warg.Digest(key[len(r.scope):])
			size, held := r.c.budget.size(digest)
			if !held {
				return nil
			}
			h.Contents, h.ContentBytes = h.Contents+1, h.ContentBytes+size
			if r.c.budget.isPinned(digest) {
				h.Pinned, h.PinnedBytes = h.Pinned+1, h.PinnedBytes+size
			}
			return nil
		})
	})
	if err != nil {
		return h, fmt.Errorf("counting what is held of upstream `%s`: %w", r.domain, err)
	}
	return h, nil
}

// eachKey calls f with every key that begins with a prefix.
func eachKey(ctx context.Context, txn *badger.Txn, prefix []byte, f func(key []byte) error) error {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f(it.Item().KeyCopy(nil)); err != nil {
			return err
		}
	}
	return nil
}
