package archive

import (
	"errors"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// ReadAt reads the archive as one file, whatever parts it came in.
func (a *Archive) ReadAt(b []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, errors.New("reading an archive before its beginning")
	}
	if at < partHeader {
		n = copy(b, header{0, warg.Sum(nil)}.encode()[at:])
		at += int64(n)
	}
	if n == len(b) {
		return n, nil
	}
	more, err := a.s.ReadAt(b[n:], at-partHeader)
	return n + more, err
}

// Size returns the bytes of the archive as one file.
func (a *Archive) Size() int64 { return partHeader + a.s.size }

// WriteStub writes an archive that has nothing but what a later one needs to know of
// this one to build on it: a delta with nothing new. See [ExportOptions].
func (a *Archive) WriteStub(out io.Writer) error {
	v := NewVolumes(func(int) (io.WriteCloser, error) { return unclosed{out}, nil }, 0)
	w := newWriter(v)
	w.write(kindArchive, func(e *encoder) {
		e.u8(formDelta)
		e.u32(uint32(len(a.sections)))
		e.digest(a.id)
	})
	for _, r := range a.sections {
		c := a.Cargo(r.domain)
		w.write(kindRegistry, func(e *encoder) {
			e.text(r.domain)
			e.checkpoint(r.head)
		})
		if err := writeBase(w, c); err != nil {
			return err
		}
		w.write(kindRegistryEnd, func(e *encoder) { e.counts(Counts{}) })
	}
	_, err := w.end()
	return errors.Join(err, v.Close())
}

type unclosed struct{ io.Writer }

// Close does nothing.
func (unclosed) Close() error { return nil }
