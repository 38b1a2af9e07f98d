package monitor

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

const (
	stateFormat   = 1
	committedFile = "committed"
	journalFile   = "journal"

	maxCommitted = 1 << 10
	maxLine      = 4 << 20 // an operator record of 1 MiB in base64 fits
	// maxJournal bounds the journal. A checkpoint takes 450 bytes, so a registry that
	// signs anew every minute takes four years to get there.
	maxJournal = 1 << 30

	sumLen = 16 // hexadecimal digits of a line's checksum
)

// StateError says that what the watcher wrote earlier is not there any more as it was
// written. Nothing was changed.
type StateError struct {
	Path string
	Err  error
}

// Error says what to do as well.
func (e *StateError) Error() string {
	return fmt.Sprintf("%s is damaged: %v; restore it from a backup, or move the folder away to begin anew, which forgets what the registry signed", e.Path, e.Err)
}

// Unwrap returns what does not fit.
func (e *StateError) Unwrap() error { return e.Err }

// committed says how much of journal and ledger counts.
type committed struct {
	Format  int    `json:"format"`
	Journal int64  `json:"journal"` // bytes
	Chain   string `json:"chain"`   // checksum over all lines
	Ledger  uint64 `json:"ledger"`  // leaves
}

// line is one line of the journal.
type line struct {
	kind string
	body []byte
}

// journal is the file of what happened. Lines are appended and never changed.
type journal struct {
	fsys  durable.FS
	dir   string
	file  durable.File
	size  int64
	chain warg.Digest
}

// openJournal opens the journal of a folder, or begins it, and calls apply for each
// line that counts. It returns what was committed last.
func openJournal(fsys durable.FS, dir string, apply func(l line, offset int64, size int) error) (*journal, committed, error) {
	j := &journal{fsys: fsys, dir: dir}
	c, err := j.readCommitted()
	if err != nil {
		return nil, c, err
	}
	if j.file, err = openOrCreate(fsys, j.path(journalFile), c.Journal == 0); err != nil {
		return nil, c, err
	}
	if err := j.read(c, apply); err != nil {
		return nil, c, errors.Join(err, j.file.Close())
	}
	return j, c, nil
}

func (j *journal) path(name string) string { return filepath.Join(j.dir, name) }

func (j *journal) damaged(name, format string, args ...any) error {
	return &StateError{j.path(name), fmt.Errorf(format, args...)}
}

// readCommitted reads what counts. In a new folder it writes that nothing does,
// before there is anything else: a journal without it is damage.
func (j *journal) readCommitted() (c committed, err error) {
	b, err := durable.ReadFile(j.fsys, j.path(committedFile), maxCommitted)
	if errors.Is(err, fs.ErrNotExist) {
		if begun, err := durable.Exists(j.fsys, j.path(journalFile)); begun || err != nil {
			return c, errors.Join(err, j.damaged(committedFile, "it is missing"))
		}
		c = committed{Format: stateFormat, Chain: j.chain.Hex()}
		return c, j.writeCommitted(c)
	}
	if err != nil {
		return c, fmt.Errorf("reading the monitor's state: %w", err)
	}
	body, sum, _ := bytes.Cut(bytes.TrimSuffix(b, []byte("\n")), []byte(" "))
	if string(sum) != lineSum(warg.Digest{}, body).Hex()[:sumLen] {
		return c, j.damaged(committedFile, "its checksum is wrong")
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, j.damaged(committedFile, "reading it: %w", err)
	}
	if c.Format != stateFormat {
		return c, j.damaged(committedFile, "it is of format %d; this program knows format %d", c.Format, stateFormat)
	}
	return c, nil
}

func (j *journal) writeCommitted(c committed) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding the monitor's state: %w", err)
	}
	content := fmt.Appendf(nil, "%s %s\n", body, lineSum(warg.Digest{}, body).Hex()[:sumLen])
	if err := durable.Replace(j.fsys, j.path(committedFile), content, nil); err != nil {
		return fmt.Errorf("writing the monitor's state: %w", err)
	}
	return nil
}

