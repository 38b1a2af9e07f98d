package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// maxInline is the size up to which content is kept in the database, in bytes. Most
// components of the interface kind are smaller; a file each would cost more.
const maxInline = 64 << 10

// How much of that is kept in memory as well.
const (
	hotBytes    = 16 << 20
	hotContents = 4096
	seenDigests = 16 << 10 // of each registry, half a megabyte
)

func (r *Registry) scopeKey(d warg.Digest) []byte {
	return append(append(make([]byte, 0, len(r.scope)+len(d)), r.scope...), d[:]...)
}

func blobKey(d warg.Digest) []byte { return append([]byte{kindBlob}, d[:]...) }

// OpenContent opens content that this registry was seen to have, or fails with
// KindContentNotFound.
func (r *Registry) OpenContent(d warg.Digest) (warg.Content, error) {
	has, err := r.has(d)
	if err != nil {
		return nil, err
	}
	if !has {
		return nil, warg.NotFound(warg.KindContentNotFound, d)
	}
	content, size, err := r.c.openContent(d)
	if err != nil {
		return nil, err
	}
	r.c.used(d, size)
	return content, nil
}

// StatContent reports the size of content that this registry was seen to have, or
// fails with KindContentNotFound.
func (r *Registry) StatContent(d warg.Digest) (warg.ContentInfo, error) {
	has, err := r.has(d)
	if err != nil {
		return warg.ContentInfo{}, err
	}
	size, known := r.c.budget.size(d)
	if !has || !known {
		return warg.ContentInfo{}, warg.NotFound(warg.KindContentNotFound, d)
	}
	return warg.ContentInfo{Digest: d, Size: size}, nil
}

// has reports whether this registry was seen to have content. Once it was, that stays
// so.
func (r *Registry) has(d warg.Digest) (has bool, err error) {
	if r.seen.Contains(d) {
		return true, nil
	}
	err = r.c.db.View(func(txn *badger.Txn) error {
		_, has, err = get(txn, r.scopeKey(d))
		return err
	})
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return false, nil
	}
	if has {
		r.seen.Add(d, struct{}{})
	}
	return has, err
}

// openContent opens content in the database or in a file. What is damaged is
// dropped and counts as not there.
func (c *Cache) openContent(d warg.Digest) (warg.Content, int64, error) {
	if small, ok := c.hot.Find(d); ok {
		return small.Open(), int64(len(small.Bytes)), nil
	}
	blob, found, err := c.inline(d)
	if err == nil && found && warg.Sum(blob) == d {
		small := &cas.Small{Bytes: blob}
		c.hot.Add(d, small)
		return small.Open(), int64(len(blob)), nil
	}
	if err != nil && !errors.Is(err, tree.ErrIndexCorrupt) {
		return nil, 0, err
	}
	f, size, err := c.files.Open(d)
	var corrupt *cas.CorruptError
	switch {
	case err == nil:
		return f, size, nil
	case errors.As(err, &corrupt):
		c.dropDamaged(corrupt)
		return nil, 0, warg.NotFound(warg.KindContentNotFound, d)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("opening cached content: %w", err)
	}
	c.drop(d)
	return nil, 0, warg.NotFound(warg.KindContentNotFound, d)
}

// inline returns content that is kept in the database, if this one is.
func (c *Cache) inline(d warg.Digest) (blob []byte, found bool, err error) {
	if size, known := c.budget.size(d); known && size > maxInline {
		return nil, false, nil // it has a file; the database would look in vain
	}
	err = c.db.View(func(txn *badger.Txn) (err error) {
		blob, found, err = get(txn, blobKey(d))
		return err
	})
	return blob, found, err
}

// PutContent reads body to its end and keeps it if it has the digest and at most
// limit bytes. Errors: KindBadRequest for another digest, KindTooLarge beyond the
// limit, KindNoSpace, or what the body failed with.
func (r *Registry) PutContent(ctx context.Context, d warg.Digest, body io.Reader, limit int64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	drops := r.c.budget.drops.Load()
	head, err := io.ReadAll(io.LimitReader(body, maxInline+1))
	size := int64(len(head))
	switch {
	case err == nil && size <= maxInline:
		err = r.c.putInline(d, head, limit)
	case err == nil:
		size, err = r.c.putFile(d, io.MultiReader(bytes.NewReader(head), body), limit)
	}
	if err != nil {
		return err
	}
	key := r.scopeKey(d)
	if err := r.c.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, nil)) }); err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	return r.c.added(d, size, drops)
}

func (c *Cache) putInline(d warg.Digest, b []byte, limit int64) error {
	if int64(len(b)) > limit {
		return warg.Errorf(warg.KindTooLarge, "content has more than %d bytes", limit)
	}
	if got := warg.Sum(b); got != d {
		return wrongDigest(got, d)
	}
	key := blobKey(d)
	err := c.db.reserve(len(b))
	if err == nil {
		err = c.db.Update(func(txn *badger.Txn) error { return txn.Set(key, tree.Seal(key, b)) })
	}
	if err != nil {
		return fmt.Errorf("storing content: %w", err)
	}
	c.hot.Add(d, &cas.Small{Bytes: b})
	return nil
}

func (c *Cache) putFile(d warg.Digest, body io.Reader, limit int64) (int64, error) {
	size, err := c.files.Put(d, body, cas.Checks{MaxSize: limit})
	var mismatch *cas.MismatchError
	var broken *cas.BodyError
	switch {
	case err == nil:
		return size, nil
	case errors.As(err, &mismatch):
		return 0, wrongDigest(mismatch.Found, d)
	case errors.As(err, &broken):
		return 0, broken.Err
	case errors.Is(err, cas.ErrTooLarge):
		return 0, warg.Errorf(warg.KindTooLarge, "content has more than %d bytes", limit)
	case errors.Is(err, cas.ErrNoSpace):
		return 0, &warg.Error{Kind: warg.KindNoSpace, Message: "no space left in the cache", Err: err}
	}
	return 0, fmt.Errorf("storing content: %w", err)
}

func wrongDigest(got, want warg.Digest) error {
	return warg.Errorf(warg.KindBadRequest, "content has digest `%s`; expected `%s`", got, want)
}
