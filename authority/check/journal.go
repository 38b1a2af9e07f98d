package check

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// chain is what the segments before one have led to.
type chain struct {
	length   uint64
	previous warg.Digest // hash of the last footer
	broken   bool        // what follows cannot be counted any more
}

// readJournal reads every segment. Behind damage the later ones are still read, each for
// itself, so that one run names everything that is wrong.
func (c *checker) readJournal(r *replay) error {
	dir := c.segments(authority.LogDir)
	numbers, err := dir.Numbers()
	if err != nil {
		return err
	}
	c.report.Segments = len(numbers)
	at := &chain{}
	for i, number := range numbers {
		if number != uint64(i+1) && !at.broken {
			c.say(Journal, dir.Path, 0, "segment %d is missing", i+1)
			at.broken, r.stopped = true, true
		}
		s := &segmentCheck{c: c, r: r, chain: at, last: i == len(numbers)-1}
		if err := s.run(dir, number); err != nil {
			return err
		}
	}
	c.report.Records = at.length
	length := c.report.Length
	switch {
	case at.broken || !c.anchored:
	case at.length < length:
		c.say(Journal, dir.Path, 0, "%d records, but %d were signed for", at.length, length)
	case at.length > length:
		c.report.Tail = at.length - length
		if c.report.Tail > journal.MaxTail {
			c.say(Journal, dir.Path, 0, "%d records above the anchor, more than a crash can leave", c.report.Tail)
		}
	}
	return nil
}

// segmentCheck reads one segment.
type segmentCheck struct {
	c     *checker
	r     *replay
	chain *chain
	last  bool // the newest one
	s     *segment.Reader
}

// bad notes damage; nothing behind it can be replayed.
func (s *segmentCheck) bad(at int64, format string, args ...any) {
	s.c.say(Journal, s.s.Path(), at, format, args...)
	s.r.stopped = true
}

func (s *segmentCheck) run(dir *segment.Dir, number uint64) (err error) {
	s.s, err = dir.OpenReader(number)
	var damage *segment.DamageError
	if errors.As(err, &damage) {
		s.c.say(Journal, damage.Path, damage.Offset, "%s", damage.Reason)
		s.chain.broken, s.r.stopped = true, true
		return nil
	}
	if err != nil {
		return err
	}
	defer s.s.Close()
	s.follows()
	footer, sealed, err := s.s.Footer()
	switch {
	case errors.As(err, &damage) && !s.last:
		s.bad(damage.Offset, "%s", damage.Reason)
	case err != nil && !errors.As(err, &damage):
		return err
	case !sealed && !s.last:
		s.bad(s.s.Size(), "it has no footer")
	}
	end, edge, err := s.frames()
	if err != nil {
		return err
	}
	s.c.read(s.s.Size())
	s.ends(end, footer, sealed)
	s.next(end, footer, sealed, edge)
	return nil
}

// follows checks that the segment continues those before it.
func (s *segmentCheck) follows() {
	h, at := s.s.Header, s.chain
	switch {
	case h.Kind != segment.Log:
		s.bad(0, "it is not a segment of a log")
	case h.Registry != s.c.registry:
		s.bad(0, "it belongs to another registry")
	case at.broken:
	case h.First != at.length:
		s.bad(0, "it begins at index %d, not %d", h.First, at.length)
	case h.Previous != at.previous:
		s.bad(0, "it does not follow the segment before it")
	}
}

// frames reads all frames and hands them to the replay.
func (s *segmentCheck) frames() (segment.End, *vlog.Edge, error) {
	index := s.s.First
	stop := errors.New("stop")
	bad := ""
	end, err := s.s.Scan(false, func(p segment.Position, b []byte) error {
		if err := s.c.ctx.Err(); err != nil {
			return err
		}
		f, err := journal.Decode(b)
		if err == nil && f.Index != index {
			err = fmt.Errorf("frame has index %d instead of %d", f.Index, index)
		}
		if err != nil {
			bad = err.Error()
			return stop
		}
		index++
		return s.r.add(f, p, s.s.Path())
	})
	if errors.Is(err, stop) {
		err, end.Bad = nil, bad
	}
	return end, s.r.edgeAt(index), err
}

// ends judges how the frames ended.
func (s *segmentCheck) ends(end segment.End, footer segment.Footer, sealed bool) {
	length := s.s.First + end.Count
	above := s.last && s.c.anchored && length >= s.c.report.Length
	switch {
	case end.Bad != "" && above && !sealed:
		s.c.note(Journal, s.s.Path(), end.Offset, "the tail ends here: %s", end.Bad)
	case end.Bad != "":
		s.bad(end.Offset, "%s", end.Bad)
	case sealed && (end.Footer == nil || end.Footer.Hash != footer.Hash || end.Offset+footer.Size() != s.s.Size()):
		s.bad(end.Offset, "the frames end before the footer does")
	case end.Footer != nil && !sealed:
		s.c.note(Journal, s.s.Path(), end.Offset, "sealing was interrupted")
	case end.Rest && above:
		s.c.note(Journal, s.s.Path(), end.Offset, "something stands behind the end")
	case end.Rest:
		s.bad(end.Offset, "something stands behind the end")
	}
	if f := end.Footer; f != nil && s.c.anchored && length > s.c.report.Length {
		s.bad(end.Offset, "it is sealed at length %d, but only %d records were signed for", length, s.c.report.Length)
	}
}

// next moves the chain behind the segment.
func (s *segmentCheck) next(end segment.End, footer segment.Footer, sealed bool, edge *vlog.Edge) {
	s.chain.length = s.s.First + end.Count
	if !sealed {
		if end.Footer == nil {
			return
		}
		footer = *end.Footer
	}
	if footer.Previous != s.s.Previous {
		s.bad(end.Offset, "header and footer name different predecessors")
	}
	claimed, err := vlog.NewEdge(s.s.First+footer.Count, footer.Edge)
	switch {
	case err != nil:
		s.bad(end.Offset, "its footer: %v", err)
	case edge != nil && (edge.Len() != claimed.Len() || edge.Root() != claimed.Root()):
		s.bad(end.Offset, "its footer has another right edge than its frames lead to")
	}
	s.chain.length, s.chain.previous = s.s.First+footer.Count, footer.Hash
}
