package upstream

import (
	"errors"
	"fmt"
	"os"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

const (
	// spoolMemory is how many bytes of ledger are kept in memory before the rest
	// goes to a temporary file: 65 536 leaves.
	spoolMemory = 4 << 20
	// ledgerChunk is how many leaves are asked of a transport, or added to the trees,
	// at a time.
	ledgerChunk = 16 << 10
)

// spool holds the leaves of a ledger from one index on while they are not yet
// known to be true, in the packed form. It keeps no more than spoolMemory bytes in
// memory, so that a registry that claims a huge length fills a disk quota at worst.
type spool struct {
	dir   string
	mem   []byte
	file  *os.File
	size  int64
	first uint64 // registry index of the first leaf
}

func (s *spool) end() uint64 { return s.first + uint64(s.size)/warg.LedgerEntrySize }

func (s *spool) write(p []byte) error {
	room := min(spoolMemory-len(s.mem), len(p))
	s.mem = append(s.mem, p[:room]...)
	s.size += int64(len(p))
	if room == len(p) {
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "ledger-*")
		if err != nil {
			return fmt.Errorf("making a temporary file for a ledger: %w", err)
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil { // the open file stays
			return fmt.Errorf("unlinking temporary file: %w", err)
		}
	}
	if _, err := s.file.Write(p[room:]); err != nil {
		return fmt.Errorf("keeping a ledger: %w", err)
	}
	return nil
}

// leaves returns up to max leaves from a registry index on.
func (s *spool) leaves(index uint64, max uint64) ([]warg.Leaf, error) {
	n := min(max, s.end()-index)
	packed := make([]byte, n*warg.LedgerEntrySize)
	at := int64(index-s.first) * warg.LedgerEntrySize
	inMemory := 0
	if at < int64(len(s.mem)) {
		inMemory = copy(packed, s.mem[at:])
	}
	if rest := packed[inMemory:]; len(rest) > 0 {
		if _, err := s.file.ReadAt(rest, at+int64(inMemory)-int64(len(s.mem))); err != nil {
			return nil, fmt.Errorf("reading a ledger back: %w", err)
		}
	}
	return unpack(packed), nil
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// unpack splits packed ledger entries.
func unpack(packed []byte) []warg.Leaf {
	leaves := make([]warg.Leaf, len(packed)/warg.LedgerEntrySize)
	for i := range leaves {
		e := packed[i*warg.LedgerEntrySize:]
		copy(leaves[i].LogID[:], e)
		copy(leaves[i].RecordID[:], e[warg.DigestSize:])
	}
	return leaves
}

// edgeAt returns the right edge of the store's log at a length at or below its own.
func edgeAt(s Store, length uint64) (vlog.Edge, error) {
	if length == 0 {
		return vlog.Edge{}, nil
	}
	proof, err := s.ProveConsistency(length, length)
	if err != nil {
		return vlog.Edge{}, fmt.Errorf("reading the edge of the log at %d: %w", length, err)
	}
	bundle, err := vlog.ParseBundle(proof)
	if err != nil {
		return vlog.Edge{}, fmt.Errorf("reading the edge of the log at %d: %w", length, err)
	}
	known := make(map[vlog.Node]warg.Digest, len(bundle.Pool))
	for _, e := range bundle.Pool {
		known[e.Node] = e.Hash
	}
	var hashes []warg.Digest
	for _, x := range vlog.Roots(length) {
		h, ok := known[x]
		if !ok {
			return vlog.Edge{}, errors.New("a balanced root is missing from the store's own proof")
		}
		hashes = append(hashes, h)
	}
	return vlog.NewEdge(length, hashes)
}
