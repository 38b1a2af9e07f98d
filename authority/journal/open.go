package journal

import (
	"errors"
	"fmt"
	"math"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// MaxTail is the largest tail that a crash can leave, in frames: one batch.
const MaxTail = 1024

// Damage says that frames which were signed for cannot be read as they were
// written. Nothing was changed on disk.
type Damage struct{ Err error }

// Error describes the damage.
func (e *Damage) Error() string { return "journal: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Damage) Unwrap() error { return e.Err }

func damage(format string, args ...any) error { return &Damage{fmt.Errorf(format, args...)} }

// Open opens the journal of a registry whose anchor has a length. It reads the
// footers of the sealed segments and all of the open one, so the time it takes
// does not grow with what has happened. A [*Damage] means that it is not the
// journal that the anchor was signed for.
//
// Frames above the anchor are the tail; at the first that cannot be read the
// tail ends, and what follows is overwritten with zeros.
func Open(dir *segment.Dir, registry warg.Digest, anchored uint64) (*Journal, error) {
	return open(&Journal{dir: dir, registry: registry, anchored: anchored, next: 1, readers: map[uint64]*segment.Reader{}})
}

// Look is Open, except that it leaves everything on disk as it is, and that nothing can
// be appended: to learn whether the journal is one of that length.
func Look(dir *segment.Dir, registry warg.Digest, anchored uint64) (*Journal, error) {
	return open(&Journal{dir: dir, registry: registry, anchored: anchored, looking: true, next: 1, readers: map[uint64]*segment.Reader{}})
}

func open(j *Journal) (*Journal, error) {
	anchored := j.anchored
	if err := j.loadAll(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	if j.Length() < anchored {
		return nil, errors.Join(damage("%d frames, but %d were signed for", j.Length(), anchored), j.Close())
	}
	if j.tail.edge.Len() != anchored {
		j.tail.edge = j.edge.Clone() // no segment, or the last one is sealed and ends at the anchor
	}
	return j, nil
}

// loadAll takes in all segments.
func (j *Journal) loadAll() error {
	numbers, err := j.dir.List()
	if err == nil && !j.looking {
		err = j.dir.Settle()
	}
	if err != nil {
		return fmt.Errorf("listing segments: %w", err)
	}
	for i, number := range numbers {
		if number != uint64(i+1) {
			return damage("segment %d is missing", i+1)
		}
		if err := j.load(number, i == len(numbers)-1); err != nil {
			return err
		}
		j.next = number + 1
	}
	return nil
}

// OpenShort opens a journal of which the end is missing, in order to continue it where
// it ends: with the last frame that can be read. Everything in it must have been signed
// for; what follows the end in the open segment is overwritten with zeros.
func OpenShort(dir *segment.Dir, registry warg.Digest) (*Journal, error) {
	return openShort(dir, registry, false)
}

// LookShort is to OpenShort what Look is to Open.
func LookShort(dir *segment.Dir, registry warg.Digest) (*Journal, error) {
	return openShort(dir, registry, true)
}

func openShort(dir *segment.Dir, registry warg.Digest, looking bool) (*Journal, error) {
	j := &Journal{
		dir: dir, registry: registry, anchored: math.MaxUint64, short: true, looking: looking,
		next: 1, readers: map[uint64]*segment.Reader{},
	}
	if err := j.loadAll(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	j.anchored = j.Length()
	j.tail.edge = j.edge.Clone()
	return j, nil
}

// load takes in one segment.
func (j *Journal) load(number uint64, last bool) error {
	r, err := j.dir.OpenReader(number)
	if err != nil {
		return classify(err)
	}
	defer func() {
		if j.readers[number] != r {
			r.Close()
		}
	}()
	if err := j.follows(r.Header); err != nil {
		return err
	}
	j.firsts = append(j.firsts, r.First)
	footer, sealed, err := r.Footer()
	if err != nil && !(last && errors.As(err, new(*segment.DamageError))) {
		return classify(err)
	}
	switch {
	case sealed:
		j.readers[number] = r
		if last && !j.looking {
			// A process that was killed may have cut the file behind the footer and not synced
			// that; with another segment behind it, it would have to be sealed.
			if err := j.dir.Sync(number); err != nil {
				return err
			}
		}
		return j.pass(r.Header, footer)
	case !last:
		return damage("segment %d has no footer", number)
	}
	return j.resume(r)
}

// classify tells damage from an error of the file system.
func classify(err error) error {
	if errors.As(err, new(*segment.DamageError)) {
		return &Damage{err}
	}
	return err
}

// follows checks that a segment continues those before it.
func (j *Journal) follows(h segment.Header) error {
	switch {
	case h.Kind != segment.Log:
		return damage("segment %d is not a segment of a log", h.Number)
	case h.Registry != j.registry:
		return damage("segment %d belongs to another registry", h.Number)
	case h.First != j.Length():
		return damage("segment %d begins at index %d, not %d", h.Number, h.First, j.Length())
	case h.Previous != j.previous:
		return damage("segment %d does not follow the segment before it", h.Number)
	}
	return nil
}

// pass takes in a sealed segment by its footer.
func (j *Journal) pass(h segment.Header, f segment.Footer) error {
	edge, err := vlog.NewEdge(h.First+f.Count, f.Edge)
	switch {
	case err != nil:
		return damage("footer of segment %d: %w", h.Number, err)
	case f.Previous != h.Previous:
		return damage("header and footer of segment %d name different predecessors", h.Number)
	case edge.Len() > j.anchored:
		// A segment is sealed only when everything in it was signed for.
		return damage("segment %d is sealed at length %d, but only %d frames were signed for", h.Number, edge.Len(), j.anchored)
	}
	j.edge, j.previous = edge, f.Hash
	return nil
}

// resume reads the newest segment and opens it for appending.
func (j *Journal) resume(r *segment.Reader) error {
	bad := ""
	stop := errors.New("end of the tail")
	end, err := r.Scan(false, func(p Position, b []byte) error {
		f, err := decode(b)
		if err == nil && f.Index != j.Length() {
			err = fmt.Errorf("frame has index %d instead of %d", f.Index, j.Length())
		}
		if err != nil {
			bad = err.Error()
			return stop
		}
		j.take(f, p)
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return err
	}
	if bad != "" {
		end.Bad = bad
	}
	if end.Bad != "" && j.Length() < j.anchored && !j.short {
		return damage("segment %d, byte %d: %s", r.Number, end.Offset, end.Bad)
	}
	if end.Footer != nil {
		return j.finish(r, end)
	}
	if j.Length() < j.anchored && !j.short {
		return nil // Open says so
	}
	if j.looking {
		return nil
	}
	s, err := j.dir.Resume(r.Header, end)
	if err != nil {
		return err
	}
	j.setOpen(s)
	return nil
}

// take adds a frame that stands in the open segment.
func (j *Journal) take(f Frame, p Position) {
	if j.Length() == j.anchored {
		j.tail.edge = j.edge.Clone()
	}
	if j.Length() >= j.anchored {
		j.tail.frames = append(j.tail.frames, f)
		j.tail.places = append(j.tail.places, p)
	}
	j.edge.Append(f.Leaf)
}

// finish completes the sealing that a crash interrupted.
func (j *Journal) finish(r *segment.Reader, end segment.End) error {
	at := j.edge.Clone()
	j.edge = vlog.Edge{}
	if err := j.pass(r.Header, *end.Footer); err != nil {
		return err
	}
	if j.edge.Root() != at.Root() || j.edge.Len() != at.Len() {
		return damage("footer of segment %d has another right edge than its frames", r.Number)
	}
	if j.looking {
		return nil
	}
	return j.dir.Finish(r.Header, end)
}

// Root returns the root of the log at the anchor's length, from the right edge
// alone. Compare it with the anchor before anything else.
func (j *Journal) Root() warg.Digest { return j.tail.edge.Root() }

// Scan visits all frames from a registry index on, below a length, in order. It
// reads the files from the beginning of a segment.
func (j *Journal) Scan(from, below uint64, visit func(Frame, Position) error) error {
	done := errors.New("done")
	for number := j.segmentOf(from); number > 0 && number < j.next && from < below; number++ {
		r, err := j.dir.OpenReader(number)
		if err != nil {
			return classify(err)
		}
		end, err := r.Scan(false, func(p Position, b []byte) error {
			f, err := decode(b)
			if err != nil {
				return damage("segment %d, byte %d: %w", p.Segment, p.Offset, err)
			}
			switch {
			case f.Index < from:
				return nil
			case f.Index != from:
				return damage("segment %d, byte %d: frame has index %d instead of %d", p.Segment, p.Offset, f.Index, from)
			}
			if err := visit(f, p); err != nil {
				return err
			}
			if from++; from == below {
				return done // what stands behind is not looked at
			}
			return nil
		})
		err = errors.Join(err, r.Close())
		switch {
		case errors.Is(err, done):
			return nil
		case err != nil:
			return err
		case end.Bad != "":
			return damage("segment %d, byte %d: %s", number, end.Offset, end.Bad)
		}
	}
	if from < below {
		return damage("frame %d is missing", from)
	}
	return nil
}

// segmentOf returns the number of the segment that holds a registry index.
func (j *Journal) segmentOf(index uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	number := uint64(0)
	for i, first := range j.firsts {
		if first <= index {
			number = uint64(i + 1)
		}
	}
	return number
}
