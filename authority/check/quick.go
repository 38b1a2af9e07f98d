package check

import (
	"context"
	"errors"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Quick reads what a start reads: the anchor, the footers of sealed segments and the open
// one, and the end of the history. Whether the log's right edge is what the anchor was
// signed for is then known, and nothing about what lies before it. A server may write
// meanwhile, so what is found is looked at twice.
func Quick(ctx context.Context, o Options) (anchor.Anchor, []Finding, error) {
	var c *checker
	var err error
	for range 2 {
		if c, err = quick(ctx, o); err != nil || len(c.report.Damage()) == 0 {
			break
		}
	}
	if err != nil {
		return anchor.Anchor{}, nil, err
	}
	return c.anchor, c.report.Findings, nil
}

func quick(ctx context.Context, o Options) (*checker, error) {
	c := &checker{o: o, ctx: ctx}
	if err := c.readAnchor(); err != nil || !c.anchored {
		return c, err
	}
	q := &quickJournal{c: c, dir: c.segments(authority.LogDir)}
	if err := q.run(); err != nil {
		return c, err
	}
	return c, c.quickHistory()
}

// quickHistory looks whether the history can be read and leads to the anchor.
func (c *checker) quickHistory() error {
	r, err := c.newReplay()
	if err != nil {
		return err
	}
	defer r.close()
	for r.more && r.next != c.anchor.Signed {
		if err := errors.Join(c.ctx.Err(), r.advance()); err != nil {
			return err
		}
	}
	if r.history != nil && !c.anchor.IsGenesis() && !r.more {
		r.ends()
	}
	return nil
}

// quickJournal walks the chain of segments.
type quickJournal struct {
	c    *checker
	dir  *segment.Dir
	last segment.Footer
	edge vlog.Edge
}

func (q *quickJournal) run() error {
	numbers, err := q.dir.Numbers()
	if err != nil {
		return err
	}
	for i, n := range numbers {
		if n != uint64(i+1) {
			q.c.say(Journal, q.dir.Path, 0, "segment %d is missing", i+1)
			return nil
		}
		more, err := q.segment(n)
		var damage *segment.DamageError
		if errors.As(err, &damage) {
			q.c.say(Journal, damage.Path, damage.Offset, "%s", damage.Reason)
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
	return q.compare()
}

// compare holds the right edge against the anchor.
func (q *quickJournal) compare() error {
	length := q.c.report.Length
	switch {
	case q.edge.Len() < length:
		q.c.say(Journal, q.dir.Path, 0, "%d records, but %d were signed for", q.edge.Len(), length)
	case length > 0 && q.edge.Root() != q.c.report.LogRoot:
		q.c.say(Roots, q.dir.Path, 0, "the journal has log root %s at length %d, and %s was signed", q.edge.Root(), length, q.c.report.LogRoot)
	}
	return nil
}

// segment takes in a segment; more is false if the rest cannot be judged.
func (q *quickJournal) segment(n uint64) (more bool, err error) {
	if q.edge.Len() >= q.c.report.Length && n > 1 {
		return true, nil // of what is on its way
	}
	r, err := q.dir.OpenReader(n)
	if err != nil {
		return false, err
	}
	defer r.Close()
	if r.Kind != segment.Log || r.Registry != q.c.registry || r.First != q.edge.Len() || r.Previous != q.last.Hash {
		q.c.say(Journal, r.Path(), 0, "it does not follow the segment before it")
		return false, nil
	}
	footer, sealed, err := r.Footer()
	if err == nil && sealed && r.First+footer.Count <= q.c.report.Length {
		q.last = footer
		q.edge, err = vlog.NewEdge(r.First+footer.Count, footer.Edge)
		return err == nil, err
	}
	end, err := r.Scan(false, q.take)
	if errors.Is(err, errEnough) {
		return true, nil
	}
	if end.Bad != "" && q.edge.Len() < q.c.report.Length {
		q.c.say(Journal, r.Path(), end.Offset, "%s", end.Bad)
		return false, nil
	}
	return true, err
}

var errEnough = errors.New("the anchor's length is reached")

func (q *quickJournal) take(_ segment.Position, b []byte) error {
	if q.edge.Len() >= q.c.report.Length {
		return errEnough
	}
	f, err := journal.Decode(b)
	if err != nil {
		return err
	}
	q.edge.Append(f.Leaf)
	return q.c.ctx.Err()
}
