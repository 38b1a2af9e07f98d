package check

import (
	"errors"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/authority/segment"
)

// readPending reads the submissions. What cannot be read of them is passed over by a
// start, which does not make it harmless: somebody was told that it is kept. Only the
// end of the newest segment may be unfinished.
func (c *checker) readPending() error {
	dir := c.segments(authority.PendingDir)
	numbers, err := dir.Numbers()
	if err != nil {
		return err
	}
	for i, number := range numbers {
		if err := c.readSubmissions(dir, number, i == len(numbers)-1); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readSubmissions(dir *segment.Dir, number uint64, last bool) error {
	s, err := dir.OpenReader(number)
	var damage *segment.DamageError
	if errors.As(err, &damage) {
		c.say(Pending, damage.Path, damage.Offset, "%s", damage.Reason)
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	switch {
	case s.Registry != c.registry:
		c.say(Pending, s.Path(), 0, "it belongs to another registry")
	case s.Kind != segment.Pending && s.Kind != segment.Rejected:
		c.say(Pending, s.Path(), 0, "it is not a segment of submissions")
	}
	end, err := s.Scan(true, func(p segment.Position, b []byte) error {
		e, ok, err := pending.Decode(b)
		if err != nil {
			c.say(Pending, s.Path(), int64(p.Offset), "%v", err)
		}
		if ok {
			c.report.Pending++
		}
		if ok && e.Kind == pending.Rejected {
			c.rejected[rejection{e.Log, e.Record}] = true
		}
		return c.ctx.Err()
	})
	if err != nil {
		return err
	}
	c.read(s.Size())
	c.endOfSubmissions(s, end, last)
	return nil
}

func (c *checker) endOfSubmissions(s *segment.Reader, end segment.End, last bool) {
	open := last && s.Kind == segment.Pending
	switch {
	case end.Skipped > 0:
		c.say(Pending, s.Path(), end.Offset, "%d submissions cannot be read", end.Skipped)
	case s.Kind == segment.Rejected && end.Footer == nil:
		c.say(Pending, s.Path(), end.Offset, "it does not end as it should")
	case (end.Bad != "" || end.Rest) && open:
		c.note(Pending, s.Path(), end.Offset, "something unfinished stands behind the end")
	case end.Bad != "" || end.Rest:
		c.say(Pending, s.Path(), end.Offset, "something that cannot be read stands behind the end")
	}
}
