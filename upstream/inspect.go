package upstream

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Flaw is something in the directory of an upstream that is not as it was written.
type Flaw struct {
	File   string
	Offset int64 // in bytes
	Reason string
}

// Inspect reads what is remembered of a registry, and writes nothing. The error is
// [fs.ErrNotExist] if nothing is. An unfinished last line of the accepted checkpoints is
// what a crash leaves, and no flaw.
func Inspect(fsys durable.FS, dir, domain string) (flaws []Flaw, err error) {
	if _, err := fsys.Stat(dir); err != nil {
		return nil, err
	}
	t := &trusted{fsys: fsys, dir: dir, domain: domain, log: slog.New(slog.DiscardHandler)}
	if err := t.readHead(); err != nil {
		if errors.As(err, new(*fs.PathError)) {
			return nil, err
		}
		flaws = append(flaws, Flaw{t.path(headFile), 0, err.Error()})
	}
	lines, err := readAcceptedLines(fsys, dir)
	if err != nil {
		return flaws, err
	}
	length := uint64(0)
	for _, l := range lines {
		if l.bad != nil {
			flaws = append(flaws, Flaw{filepath.Join(dir, acceptedFile), l.offset, l.bad.Error()})
		} else {
			length = max(length, l.signed.Unverified().LogLength)
		}
	}
	if t.head.Format == 0 && length > 0 && len(flaws) == 0 {
		flaws = append(flaws, Flaw{t.path(headFile), 0, "it is missing, but checkpoints were accepted"})
	}
	return flaws, nil
}

// acceptedLine is a whole line of accepted.log: a checkpoint, or what is wrong with it.
type acceptedLine struct {
	offset int64
	signed warg.SignedCheckpoint
	bad    error
}

// readAcceptedLines reads accepted.log, which need not exist, without its last line if a
// crash left that unfinished.
func readAcceptedLines(fsys durable.FS, dir string) (lines []acceptedLine, err error) {
	b, err := durable.ReadFile(fsys, filepath.Join(dir, acceptedFile), maxAccepted)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	offset := int64(0)
	for line := range bytes.Lines(b) {
		l := acceptedLine{offset: offset}
		offset += int64(len(line))
		text, whole := bytes.CutSuffix(line, []byte("\n"))
		if text, l.bad = cutChecksum(text); l.bad == nil {
			l.signed, l.bad = api.ParseCheckpoint(text)
		}
		if whole || l.bad == nil {
			lines = append(lines, l)
		}
	}
	return lines, nil
}