// openOrCreate opens a file for writing. It makes it only if it may be new.
func openOrCreate(fsys durable.FS, name string, mayBeNew bool) (durable.File, error) {
	f, err := fsys.OpenWrite(name)
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening the monitor's state: %w", err)
	case !mayBeNew:
		return nil, &StateError{name, errors.New("it is missing")}
	}
	if f, err = fsys.Create(name); err != nil {
		return nil, fmt.Errorf("making the monitor's state: %w", err)
	}
	if err := fsys.SyncDir(filepath.Dir(name)); err != nil {
		return nil, errors.Join(fmt.Errorf("making the monitor's state: %w", err), f.Close())
	}
	return f, nil
}

// lineSum is the checksum of a line after the ones before it.
func lineSum(chain warg.Digest, text []byte) warg.Digest { return warg.Sum(chain[:], text) }

// read applies all committed lines.
func (j *journal) read(c committed, apply func(l line, offset int64, size int) error) error {
	r := bufio.NewReaderSize(io.LimitReader(j.file, c.Journal), 1<<16)
	for j.size < c.Journal {
		raw, err := readLine(r)
		if err != nil {
			return j.damaged(journalFile, "reading the line at byte %d: %w", j.size, err)
		}
		l, err := j.check(raw)
		if err == nil {
			err = apply(l, j.size, len(raw))
		}
		if err != nil {
			return j.damaged(journalFile, "the line at byte %d: %w", j.size, err)
		}
		j.size += int64(len(raw))
	}
	if j.chain.Hex() != c.Chain {
		return j.damaged(journalFile, "it is not what was committed")
	}
	return nil
}

// readLine reads a line with its end.
func readLine(r *bufio.Reader) ([]byte, error) {
	var whole []byte
	for {
		part, err := r.ReadSlice('\n')
		if whole = append(whole, part...); err == nil {
			return whole, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(whole) > maxLine {
			return nil, fmt.Errorf("it has more than %d bytes", maxLine)
		}
	}
}

// check takes a line apart and verifies its checksum.
func (j *journal) check(raw []byte) (line, error) {
	content, sum, ok := cutLast(bytes.TrimSuffix(raw, []byte("\n")))
	chain := lineSum(j.chain, content)
	if !ok || string(sum) != hex.EncodeToString(chain[:])[:sumLen] {
		return line{}, errors.New("its checksum is wrong")
	}
	j.chain = chain
	kind, body, _ := bytes.Cut(content, []byte(" "))
	return line{string(kind), body}, nil
}

// cutLast cuts at the last space.
func cutLast(b []byte) (before, after []byte, ok bool) {
	i := bytes.LastIndexByte(b, ' ')
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+1:], true
}

// append writes lines and makes them count, together with a length of the ledger,
// which must be durable by now. On an error the state on disk is unknown.
func (j *journal) append(ledger uint64, lines []line, apply func(l line, offset int64, size int) error) error {
	var out []byte
	chain, sizes := j.chain, make([]int, 0, len(lines))
	for _, l := range lines {
		content := append(append([]byte(l.kind), ' '), l.body...)
		chain = lineSum(chain, content)
		before := len(out)
		out = fmt.Appendf(append(out, content...), " %s\n", chain.Hex()[:sumLen])
		if sizes = append(sizes, len(out)-before); len(out)-before > maxLine {
			return fmt.Errorf("a line of %d bytes for the monitor's state, more than %d", len(out)-before, maxLine)
		}
	}
	if j.size+int64(len(out)) > maxJournal {
		return fmt.Errorf("%s has reached its bound of %d bytes; move the folder away to begin anew", j.path(journalFile), int64(maxJournal))
	}
	if _, err := j.file.WriteAt(out, j.size); err != nil {
		return fmt.Errorf("writing the monitor's state: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("writing the monitor's state: %w", err)
	}
	// The lines are on disk, but do not count yet.
	if err := j.writeCommitted(committed{stateFormat, j.size + int64(len(out)), chain.Hex(), ledger}); err != nil {
		return err
	}
	for i, l := range lines {
		if err := apply(l, j.size, sizes[i]); err != nil {
			return err
		}
		j.size += int64(sizes[i])
	}
	j.chain = chain
	return nil
}

// at reads a line back.
func (j *journal) at(offset int64, size int) ([]byte, error) {
	raw := make([]byte, size)
	if n, err := j.file.ReadAt(raw, offset); n < size {
		return nil, fmt.Errorf("reading %s: %w", j.path(journalFile), err)
	}
	content, _, _ := cutLast(bytes.TrimSuffix(raw, []byte("\n")))
	_, body, _ := bytes.Cut(content, []byte(" "))
	return body, nil
}
