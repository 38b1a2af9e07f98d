package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// scanner reads an archive once from its beginning to its end, judges every byte,
// and notes where things are.
type scanner struct {
	*frames
	a        *Archive
	sum      hash.Hash // of everything that was read
	hashed   int64
	progress func(n int64)
}

// scan fills a with what its stream holds.
func scan(a *Archive, progress func(n int64)) error {
	c := &scanner{frames: a.s.frames(0, a.s.size, readAllAhead), a: a, sum: sha256.New(), progress: progress}
	c.tee = c.absorb
	err := c.archive()
	var damage *DamageError
	if errors.As(err, &damage) {
		return c.blame(err)
	}
	return err
}

// absorb hashes a frame before it is judged, and compares the sum with what the
// next part says wherever one ends.
func (c *scanner) absorb(frame []byte) error {
	if c.progress != nil {
		c.progress(int64(len(frame)))
	}
	for len(frame) > 0 {
		p := c.s.part(c.hashed)
		n := min(int64(len(frame)), p.end-c.hashed)
		c.sum.Write(frame[:n])
		c.hashed += n
		frame = frame[n:]
		if err := c.joint(p); c.hashed == p.end && err != nil {
			return err
		}
	}
	return nil
}

// joint compares the sum at the end of a part with what the next part says.
func (c *scanner) joint(p placed) error {
	next := int(p.number) + 1
	if next >= len(c.s.parts) || c.s.parts[next].before == warg.Digest(c.sum.Sum(nil)) {
		return nil
	}
	return &DamageError{c.s.parts[next].Name, sumAt,
		fmt.Sprintf("it is not the continuation of %s, or that one is damaged", p.Name)}
}

// blame finds out whether damage is due to the part that follows: if that belongs
// to something else, what is wrong at the joint is not a matter of single bytes.
func (c *scanner) blame(err error) error {
	p := c.s.part(c.hashed)
	for b := make([]byte, bytesPerFrame); c.hashed < p.end; {
		n := min(int64(len(b)), p.end-c.hashed)
		if _, readErr := c.s.ReadAt(b[:n], c.hashed); readErr != nil {
			return err
		}
		c.sum.Write(b[:n])
		c.hashed += n
	}
	if joint := c.joint(p); joint != nil {
		return joint
	}
	return err
}

func (c *scanner) archive() error {
	at := c.at
	payload, err := c.want(kindArchive)
	if err != nil {
		return err
	}
	d := &decoder{b: payload}
	form, count := d.u8(), d.u32()
	if form == formDelta {
		c.a.delta, c.a.base = true, d.digest()
	}
	if d.end() != nil || form > formDelta || count == 0 {
		return c.s.damage(at, "it does not say what it is")
	}
	for range count {
		r, err := c.registry()
		if err != nil {
			return err
		}
		c.a.sections = append(c.a.sections, r)
	}
	at = c.at
	c.sum.Sum(c.a.id[:0])
	payload, err = c.want(kindEnd)
	switch {
	case err != nil:
		return err
	case string(payload) != string(c.a.id[:]):
		return c.s.damage(at, "the sum of everything is wrong")
	case c.at != c.s.size:
		return c.s.damage(c.at, "something follows the end")
	}
	return nil
}

// The forms of an archive.
const (
	formFull  = 0
	formDelta = 1
)

func (c *scanner) registry() (*section, error) {
	at := c.at
	payload, err := c.want(kindRegistry)
	if err != nil {
		return nil, err
	}
	d := &decoder{b: payload}
	r := &section{domain: d.text(), head: d.checkpoint()}
	r.length = r.head.Unverified().LogLength
	if err := d.end(); err != nil {
		return nil, c.s.damage(at, "%v", err)
	}
	if err := c.plausible(r); err != nil {
		return nil, c.s.damage(at, "%v", err)
	}
	for _, part := range []func(*section) error{c.baseOf, c.checkpoints, c.ledger, c.operator, c.packages, c.contents} {
		if err := part(r); err != nil {
			return nil, err
		}
	}
	at = c.at
	payload, err = c.want(kindRegistryEnd)
	if err != nil {
		return nil, err
	}
	d = &decoder{b: payload}
	if d.counts() != r.counts || d.end() != nil {
		return nil, c.s.damage(at, "the numbers of what it has of `%s` are wrong", r.domain)
	}
	return r, nil
}

