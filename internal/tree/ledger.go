package tree

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// appendLeaf appends the packed form of a leaf, 64 bytes.
func appendLeaf(b []byte, l warg.Leaf) []byte {
	b = append(b, l.LogID[:]...)
	return append(b, l.RecordID[:]...)
}

func leafAt(page []byte, i uint64) (l warg.Leaf) {
	packed := page[i*warg.LedgerEntrySize:]
	copy(l.LogID[:], packed)
	copy(l.RecordID[:], packed[warg.DigestSize:])
	return l
}

// page returns the packed leaves of a page as far as s has them.
func (t *Tree) page(s *state, page uint64) ([]byte, error) {
	if page == s.Length/tileWidth {
		return s.tail, nil
	}
	if pending, ok := s.pages[page]; ok {
		return pending, nil
	}
	if cached, ok := t.pages.Get(page); ok {
		return cached, nil
	}
	read, err := t.readPage(page, tileWidth)
	if err != nil {
		return nil, err
	}
	t.pages.Add(page, read)
	return read, nil
}

// readPage reads the first leaves of a stored page.
func (t *Tree) readPage(page uint64, leaves int) (packed []byte, err error) {
	size := leaves * warg.LedgerEntrySize
	err = t.need(t.pageKey(page), func(payload []byte) error {
		if len(payload) < size || len(payload)%warg.LedgerEntrySize != 0 {
			return fmt.Errorf("%w: page %d of the ledger has %d bytes", ErrIndexCorrupt, page, len(payload))
		}
		packed = slices.Clone(payload[:size])
		return nil
	})
	return packed, err
}

func (t *Tree) leaf(s *state, index uint64) (warg.Leaf, error) {
	page, err := t.page(s, index/tileWidth)
	if err != nil {
		return warg.Leaf{}, err
	}
	return leafAt(page, index%tileWidth), nil
}

// Leaf returns the leaf with the given index. Beyond the head the error is
// [warg.KindLeafNotFound].
func (t *Tree) Leaf(index uint64) (warg.Leaf, error) {
	s := t.state.Load()
	if index >= s.Length {
		return warg.Leaf{}, &warg.Error{Kind: warg.KindLeafNotFound, Number: index}
	}
	return t.leaf(s, index)
}

// Leaves returns up to max leaves from start on in packed form, 64 bytes each: the
// raw log id and the raw record id. It ends at the head; beyond it there is
// nothing and no error.
func (t *Tree) Leaves(start uint64, max int) ([]byte, error) {
	s := t.state.Load()
	if start >= s.Length || max <= 0 {
		return nil, nil
	}
	end := start + min(uint64(max), s.Length-start)
	packed := make([]byte, 0, (end-start)*warg.LedgerEntrySize)
	for start < end {
		page, err := t.page(s, start/tileWidth)
		if err != nil {
			return nil, err
		}
		from := start % tileWidth
		to := min(tileWidth, from+end-start)
		packed = append(packed, page[from*warg.LedgerEntrySize:to*warg.LedgerEntrySize]...)
		start += to - from
	}
	return packed, nil
}
