package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
)

// VerifyTables reads every table that a database in a directory consists of and compares
// all checksums. It returns their size in bytes. The error is [ErrDamaged], or one of reading. A table that disappears
// meanwhile, because a running database has replaced it, is well.
func VerifyTables(dir string) (size uint64, err error) {
	names, err := tables(dir)
	if err != nil {
		return 0, err
	}
	const workers = 2 // as many as a small machine has; one reads while the other computes
	work := make(chan string)
	errs := make([]error, workers)
	var sizes [workers]uint64
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			for name := range work {
				if errs[i] == nil {
					var n int
					n, errs[i] = VerifyTable(name)
					sizes[i] += uint64(n)
				}
			}
		})
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	group.Wait()
	for _, n := range sizes {
		size += n
	}
	return size, errors.Join(errs...)
}

// tables returns the files of all tables that the manifest of a database names.
func tables(dir string) (names []string, err error) {
	defer func() {
		if p := recover(); p != nil {
			names, err = nil, damaged("the list of tables: %v", p)
		}
	}()
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, mustBeEmpty(dir)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir))
	if err != nil {
		return nil, fmt.Errorf("%w: the list of tables: %w", ErrDamaged, err)
	}
	for id, t := range manifest.Tables {
		if t.Compression != options.None || t.KeyID != 0 {
			return nil, damaged("table %d is compressed or encrypted", id)
		}
		names = append(names, table.NewFilename(id, dir))
	}
	return names, nil
}

// mustBeEmpty is for a database without a list of tables: Badger writes that first, and
// would begin anew with what it finds in write-ahead files.
func mustBeEmpty(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext == memSuffix || ext == tableSuffix {
			return damaged("the list of tables is missing")
		}
	}
	return nil
}

const tableSuffix = ".sst"

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// VerifyTable reads a table and compares all its checksums: that of its index, which is
// at its end, and that of each block. It never believes a number that it has not
// compared with what there is. It returns the size of the table in bytes.
func VerifyTable(name string) (int, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := verifyTable(b); err != nil {
		return 0, damaged("table %s: %w", filepath.Base(name), err)
	}
	return len(b), nil
}

func verifyTable(b []byte) (err error) {
	defer func() {
		if p := recover(); p != nil { // of the decoder of the index
			err = fmt.Errorf("%v", p)
		}
	}()
	body, index, err := splitTable(b)
	if err != nil {
		return err
	}
	return verifyBlocks(body, fb.GetRootAsTableIndex(index, 0))
}

// splitTable returns the blocks of a table and its index, which is verified.
func splitTable(b []byte) (body, index []byte, err error) {
	rest, sum, err := cutTail(b)
	if err != nil {
		return nil, nil, err
	}
	body, index, err = cutTail(rest)
	if err != nil {
		return nil, nil, err
	}
	return body, index, compare(index, sum)
}

// verifyBlocks verifies the blocks that an index names: they must be all there is.
func verifyBlocks(body []byte, index *fb.TableIndex) error {
	var at uint64
	for i := range index.OffsetsLength() {
		var o fb.BlockOffset
		if !index.Offsets(&o, i) || uint64(o.Offset()) != at || at+uint64(o.Len()) > uint64(len(body)) {
			return fmt.Errorf("block %d is out of place", i)
		}
		block := body[at : at+uint64(o.Len())]
		data, sum, err := cutTail(block)
		if err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		if err := compare(data, sum); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
		at += uint64(o.Len())
	}
	if at != uint64(len(body)) {
		return errors.New("there is more than blocks")
	}
	return nil
}

// lenSize is the size of a length, which stands behind what it is the length of.
const lenSize = 4

// cutTail cuts what ends b, and its length, off b.
func cutTail(b []byte) (rest, tail []byte, err error) {
	end := len(b) - lenSize
	if end < 0 {
		return nil, nil, errors.New("cut off")
	}
	n := uint64(binary.BigEndian.Uint32(b[end:]))
	if n > uint64(end) {
		return nil, nil, errors.New("a length is beyond what there is")
	}
	return b[:end-int(n)], b[end-int(n) : end], nil
}

// Tags of the fields of a checksum, in protocol buffers.
const (
	tagAlgorithm = 1 << 3
	tagSum       = 2 << 3
)

// compare compares data with the checksum of it: always a CRC-32C. A field that is zero
// is left out.
func compare(data, sum []byte) error {
	var want uint64
	for len(sum) > 0 {
		n, used := binary.Uvarint(sum[1:])
		switch {
		case used <= 0, sum[0] != tagSum && (sum[0] != tagAlgorithm || n != 0):
			return errors.New("a checksum cannot be read")
		case sum[0] == tagSum:
			want = n
		}
		sum = sum[1+used:]
	}
	if want != uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))) {
		return errors.New("a checksum is wrong")
	}
	return nil
}
