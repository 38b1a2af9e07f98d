package index

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
)

// maxOpenings is how many openings in a row may fail to end before the files are
// blamed.
const maxOpenings = 2

// openings is the counter of openings that did not end.
type openings struct {
	fs   durable.FS
	path string
}

func (o openings) read() (int, error) {
	b, err := durable.ReadFile(o.fs, o.path, 16)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 {
		return maxOpenings, nil // it was being written when the process ended
	}
	return n, nil
}

func (o openings) write(n int) error {
	return durable.Replace(o.fs, o.path, []byte(strconv.Itoa(n)+"\n"), nil)
}

func (o openings) clear() error {
	if err := o.fs.Remove(o.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
