package pending

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg"
)

// load reports what stands in the segments and opens the newest for appending.
func (l *Log) load(visit func(Entry) error) error {
	numbers, err := l.o.Dir.List()
	if err != nil {
		return err
	}
	if err := l.o.Dir.Settle(); err != nil {
		return err
	}
	numbers, err = l.dropUnfinished(numbers)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return l.begin(1, nil)
	}
	if len(numbers) > 1 {
		// It was perhaps written by a process that was killed before it could sync it, and
		// what it carried on stands in the segment before, which is reduced now.
		if err := l.o.Dir.Sync(numbers[len(numbers)-1]); err != nil {
			return err
		}
	}
	for i, number := range numbers {
		if last := i == len(numbers)-1; last {
			return l.resume(number, visit)
		}
		if err := l.history(number, visit); err != nil {
			return err
		}
	}
	return nil
}

// contents are what one segment holds.
type contents struct {
	header  segment.Header
	end     segment.End
	entries []Entry
	carried bool
}

// read reads a segment's entries, or its rejections alone.
func (l *Log) read(number uint64, rejections bool) (c contents, err error) {
	r, err := l.o.Dir.OpenReader(number)
	if err != nil {
		return c, err
	}
	defer r.Close()
	c.header = r.Header
	switch {
	case c.header.Registry != l.o.Registry:
		return c, fmt.Errorf("segment %d belongs to another registry", number)
	case c.header.Kind != segment.Pending && c.header.Kind != segment.Rejected:
		return c, fmt.Errorf("segment %d is not one of submissions", number)
	}
	bad := 0
	c.end, err = r.Scan(true, func(_ segment.Position, b []byte) error {
		if rejections && Kind(b[0]) == Accepted {
			return nil // not decoded for nothing: nearly all are
		}
		e, err := decode(b)
		switch {
		case err != nil:
			bad++
		case e.Kind == carried:
			c.carried = true
		default:
			c.entries = append(c.entries, e)
		}
		return nil
	})
	if bad += c.end.Skipped; bad > 0 {
		l.o.Log.Warn("submissions passed over", "segment", number, "frames", bad, "reason", c.end.Bad)
	}
	return c, err
}

// dropUnfinished removes a newest segment whose making was interrupted: the one
// before it still has everything.
func (l *Log) dropUnfinished(numbers []uint64) ([]uint64, error) {
	if len(numbers) < 2 {
		return numbers, nil
	}
	last := numbers[len(numbers)-1]
	c, err := l.read(last, true)
	if err != nil || c.carried || c.header.Kind != segment.Pending {
		return numbers, err
	}
	r, err := l.o.Dir.OpenReader(last - 1)
	if errors.Is(err, fs.ErrNotExist) {
		return numbers, nil // it is gone, so the newest was finished and lost its mark
	}
	if err != nil {
		return nil, err // to go on would be to reduce it to its rejections
	}
	before := r.Kind
	if err := r.Close(); err != nil || before != segment.Pending {
		return numbers, err
	}
	return numbers[:len(numbers)-1], l.o.Dir.Rewrite(c.header, nil)
}

// history reports the rejections of a segment that is not the newest, and
// reduces it to them if that was not done.
func (l *Log) history(number uint64, visit func(Entry) error) error {
	if number < l.o.From {
		r, err := l.o.Dir.OpenReader(number)
		if err != nil {
			return err
		}
		if err := r.Close(); err != nil || r.Kind == segment.Rejected {
			return err
		}
	}
	c, err := l.read(number, true)
	if err != nil {
		return err
	}
	for _, e := range c.entries {
		if err := visit(e); err != nil {
			return err
		}
	}
	if c.header.Kind == segment.Pending {
		return l.compact(c)
	}
	return nil
}

// compact reduces a segment to its rejections, which are all that was read of it.
func (l *Log) compact(c contents) error {
	var payloads [][]byte
	for _, e := range c.entries {
		payloads = append(payloads, e.encode())
	}
	c.header.Kind = segment.Rejected
	if err := noSpace(l.o.Dir.Rewrite(c.header, payloads)); err != nil {
		if !errors.Is(err, ErrNoSpace) {
			return err
		}
		l.o.Log.Warn("submissions not compacted", "segment", c.header.Number, "error", err) // next time
	}
	return nil
}

// resume reports the newest segment's entries and opens it for appending.
func (l *Log) resume(number uint64, visit func(Entry) error) error {
	c, err := l.read(number, false)
	if err != nil {
		return err
	}
	for _, e := range c.entries {
		if err := visit(e); err != nil {
			return err
		}
	}
	if c.header.Kind == segment.Rejected {
		return l.begin(number+1, nil)
	}
	s, err := l.o.Dir.Resume(c.header, c.end)
	if err != nil {
		return err
	}
	mark := Entry{Kind: carried}.encode()
	switch {
	case c.carried:
		l.open = s
		// What was reported counts from now on: publishers are told about it. A process
		// that was killed may have written it and not synced it.
		return s.Sync()
	case s.Fits(1, len(mark)):
		l.open = s
		return l.append(s, [][]byte{mark})
	}
	// The mark was damaged, in a segment that is full.
	if err := errors.Join(s.Sync(), s.Close()); err != nil {
		return err
	}
	return l.begin(number+1, c.accepted())
}

// accepted returns what was accepted in a segment and not rejected there.
func (c *contents) accepted() (payloads [][]byte) {
	rejected := map[warg.RecordID]bool{}
	for _, e := range c.entries {
		if e.Kind == Rejected {
			rejected[e.Record] = true
		}
	}
	for _, e := range c.entries {
		if e.Kind == Accepted && !rejected[e.Record] {
			payloads = append(payloads, e.encode())
		}
	}
	return payloads
}

// begin makes a segment that starts with what is alive.
func (l *Log) begin(number uint64, live [][]byte) error {
	d := *l.o.Dir
	for _, p := range live {
		// Room for as much again, or carrying would soon be all that happens.
		d.Max += 2 * int64(len(p))
	}
	h := segment.Header{Kind: segment.Pending, Registry: l.o.Registry, Number: number}
	s, err := d.Create(h)
	if err != nil {
		return noSpace(err)
	}
	if err := l.append(s, append(live, Entry{Kind: carried}.encode())); err != nil {
		if !errors.Is(err, ErrNoSpace) {
			return errors.Join(err, s.Close())
		}
		if e := errors.Join(s.Close(), d.Rewrite(h, nil)); e != nil {
			return e
		}
		return err // as if it had never been
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = s
	return nil
}

// roll begins the next segment and reduces the full one to its rejections.
func (l *Log) roll() error {
	var live [][]byte
	if l.o.Live != nil {
		for e := range l.o.Live() {
			live = append(live, e.encode())
		}
	}
	full := l.open
	if err := l.begin(full.Number+1, slices.Clip(live)); err != nil {
		return err
	}
	if err := full.Close(); err != nil {
		return err
	}
	c, err := l.read(full.Number, true)
	if err != nil {
		return err
	}
	return l.compact(c)
}
