package check

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// indexCheck compares the index with what the journal leads to, as far as the index
// goes: after a crash it may be behind. What no log of the journal leads to, it does not
// look for.
type indexCheck struct {
	c     *checker
	x     *index.Index
	head  tree.Head
	bad   bool
	count map[warg.LogID]uint32
	heads map[warg.LogID]uint64 // registry index of the newest record of each log
}

// errDamagedIndex is in the place of moving the index aside.
var errDamagedIndex = errors.New("it cannot be opened")

// asItIs is a database that nobody moves aside.
type asItIs struct{ index.Database }

// SetAside implements [index.Database].
func (asItIs) SetAside() error { return errDamagedIndex }

// openIndex opens the index, or returns nil if there is none to look at.
func (c *checker) openIndex() (*indexCheck, error) {
	if c.o.Index == nil || c.registry.IsZero() {
		return nil, nil
	}
	counter := c.path(authority.OpeningFile)
	before, err := durable.ReadFile(c.o.FS, counter, maxCounter)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	x, err := index.Open(index.Options{
		FS: c.o.FS, Database: asItIs{c.o.Index}, Counter: counter, Registry: c.registry,
		Log: slog.New(slog.DiscardHandler),
	})
	if errors.Is(err, errDamagedIndex) {
		c.say(Index, c.path(authority.IndexDir), 0, "%v", err)
		return nil, c.putBack(counter, before)
	}
	if err != nil {
		return nil, err
	}
	i := &indexCheck{c: c, x: x, head: x.Head(), count: map[warg.LogID]uint32{}, heads: map[warg.LogID]uint64{}}
	if n := i.head.Length; c.anchored && n > c.report.Length {
		i.say("it knows length %d, the anchor only %d", n, c.report.Length)
	}
	return i, nil
}

// maxCounter is far beyond the counter of openings, in bytes.
const maxCounter = 64

// putBack undoes that an opening was counted which failed in an orderly way: two of them
// would make a start move the index aside, and looking must not do that. One that ends
// the process stays counted, or looking would end it every time.
func (c *checker) putBack(counter string, before []byte) error {
	if before != nil {
		return durable.Replace(c.o.FS, counter, before, nil)
	}
	if err := c.o.FS.Remove(counter); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (i *indexCheck) close() { _ = i.x.Close() } // nothing was written

// say notes the first damage; it is made anew as a whole.
func (i *indexCheck) say(format string, args ...any) {
	if !i.bad {
		i.c.say(Index, i.c.path(authority.IndexDir), 0, format, args...)
	}
	i.bad = true
}

// record compares everything that the index says of a record.
func (i *indexCheck) record(f journal.Frame, p journal.Position) {
	if i.bad || f.Index >= i.head.Length {
		return
	}
	at := i.count[f.Log]
	i.count[f.Log], i.heads[f.Log] = at+1, f.Index
	if err := i.compare(f, p, at); err != nil {
		i.say("record %d: %v", f.Index, err)
	}
}

func (i *indexCheck) compare(f journal.Frame, p journal.Position, at uint32) error {
	places, err := i.x.Places(f.Log, at, at+1)
	if err != nil {
		return err
	}
	if want := (index.Place{Index: f.Index, Record: f.Record, Position: p}); places[0] != want {
		return fmt.Errorf("it is said to stand at %+v, and stands at %+v", places[0], want)
	}
	r, ok, err := i.x.RecordOf(f.Log, f.Record)
	if err != nil {
		return err
	}
	if !ok || r.State != warg.StatePublished || r.Index != f.Index || r.Place != at {
		return errors.New("it is not known as published, or elsewhere")
	}
	leaf, err := i.x.Tree().Leaf(f.Index)
	if err != nil {
		return err
	}
	if leaf != f.Value() {
		return errors.New("the ledger has another leaf")
	}
	if f.Kind == journal.Operator {
		return nil
	}
	return i.contents(f)
}

func (i *indexCheck) contents(f journal.Frame) error {
	releases, err := pkglog.Releases(f.Envelope.Content)
	if err != nil {
		return nil // said of the journal
	}
	for _, r := range releases {
		d, err := r.Content.Digest()
		if err != nil {
			continue
		}
		if first, ok, err := i.x.Released(d); err != nil || !ok || first > f.Index {
			return errors.Join(fmt.Errorf("its content %s is not known", d), err)
		}
	}
	return nil
}

// checkpoint compares the heads of the trees.
func (i *indexCheck) checkpoint(c warg.CheckpointClaims) {
	if i.bad || c.LogLength > i.head.Length {
		return
	}
	h, err := i.x.Tree().HeadAt(c.LogLength)
	if err != nil {
		i.say("the trees at length %d: %v", c.LogLength, err)
		return
	}
	if h.LogRoot.AnyHash() != c.LogRoot || h.MapRoot.AnyHash() != c.MapRoot {
		i.say("the trees at length %d have other roots than were signed", c.LogLength)
	}
}

// finish compares the logs as a whole, and proves the newest record of each.
func (i *indexCheck) finish() error {
	for log, count := range i.count {
		if i.bad {
			return nil
		}
		l, ok, err := i.x.Log(log, i.head.Length)
		if err != nil || !ok || l.Count != count {
			i.say("log %s has %d records, the index says %d: %v", log, count, l.Count, err)
		}
	}
	if i.head.Length == 0 || i.bad {
		return nil
	}
	return i.prove()
}

// proven is how many records are proven at once: what a client may ask for.
const proven = 256

// prove proves as to a client that the newest record of every log is in both trees.
func (i *indexCheck) prove() error {
	part := make([]uint64, 0, proven)
	for _, at := range i.heads {
		if part = append(part, at); len(part) == proven {
			i.provePart(part)
			part = part[:0]
		}
		if i.bad || i.c.ctx.Err() != nil {
			return i.c.ctx.Err()
		}
	}
	if len(part) > 0 {
		i.provePart(part)
	}
	return nil
}

func (i *indexCheck) provePart(indexes []uint64) {
	proof, err := i.x.Tree().ProveInclusion(i.head.Length, indexes)
	if err != nil {
		i.say("proving records: %v", err)
		return
	}
	leaves, heads := make([]vlog.Leaf, len(indexes)), make([]vmap.Entry, len(indexes))
	for n, at := range indexes {
		leaf, err := i.x.Tree().Leaf(at)
		if err != nil {
			i.say("the ledger at %d: %v", at, err)
			return
		}
		leaves[n] = vlog.Leaf{Index: at, Value: leaf.LogValue()}
		heads[n] = vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()}
	}
	err = errors.Join(
		vlog.VerifyInclusion(proof.Log, i.head.LogRoot, i.head.Length, leaves),
		vmap.VerifyInclusion(proof.Map, i.head.MapRoot, heads))
	if err != nil {
		i.say("a proof that it makes: %v", err)
	}
}
