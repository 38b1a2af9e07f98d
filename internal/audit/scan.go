package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
)

// maxTorn is how many bytes one unfinished write can leave: far more than a batch.
const maxTorn = 64 << 20

// end is how a file ends.
type end struct {
	size  int64  // bytes of good lines
	lines uint64 // good lines
	torn  int64  // bytes behind them, of a write that a crash cut short
	bad   error  // why the next line is not good; nil if there is none, or if it is torn
}

// scan goes through a file line by line, from a place on, and calls visit, if it is not
// nil, with each good line. Whether a file may be torn is the caller's to judge.
func (p *place) scan(r io.Reader, visit func(number uint64, text []byte) error) (end, error) {
	var e end
	lines := bufio.NewReaderSize(r, maxLine+1)
	for {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(text) == 0:
			return e, nil
		case errors.Is(err, io.EOF), errors.Is(err, bufio.ErrBufferFull):
			return e.behind(lines, text, errNoLine)
		case err != nil:
			return e, err
		}
		good := *p
		if err := good.follows(text[:len(text)-1]); err != nil {
			return e.behind(lines, text, err)
		}
		e.size, e.lines, *p = e.size+int64(len(text)), e.lines+1, good
		if visit != nil {
			if err := visit(e.lines, text[:len(text)-1]); err != nil {
				return e, err
			}
		}
	}
}

// behind judges what stands behind the last good line, of which first is the beginning.
func (e end) behind(r io.Reader, first []byte, why error) (end, error) {
	rest, err := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(slices.Clone(first)), r), maxTorn+1))
	if err != nil {
		return e, err
	}
	e.torn = int64(len(rest))
	unfinished := bytes.IndexByte(rest, '\n') < 0 || bytes.IndexByte(rest, 0) >= 0
	if len(rest) > maxTorn || !unfinished {
		e.bad = why
	}
	return e, nil
}

// rotatedName returns the name of the full file with a number.
func rotatedName(path string, number uint64) string { return fmt.Sprintf("%s.%06d", path, number) }

// rotated lists the numbers of the full files, ascending.
func rotated(fsys durable.FS, path string) ([]uint64, error) {
	entries, err := fsys.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the audit log: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		number, err := strconv.ParseUint(text, 10, 64)
		if ok && err == nil && e.Name() == filepath.Base(rotatedName(path, number)) {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// endsAt reports whether a file is sound and ends in a place.
func endsAt(fsys durable.FS, name string, p place) bool {
	f, err := fsys.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	q, _ := beginning(f)
	e, err := q.scan(f, nil)
	return err == nil && e.torn == 0 && q == p
}
