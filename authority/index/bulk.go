package index

import (
	"fmt"

	"github.com/entrepot/entrepot/internal/kv"
)

const (
	// bulkCache is the memory for the trees' nodes while much is added, in bytes.
	bulkCache = 128 << 20
	// bulkKeys is about how many keys a leaf has.
	bulkKeys = 5
)

// Bulk makes the index ready to have many leaves added at once, as when all of it is made
// again: it is written by a goroutine of its own, in large portions, and is on disk only
// after [Index.Settle] or [Index.Close]. Nobody else may use it meanwhile.
//
// On a disk without room it does nothing: portions need more than a few records do.
func (x *Index) Bulk(leaves uint64) error {
	if x.bulk = x.db.Room() == nil; !x.bulk {
		return nil
	}
	if err := x.db.Close(); err != nil {
		return fmt.Errorf("opening index for much: %w", err)
	}
	keys := uint64(0)
	if x.Head().Length == 0 && x.segments == 0 {
		keys = bulkKeys * leaves
	}
	o := x.o
	o.Cache = max(o.Cache, bulkCache)
	return x.replace(o, func() (kv.Store, error) {
		db, err := o.Database.OpenBulk()
		if err != nil {
			return nil, err
		}
		return kv.NewBehind(db, keys), nil
	})
}

// Settle ends what [Index.Bulk] began.
func (x *Index) Settle() error {
	if !x.bulk {
		return nil
	}
	x.bulk, x.unsynced = false, 0 // closing it makes all of it durable
	if err := x.db.Close(); err != nil {
		return fmt.Errorf("writing index: %w", err)
	}
	return x.replace(x.o, x.o.Database.Open)
}
