package anchor

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

const (
	blockSize    = 192
	historyMagic = "EPANCHOR"
	historyVer   = 1
	growBlocks   = 512 // 96 KiB at a time
	maxSignature = 72  // DER bytes of a P-256 signature

	keyAt = 80
	sigAt = keyAt + warg.DigestSize
	sumAt = blockSize - 4

	sha256Prefix = "sha256:"
	sigPrefix    = "ecdsa-p256:"
)

// DamageError says that the history is not what was written.
type DamageError struct {
	Path   string
	Block  uint64
	Reason string
}

// Error says where the damage is.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at block %d: %s", e.Path, e.Block, e.Reason)
}

// History is every checkpoint that was ever issued. One goroutine may append;
// reading beside it is safe.
type History struct {
	path   string
	file   durable.File
	blocks atomic.Uint64 // checkpoints, without the header
	size   int64         // zeros up to here
	gaps   bool          // by the header
}

// CreateHistory makes an empty history.
func CreateHistory(fsys durable.FS, path string, registry warg.Digest) (*History, error) {
	if err := durable.Replace(fsys, path, historyHeader(registry, false), nil); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return OpenHistory(fsys, path, registry)
}

func historyHeader(registry warg.Digest, gaps bool) []byte {
	b := make([]byte, blockSize)
	copy(b, historyMagic)
	binary.BigEndian.PutUint32(b[8:], historyVer)
	if gaps {
		binary.BigEndian.PutUint32(b[12:], flagGaps)
	}
	copy(b[16:], registry[:])
	return seal(b)
}