func (c *scanner) plausible(r *section) error {
	if _, err := api.ParseDomain(r.domain); err != nil {
		return err
	}
	if n := len(c.a.sections); n > 0 && c.a.sections[n-1].domain >= r.domain {
		return fmt.Errorf("registry `%s` comes after `%s`", r.domain, c.a.sections[n-1].domain)
	}
	if r.length == 0 || r.length > warg.MaxRegistryLength {
		return fmt.Errorf("registry `%s` claims a length of %d", r.domain, r.length)
	}
	return nil
}

// baseOf reads what a delta builds on.
func (c *scanner) baseOf(r *section) error {
	at := c.at
	if c.peek() != kindBase || !c.a.delta {
		return nil // what stands there instead is judged by whoever comes next
	}
	payload, err := c.want(kindBase)
	if err != nil {
		return err
	}
	d := &decoder{b: payload}
	r.base = d.checkpoint()
	r.first = r.base.Unverified().LogLength
	if d.end() != nil || r.first == 0 || r.first > r.length {
		return c.s.damage(at, "registry `%s` cannot build on a length of %d", r.domain, r.first)
	}
	var last digestOrder
	r.baseLogsAt = c.at
	_, err = c.row(kindBaseLogs, baseLogsPerFrame, func(d *decoder) error {
		l := d.baseLog()
		if l.records == 0 && !l.named {
			return errPayload
		}
		return last.next(warg.Digest(l.log))
	})
	if err != nil {
		return err
	}
	last = digestOrder{}
	r.baseContentsAt = c.at
	_, err = c.row(kindBaseContents, baseContentsPerFrame, func(d *decoder) error { return last.next(d.digest()) })
	return err
}

// row reads frames that hold many things each, all but the last full.
func (c *scanner) row(k kind, per int, each func(d *decoder) error) (n uint64, err error) {
	for full := true; c.peek() == k; {
		at := c.at
		payload, err := c.want(k)
		if err != nil {
			return n, err
		}
		if !full || len(payload) == 0 {
			return n, c.s.damage(at, "%s in frames that are not full", k)
		}
		in := 0
		for d := (&decoder{b: payload}); len(d.b) > 0; in++ {
			if err := errors.Join(each(d), badness(d)); err != nil {
				return n, c.s.damage(at, "%s %d: %v", k, n+uint64(in), err)
			}
		}
		if in > per {
			return n, c.s.damage(at, "%s: %d in a frame", k, in)
		}
		n += uint64(in)
		full = in == per
	}
	return n, nil
}

func badness(d *decoder) error {
	if d.bad {
		return errPayload
	}
	return nil
}

// digestOrder demands that digests ascend.
type digestOrder struct {
	last warg.Digest
	any  bool
}

func (o *digestOrder) next(d warg.Digest) error {
	if o.any && o.last.Compare(d) >= 0 {
		return fmt.Errorf("%s comes after %s", d.Hex(), o.last.Hex())
	}
	o.last, o.any = d, true
	return nil
}

// checkpoints reads the older checkpoints.
func (c *scanner) checkpoints(r *section) (err error) {
	r.checkpointsAt = c.at
	last := r.first
	r.counts.Checkpoints, err = c.row(kindCheckpoints, checkpointsPerFrame, func(d *decoder) error {
		length := d.checkpoint().Unverified().LogLength
		if length <= last || length >= r.length {
			return fmt.Errorf("length %d after %d and before %d", length, last, r.length)
		}
		last = length
		return nil
	})
	return err
}

// ledger reads the leaves.
func (c *scanner) ledger(r *section) (err error) {
	r.ledgerAt = c.at
	r.counts.Leaves, err = c.row(kindLedger, leavesPerFrame, func(d *decoder) error {
		d.take(leafSize)
		return nil
	})
	if err == nil && r.counts.Leaves != r.length-r.first {
		return c.s.damage(c.at, "the ledger of `%s` has %d leaves from %d on; the checkpoint has length %d", r.domain, r.counts.Leaves, r.first, r.length)
	}
	return err
}
