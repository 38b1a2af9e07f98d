package archive

import (
	"crypto/sha256"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// operator reads the operator records.
func (c *scanner) operator(r *section) error {
	r.operatorAt = c.at
	for next := r.first; c.peek() == kindOperator; {
		at := c.at
		payload, err := c.want(kindOperator)
		if err != nil {
			return err
		}
		rec, err := openRecord(payload)
		if err == nil && (rec.Index < next || rec.Index >= r.length) {
			err = fmt.Errorf("registry index %d is not from %d to %d", rec.Index, next, r.length)
		}
		if err != nil {
			return c.s.damage(at, "operator record %d: %v", r.counts.Operator, err)
		}
		next = rec.Index + 1
		r.counts.Operator++
	}
	return nil
}

func openRecord(payload []byte) (warg.Record, error) {
	d := &decoder{b: payload}
	rec := d.record()
	return rec, d.end()
}

// packages reads package logs with their records.
func (c *scanner) packages(r *section) error {
	r.packagesAt = c.at
	var last digestOrder
	for c.peek() == kindPackage {
		at := c.at
		payload, err := c.want(kindPackage)
		if err != nil {
			return err
		}
		d := &decoder{b: payload}
		p := d.packageHead()
		err = d.end()
		if err == nil && p.count == 0 && p.name.IsZero() {
			err = errPayload
		}
		if err == nil {
			err = last.next(warg.Digest(p.log))
		}
		if err != nil {
			return c.s.damage(at, "package %d: %v", r.counts.Packages, err)
		}
		r.packageMarks.note(warg.Digest(p.log), at)
		if err := c.records(r, p); err != nil {
			return err
		}
		r.counts.Packages++
	}
	return nil
}

// records reads the records of a package log.
func (c *scanner) records(r *section, p packageHead) error {
	next := uint64(0)
	for i := range p.count {
		at := c.at
		payload, err := c.want(kindRecord)
		if err != nil {
			return err
		}
		rec, err := openRecord(payload)
		if err == nil && (rec.Index < next || rec.Index >= r.length) {
			err = fmt.Errorf("registry index %d is not from %d to %d", rec.Index, next, r.length)
		}
		if err != nil {
			return c.s.damage(at, "record %d of log `%s`: %v", p.first+i, p.log, err)
		}
		next = rec.Index + 1
		r.counts.Records++
	}
	return nil
}

// contents reads content and compares it with its digest.
func (c *scanner) contents(r *section) error {
	r.contentsAt = c.at
	var last digestOrder
	for c.peek() == kindContent {
		at := c.at
		payload, err := c.want(kindContent)
		if err != nil {
			return err
		}
		d := &decoder{b: payload}
		digest, size := d.digest(), d.u64()
		err = d.end()
		if err == nil {
			err = last.next(digest)
		}
		if err == nil && size > uint64(c.s.size) {
			err = fmt.Errorf("%d bytes are more than there are", size)
		}
		if err != nil {
			return c.s.damage(at, "content %d: %v", r.counts.Contents, err)
		}
		r.contentMarks.note(digest, at)
		if err := c.content(digest, int64(size)); err != nil {
			return err
		}
		r.counts.Contents++
		r.counts.ContentBytes += size
		r.largest = max(r.largest, int64(size))
	}
	return nil
}

func (c *scanner) content(digest warg.Digest, size int64) error {
	begin, sum := c.at, sha256.New()
	for left := size; left > 0; {
		at := c.at
		payload, err := c.want(kindBytes)
		if err != nil {
			return err
		}
		if int64(len(payload)) != min(left, bytesPerFrame) {
			return c.s.damage(at, "content `%s` is cut into odd pieces", digest)
		}
		sum.Write(payload)
		left -= int64(len(payload))
	}
	if got := warg.Digest(sum.Sum(nil)); got != digest {
		return c.s.damage(begin, "content `%s` has digest `%s`", digest, got)
	}
	return nil
}