func seal(b []byte) []byte {
	binary.BigEndian.PutUint32(b[sumAt:], crc32.Checksum(b[:sumAt], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func sealed(b []byte) bool {
	return binary.BigEndian.Uint32(b[sumAt:]) == crc32.Checksum(b[:sumAt], crc32.MakeTable(crc32.Castagnoli))
}

// OpenHistory opens a history. A last block that was being written when the
// process ended is not counted; the next one takes its place.
func OpenHistory(fsys durable.FS, path string, registry warg.Digest) (*History, error) {
	f, err := fsys.OpenWrite(path)
	if err != nil {
		return nil, err
	}
	h := &History{path: path, file: f}
	// The last block may have been written by a process that was killed before it
	// synced it. The next one must not reach the disk before it.
	err = f.Datasync()
	if err == nil {
		err = h.open(registry)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

func (h *History) open(registry warg.Digest) error {
	fi, err := h.file.Stat()
	if err != nil {
		return err
	}
	h.size = fi.Size()
	head := make([]byte, blockSize)
	if _, err := h.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading %s: %w", h.path, err)
	}
	if !sealed(head) || !bytes.HasPrefix(head, []byte(historyMagic)) {
		return &DamageError{h.path, 0, "no header"}
	}
	if err := checkHeader(h.path, head, registry); err != nil {
		return err
	}
	h.gaps = hasGaps(head)
	return h.findEnd()
}

// findEnd counts the blocks. The file is grown by growBlocks when it is full, so its end
// is among its last blocks, and these are looked at one by one: the first that is all
// zeros is the end, and nothing may stand behind it.
func (h *History) findEnd() error {
	slots := max((h.size+blockSize-1)/blockSize-1, 0)
	first := max(slots-growBlocks-1, 0)
	b := make([]byte, (slots-first)*blockSize)
	if _, err := h.file.ReadAt(b, (first+1)*blockSize); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading %s: %w", h.path, err)
	}
	n := first
	for n < slots && !durable.OnlyZeros(b[(n-first)*blockSize:][:blockSize]) {
		n++
	}
	if !durable.OnlyZeros(b[(n-first)*blockSize:]) || n == first && first > 0 {
		return &DamageError{h.path, uint64(n + 1), "a block of zeros where there must be none"}
	}
	if n > first && !sealed(b[(n-first-1)*blockSize:][:blockSize]) {
		n-- // torn; overwritten by the next
	}
	h.blocks.Store(uint64(n))
	return nil
}

func (h *History) read(block uint64) ([]byte, error) {
	b := make([]byte, blockSize)
	if _, err := h.file.ReadAt(b, int64(block+1)*blockSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %w", h.path, err)
	}
	return b, nil
}

// Len returns the number of checkpoints.
func (h *History) Len() uint64 { return h.blocks.Load() }

// At returns a checkpoint by its place, from 0.
func (h *History) At(i uint64) (warg.SignedCheckpoint, error) {
	if i >= h.Len() {
		return warg.SignedCheckpoint{}, fmt.Errorf("%s has %d checkpoints, not %d", h.path, h.Len(), i+1)
	}
	b, err := h.read(i)
	if err != nil {
		return warg.SignedCheckpoint{}, err
	}
	c, err := decodeBlock(b)
	if err != nil {
		return warg.SignedCheckpoint{}, &DamageError{h.path, i + 1, err.Error()}
	}
	return c, nil
}

// Last returns the newest checkpoint; ok is false if there is none.
func (h *History) Last() (c warg.SignedCheckpoint, ok bool, err error) {
	n := h.Len()
	if n == 0 {
		return c, false, nil
	}
	c, err = h.At(n - 1)
	return c, err == nil, err
}

// Find returns the newest checkpoint of a length, and its place; ok is false if
// there is none, and then the place is that of the first one beyond.
func (h *History) Find(length uint64) (c warg.SignedCheckpoint, place uint64, ok bool, err error) {
	var failed error
	n := sort.Search(int(h.Len()), func(i int) bool {
		c, err := h.At(uint64(i))
		failed = errors.Join(failed, err)
		return c.Unverified().LogLength > length
	})
	if failed != nil || n == 0 {
		return c, uint64(n), false, failed
	}
	c, err = h.At(uint64(n - 1))
	if err != nil || c.Unverified().LogLength != length {
		return warg.SignedCheckpoint{}, uint64(n), false, err
	}
	return c, uint64(n - 1), true, nil
}

// Append adds a checkpoint and makes it durable. If step is not nil it is called
// with histWritten and histSynced.
func (h *History) Append(c warg.SignedCheckpoint, step func(string) error) error {
	b, err := encodeBlock(c)
	if err != nil {
		return err
	}
	if step == nil {
		step = func(string) error { return nil }
	}
	at := int64(h.Len()+1) * blockSize
	if at+blockSize > h.size {
		to := at + growBlocks*blockSize
		if err := durable.Fill(h.file, at, to); err != nil {
			return fmt.Errorf("growing %s: %w", h.path, err)
		}
		h.size = to
	}
	if _, err := h.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing %s: %w", h.path, err)
	}
	if err := step("histWritten"); err != nil {
		return err
	}
	if err := h.file.Datasync(); err != nil {
		return fmt.Errorf("syncing %s: %w", h.path, err)
	}
	h.blocks.Add(1)
	return step("histSynced")
}

// Close closes the file.
func (h *History) Close() error { return h.file.Close() }

// encodeBlock packs a checkpoint: 8 bytes length, 32 log root, 32 map root, 8
// time, 32 key id, 1 signature length, signature.
func encodeBlock(c warg.SignedCheckpoint) ([]byte, error) {
	claims := c.Unverified()
	logRoot, err := claims.LogRoot.Digest()
	if err != nil {
		return nil, err
	}
	mapRoot, err := claims.MapRoot.Digest()
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimPrefix(string(c.KeyID()), sha256Prefix))
	if err != nil || len(key) != warg.DigestSize {
		return nil, fmt.Errorf("key id %q is not a fingerprint", c.KeyID())
	}
	sig, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.Signature().String(), sigPrefix))
	if err != nil || len(sig) > maxSignature || len(sig) == 0 {
		return nil, fmt.Errorf("checkpoint has an unusual signature `%s`", c.Signature())
	}
	b := make([]byte, 0, blockSize)
	b = binary.BigEndian.AppendUint64(b, claims.LogLength)
	b = append(b, logRoot[:]...)
	b = append(b, mapRoot[:]...)
	b = binary.BigEndian.AppendUint64(b, claims.Timestamp)
	b = append(b, key...)
	b = append(b, byte(len(sig)))
	b = append(b, sig...)
	return seal(b[:blockSize]), nil
}

func decodeBlock(b []byte) (c warg.SignedCheckpoint, err error) {
	n := int(b[sigAt])
	if !sealed(b) || n > maxSignature {
		return c, errors.New("wrong checksum")
	}
	sig, err := warg.ParseSignature(sigPrefix + base64.StdEncoding.EncodeToString(b[sigAt+1:sigAt+1+n]))
	if err != nil {
		return c, err
	}
	claims := warg.CheckpointClaims{
		LogLength: binary.BigEndian.Uint64(b),
		LogRoot:   warg.Digest(b[8:40]).AnyHash(),
		MapRoot:   warg.Digest(b[40:72]).AnyHash(),
		Timestamp: binary.BigEndian.Uint64(b[72:]),
	}
	key := sha256Prefix + hex.EncodeToString(b[keyAt:sigAt])
	return warg.NewSignedCheckpoint(claims, warg.KeyID(key), sig), nil
}
