package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// reseal makes checksums and sums right again, as an attacker would. What is no
// sequence of frames is left as it is.
func reseal(file []byte) []byte {
	if len(file) < partHeader {
		return file
	}
	b := slices.Clone(file)
	binary.BigEndian.PutUint32(b[crcAt:], crc32.Checksum(b[:crcAt], castagnoli()))
	for at := partHeader; at+frameOverhead <= len(b); {
		total := frameOverhead + int(binary.BigEndian.Uint32(b[at+1:]))
		if total > len(b)-at {
			break
		}
		if b[at] == byte(kindEnd) && total == frameOverhead+digestSize {
			sum := sha256.Sum256(b[partHeader:at])
			copy(b[at+frameHead:], sum[:])
		}
		binary.BigEndian.PutUint32(b[at+total-4:], crc32.Checksum(b[at:at+total-4], castagnoli()))
		at += total
	}
	return b
}

// rewrite writes what an open archive carries once more.
func rewrite(a *Archive) ([]byte, error) {
	out := &buffer{}
	v := NewVolumes(func(int) (io.WriteCloser, error) { return out, nil }, 0)
	w := newWriter(v)
	w.write(kindArchive, func(e *encoder) {
		base, delta := a.Base()
		form := uint8(formFull)
		if delta {
			form = formDelta
		}
		e.u8(form)
		e.u32(uint32(len(a.Domains())))
		if delta {
			e.digest(base)
		}
	})
	for _, domain := range a.Domains() {
		if err := rewriteRegistry(w, a.Cargo(domain)); err != nil {
			return nil, err
		}
	}
	if _, err := w.end(); err != nil {
		return nil, err
	}
	return out.Bytes(), v.Close()
}

func rewriteRegistry(w *writer, c *Cargo) error {
	w.write(kindRegistry, func(e *encoder) { e.text(c.Domain()); e.checkpoint(c.Head()) })
	if !c.Base().IsZero() {
		w.write(kindBase, func(e *encoder) { e.checkpoint(c.Base()) })
	}
	var errs []error
	row := w.row(kindBaseLogs, baseLogsPerFrame)
	for l, err := range c.BaseLogs() {
		row.add(func(e *encoder) { e.baseLog(baseLog{l.LogID, l.Count, l.Named}) })
		errs = append(errs, err)
	}
	row.flush()
	row = w.row(kindBaseContents, baseContentsPerFrame)
	for d, err := range c.BaseContents() {
		row.add(func(e *encoder) { e.digest(d) })
		errs = append(errs, err)
	}
	row.flush()
	row = w.row(kindCheckpoints, checkpointsPerFrame)
	for s, err := range c.Checkpoints() {
		row.add(func(e *encoder) { e.checkpoint(s) })
		errs = append(errs, err)
	}
	row.flush()
	for at := c.r.first; at < c.r.length; {
		packed, err := c.Ledger(context.Background(), at, leavesPerFrame)
		if err != nil {
			return err
		}
		w.frame(kindLedger, packed)
		at += uint64(len(packed) / leafSize)
	}
	page, err := everything(c, warg.OperatorLogID)
	errs = append(errs, err)
	for _, rec := range page {
		w.write(kindOperator, func(e *encoder) { e.record(rec) })
	}
	for l, err := range c.Packages() {
		errs = append(errs, err, rewritePackage(w, c, l.LogID))
	}
	for stat, err := range c.Contents() {
		errs = append(errs, err, rewriteContent(w, c, stat))
	}
	w.write(kindRegistryEnd, func(e *encoder) { e.counts(c.Counts()) })
	return errors.Join(append(errs, w.err)...)
}

func rewritePackage(w *writer, c *Cargo, log warg.LogID) error {
	p, _, err := c.findPackage(log)
	if err != nil {
		return err
	}
	w.write(kindPackage, func(e *encoder) { e.packageHead(p) })
	if p.count == 0 {
		return nil
	}
	records, err := everything(c, log)
	for _, rec := range records {
		w.write(kindRecord, func(e *encoder) { e.record(rec) })
	}
	return err
}

func rewriteContent(w *writer, c *Cargo, stat warg.ContentInfo) error {
	return c.Fetch(context.Background(), stat.Digest, func(body io.Reader, size int64) error {
		w.write(kindContent, func(e *encoder) { e.digest(stat.Digest); e.u64(uint64(size)) })
		content, err := io.ReadAll(body)
		for piece := range slices.Chunk(content, bytesPerFrame) {
			w.frame(kindBytes, piece)
		}
		return err
	})
}

// everything reads a whole log by its places in the stream: tokens in a crafted
// archive may repeat.
func everything(c *Cargo, log warg.LogID) (all []warg.Record, err error) {
	f, k := c.frames(c.r.operatorAt), kindOperator
	if log != warg.OperatorLogID {
		if _, f, err = c.findPackage(log); err != nil {
			return nil, err
		}
		k = kindRecord
	}
	for f.peek() == k {
		rec, err := nextRecord(f, k)
		if err != nil {
			return all, err
		}
		all = append(all, rec)
	}
	return all, nil
}

func TestRewriting(t *testing.T) {
	o := small(t)
	first := full(t, o)
	old := open(t, first)
	o.release("test:c", "1.0.0", bytes.Repeat([]byte("c"), bytesPerFrame+1))
	for name, b := range map[string][]byte{"full": first, "delta": since(t, old, o)} {
		again, err := rewrite(open(t, b))
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: written again it is other bytes: %v", name, err)
		}
		if !bytes.Equal(reseal(b), b) {
			t.Errorf("%s: the sums of the test are not those of the format", name)
		}
	}
}

// FuzzOpen: whatever opens is the one way to write down what it holds.
func FuzzOpen(f *testing.F) {
	o := small(f)
	first := full(f, o)
	old := open(f, first)
	o.release("test:c", "1.0.0", wargtest.Component("c"))
	f.Add([]byte(nil))
	f.Add(header{0, warg.Sum(nil)}.encode())
	f.Add(first)
	f.Add(since(f, old, o))
	f.Add(since(f, open(f, full(f, o)), o, newOrigin(f, "other.example")))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range [][]byte{b, reseal(b)} {
			a, err := Open(partsOf(file), nil)
			if err != nil {
				continue
			}
			again, err := rewrite(a)
			if err != nil {
				t.Fatalf("it opens and cannot be read: %v", err)
			}
			if !bytes.Equal(again, file) {
				t.Fatal("written again it is other bytes")
			}
		}
	})
}
