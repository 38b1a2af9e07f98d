package backup

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// ListFile is the name of the list of digests.
const ListFile = "SHA256SUMS"

const (
	listFirst = "# entrepot backup 1"
	listLast  = "# end"

	maxList = 4 << 30 // bytes that are read
)

// item is a file of a backup.
type item struct {
	name string // relative to the backup, with slashes
	sum  warg.Digest
}

// encodeList returns the list of files, which ends in a line that says how many there
// are: a list that was cut would promise less than was backed up.
func encodeList(items []item) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, listFirst)
	for _, it := range items {
		fmt.Fprintf(&b, "%s  %s\n", it.sum.Hex(), it.name)
	}
	fmt.Fprintf(&b, "%s %d\n", listLast, len(items))
	return b.Bytes()
}

var errList = errors.New("the list of a backup is damaged")

// readList reads the list of a backup.
func readList(fsys durable.FS, dir string) ([]item, error) {
	name := filepath.Join(dir, ListFile)
	b, err := durable.ReadFile(fsys, name, maxList)
	if err != nil {
		return nil, err
	}
	items, err := parseList(string(b))
	if err == nil && !bytes.Equal(encodeList(items), b) {
		err = errList
	}
	if err != nil {
		return nil, &DamageError{name, err.Error()}
	}
	return items, nil
}

func parseList(text string) (items []item, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 3 || lines[0] != listFirst {
		return nil, errList
	}
	for _, line := range lines[1 : len(lines)-2] {
		sum, name, ok := strings.Cut(line, "  ")
		raw, err := hex.DecodeString(sum)
		if !ok || err != nil || len(raw) != warg.DigestSize || !filepath.IsLocal(filepath.FromSlash(name)) {
			return nil, errList
		}
		items = append(items, item{name, warg.Digest(raw)})
	}
	return items, nil
}

// DamageError says that a backup is not what was written, or that it is none.
type DamageError struct{ File, Reason string }

// Error says what is damaged.
func (e *DamageError) Error() string { return e.File + ": " + e.Reason }
