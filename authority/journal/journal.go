package journal

import (
	"errors"
	"fmt"
	"sync"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Position is where a frame stands.
type Position = segment.Position

// Journal is an open journal. One goroutine may append; reading beside it is safe.
type Journal struct {
	dir      *segment.Dir
	registry warg.Digest

	// Owned by the goroutine that appends.
	open     *segment.Segment // nil if the newest segment is sealed or there is none
	previous warg.Digest      // hash of the last footer
	next     uint64           // number of the next segment
	anchored uint64           // length that Open was told
	looking  bool             // being opened to look at, see Look
	short    bool             // being opened where it ends, see OpenShort
	edge     vlog.Edge        // of everything that stands in the journal
	tail     tail

	mu      sync.RWMutex
	current *segment.Segment           // under mu: open, as readers see it
	readers map[uint64]*segment.Reader // under mu: sealed segments opened for reading
	firsts  []uint64                   // under mu: first registry index of each segment, by number from 1
}

// tail is what Open found above the anchor, until something is appended.
type tail struct {
	edge   vlog.Edge // at the anchor
	frames []Frame
	places []Position
}

// Length returns the number of frames in the journal, signed for or not.
func (j *Journal) Length() uint64 { return j.edge.Len() }

// Edge returns the right edge of the log tree over all frames.
func (j *Journal) Edge() vlog.Edge { return j.edge.Clone() }

// Anchored returns the right edge over the frames up to the anchor, or over all of a
// journal that was opened short.
func (j *Journal) Anchored() vlog.Edge { return j.tail.edge.Clone() }

// Append writes frames, which must continue the journal, and returns where they
// stand. They are not durable before [Journal.Sync]. After an error the journal
// must not be used any more.
func (j *Journal) Append(frames []Frame) ([]Position, error) {
	payloads := make([][]byte, len(frames))
	total := 0
	for i, f := range frames {
		if f.Index != j.Length()+uint64(i) {
			return nil, fmt.Errorf("appending frame %d to a journal of length %d", f.Index, j.Length()+uint64(i))
		}
		payloads[i] = f.encode()
		total += len(payloads[i])
	}
	if err := j.makeRoom(len(frames), total); err != nil {
		return nil, err
	}
	places, err := j.open.Append(payloads)
	if err != nil {
		return nil, err
	}
	for _, f := range frames {
		j.edge.Append(f.Leaf)
	}
	j.tail = tail{}
	return places, nil
}

// makeRoom begins a new segment if there is none or the frames do not fit.
func (j *Journal) makeRoom(frames, bytes int) error {
	if j.open != nil && j.open.Fits(frames, bytes) {
		return nil
	}
	if s := j.open; s != nil {
		j.setOpen(nil) // readers open the file themselves from now on
		footer, err := s.Seal(j.edge.Hashes())
		if err != nil {
			return err
		}
		j.previous = footer.Hash
	}
	s, err := j.dir.Create(segment.Header{
		Kind: segment.Log, Registry: j.registry, Number: j.next, First: j.Length(), Previous: j.previous,
	})
	if err != nil {
		return err
	}
	j.next++
	j.setOpen(s)
	j.mu.Lock()
	j.firsts = append(j.firsts, s.First)
	j.mu.Unlock()
	return nil
}

func (j *Journal) setOpen(s *segment.Segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.open, j.current = s, s
}

// Sync makes everything appended durable.
func (j *Journal) Sync() error {
	if j.open == nil {
		return nil
	}
	return j.open.Sync()
}

// Tail returns the frames above the anchor that Open found, and where they stand.
func (j *Journal) Tail() ([]Frame, []Position) { return j.tail.frames, j.tail.places }

// Cut removes the frames of the tail from a registry index on.
func (j *Journal) Cut(length uint64) error {
	keep := length - j.anchored
	if length < j.anchored || keep > uint64(len(j.tail.frames)) {
		return fmt.Errorf("cutting a journal at length %d, which is not above the anchor at %d", length, j.anchored)
	}
	if keep == uint64(len(j.tail.frames)) {
		return nil
	}
	first := j.tail.places[keep]
	if err := j.open.Cut(int64(first.Offset), length-j.open.First); err != nil {
		return err
	}
	j.tail.frames, j.tail.places = j.tail.frames[:keep], j.tail.places[:keep]
	j.edge = j.tail.edge.Clone()
	for _, f := range j.tail.frames {
		j.edge.Append(f.Leaf)
	}
	return nil
}

// Read reads one frame from its file and verifies it.
func (j *Journal) Read(p Position) (Frame, error) {
	b, err := j.read(p)
	if err != nil {
		return Frame{}, err
	}
	f, err := decode(b)
	if err != nil {
		return Frame{}, fmt.Errorf("segment %d, byte %d: %w", p.Segment, p.Offset, err)
	}
	return f, nil
}

func (j *Journal) read(p Position) ([]byte, error) {
	j.mu.RLock()
	defer j.mu.RUnlock() // held while reading, so that nobody closes the file
	if j.current != nil && j.current.Number == p.Segment {
		return j.current.Read(p)
	}
	if r := j.readers[p.Segment]; r != nil {
		return r.Read(p)
	}
	j.mu.RUnlock()
	err := j.openReader(p.Segment)
	j.mu.RLock()
	if err != nil {
		return nil, err
	}
	if r := j.readers[p.Segment]; r != nil {
		return r.Read(p)
	}
	return nil, errors.New("journal is closed")
}

// openReader opens a sealed segment for reading.
func (j *Journal) openReader(number uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.readers == nil || j.readers[number] != nil {
		return nil
	}
	r, err := j.dir.OpenReader(number)
	if err != nil {
		return fmt.Errorf("opening segment %d: %w", number, err)
	}
	j.readers[number] = r
	return nil
}

// Close closes all files; nothing is made durable by it.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	if j.current != nil {
		errs = append(errs, j.current.Close())
	}
	for _, r := range j.readers {
		errs = append(errs, r.Close())
	}
	j.open, j.current, j.readers = nil, nil, nil
	return errors.Join(errs...)
}
