package upstream

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/entrepot/entrepot/internal/durable"
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
	name := filepath.Join(dir, acceptedFile)
	b, err := durable.ReadFile(fsys, name, maxAccepted)
	if errors.Is(err, fs.ErrNotExist) {
		return flaws, nil
	}
	if err != nil {
		return flaws, err
	}
	length := uint64(0)
	for offset := 0; offset < len(b); {
		line, whole := b[offset:], false
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line, whole = line[:end], true
		}
		text, err := cutChecksum(line)
		if err == nil {
			s, bad := api.ParseCheckpoint(text)
			if err = bad; err == nil {
				length = max(length, s.Unverified().LogLength)
			}
		}
		if err != nil && whole {
			flaws = append(flaws, Flaw{name, int64(offset), err.Error()})
		}
		offset += len(line) + 1
	}
	if t.head.Format == 0 && length > 0 && len(flaws) == 0 {
		flaws = append(flaws, Flaw{t.path(headFile), 0, "it is missing, but checkpoints were accepted"})
	}
	return flaws, nil
}
