package cache

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// TestContentUnderAnotherDigest: who can write the cache can give a value the right
// frame. It is its digest that content is served by.
func TestContentUnderAnotherDigest(t *testing.T) {
	r := registry(t, open(t, Options{Dir: filepath.Join(t.TempDir(), "cache")}), "up.example")
	content := []byte("content")
	d := warg.Sum(content)
	if err := r.PutContent(t.Context(), d, bytes.NewReader(content), 100); err != nil {
		t.Fatal(err)
	}
	key := blobKey(d)
	err := r.c.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, []byte("another"))) })
	if err != nil {
		t.Fatal(err)
	}
	r.c.hot.Remove(d)
	if f, err := r.OpenContent(d); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		t.Errorf("opened %v, %v", f, err)
	}
}
