package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
)

// Damaged is a file or folder of a cache that may be deleted, and why it should be.
type Damaged struct{ File, Reason string }

// Inspection is what [Inspect] found.
type Inspection struct {
	Contents int // files and database values that were hashed
	Damaged  []Damaged
}

// Inspect reads a cache that nobody has open: every value of the database with its
// checksum, every file by its digest. The error is [fs.ErrNotExist] if there is none.
// What is damaged costs only time; a server notices by itself when it reads it.
func Inspect(ctx context.Context, dir string) (*Inspection, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	var found Inspection
	if err := found.files(ctx, filepath.Join(dir, contentDir)); err != nil {
		return nil, fmt.Errorf("checking the cache: %w", err)
	}
	if err := found.database(ctx, filepath.Join(dir, databaseDir)); err != nil {
		return nil, fmt.Errorf("checking the cache: %w", err)
	}
	return &found, nil
}

func (i *Inspection) files(ctx context.Context, dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		folder := filepath.Base(filepath.Dir(name))
		if err != nil || e.IsDir() || len(folder) != 2 {
			return errors.Join(err, ctx.Err())
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		i.Contents++
		if hex.EncodeToString(h.Sum(nil)) != folder+e.Name() {
			i.Damaged = append(i.Damaged, Damaged{name, "its bytes have another digest"})
		}
		return ctx.Err()
	})
}

// database reads every value. The first that is damaged condemns the database.
func (i *Inspection) database(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := kv.OpenDisk(databaseOptions(dir, slog.New(slog.DiscardHandler)))
	if err != nil && kv.AboutMachine(err) {
		return err
	}
	if err != nil {
		i.Damaged = append(i.Damaged, Damaged{dir, err.Error()})
		return nil
	}
	err = db.View(func(txn *badger.Txn) error {
		at := txn.NewIterator(badger.DefaultIteratorOptions)
		defer at.Close()
		for at.Rewind(); at.Valid(); at.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			key := at.Item().KeyCopy(nil)
			err := at.Item().Value(func(value []byte) error {
				_, err := tree.Unseal(key, value)
				return err
			})
			if err != nil {
				i.Damaged = append(i.Damaged, Damaged{dir, fmt.Sprintf("key %x: %v", key, err)})
				return nil
			}
			i.Contents++
		}
		return nil
	})
	return errors.Join(err, db.Close())
}
