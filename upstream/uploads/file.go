package uploads

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

const (
	maxFile = 256 << 20 // bytes that are read: more than is ever written
	sumLen  = 16        // hexadecimal digits of a line's checksum
	spare   = 1 << 10   // lines that may be over before the file is written anew
)

// targetsFile is the file of a book: a line for each entry, appended. It is written
// under the book's lock.
type targetsFile struct {
	fsys  durable.FS
	path  string
	lines int   // in the file
	size  int64 // of the file, up to the end of its last good line
	bad   bool  // what stands in it is not known: it is written anew next
}

// line is how an entry is written.
type line struct {
	Name     string        `json:"name"`
	End      int64         `json:"end"`
	Registry string        `json:"registry"`
	LogID    warg.LogID    `json:"logId"`
	RecordID warg.RecordID `json:"recordId"`
	Digest   warg.Digest   `json:"digest"`
	Method   string        `json:"method"`
	URL      string        `json:"url"`
}

func (e entry) appendTo(dst []byte) ([]byte, error) {
	t := e.target
	text, err := json.Marshal(line{hex.EncodeToString(e.name[:]), e.end, t.Registry, t.LogID, t.RecordID, t.Digest, t.Site.Method, t.Site.URL})
	if err != nil {
		return nil, fmt.Errorf("encoding the target of an upload: %w", err)
	}
	dst = append(append(append(dst, text...), ' '), checksum(text)...)
	return append(dst, '\n'), nil
}

func checksum(b []byte) string {
	sum := warg.Sum(b)
	return hex.EncodeToString(sum[:])[:sumLen]
}

func parseLine(text []byte) (entry, error) {
	text, whole := bytes.CutSuffix(text, []byte("\n"))
	i := bytes.LastIndexByte(text, ' ')
	if !whole || i < 0 || checksum(text[:i]) != string(text[i+1:]) {
		return entry{}, errors.New("the checksum is wrong")
	}
	var l line
	if err := json.Unmarshal(text[:i], &l); err != nil {
		return entry{}, err
	}
	e := entry{end: l.End, target: upstream.UploadTarget{
		Registry: l.Registry, LogID: l.LogID, RecordID: l.RecordID, Digest: l.Digest,
		Site: warg.UploadSite{Method: l.Method, URL: l.URL},
	}}
	raw, err := hex.DecodeString(l.Name)
	if err != nil || len(raw) != nameSize {
		return entry{}, errors.New("the name is none")
	}
	e.name = name(raw)
	return e, nil
}

// read returns what the file has. A damaged line, for example one that was being
// written when the power went, costs one address, which nobody was given yet.
func (f *targetsFile) read(log *slog.Logger) ([]entry, error) {
	text, err := durable.ReadFile(f.fsys, f.path, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		f.bad = true // there is none to append to
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the targets of uploads: %w", err)
	}
	var entries []entry
	for text := range bytes.Lines(text) {
		e, err := parseLine(text)
		if err != nil {
			log.Warn("the target of an upload is damaged", "file", f.path, "line", f.lines+1, "error", err)
			f.bad = true
		} else {
			entries = append(entries, e)
		}
		f.lines++
		f.size += int64(len(text))
	}
	return entries, nil
}

// due reports whether the file has to be written anew to take another entry.
func (f *targetsFile) due(live int) bool { return f.bad || f.lines > 2*live+spare }

// rewrite replaces the file by one with these entries.
func (f *targetsFile) rewrite(entries map[name]entry, more entry) error {
	f.bad = true
	text, err := more.appendTo(nil)
	for _, e := range entries {
		if err == nil {
			text, err = e.appendTo(text)
		}
	}
	if err == nil {
		err = durable.Replace(f.fsys, f.path, text, nil)
	}
	if err != nil {
		return err
	}
	f.lines, f.size, f.bad = len(entries)+1, int64(len(text)), false
	return nil
}

// append adds a line and returns when it is durable.
func (f *targetsFile) append(e entry) (err error) {
	text, err := e.appendTo(nil)
	if err != nil {
		return err
	}
	file, err := f.fsys.OpenWrite(f.path)
	if err != nil {
		f.bad = true
		return err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		f.bad = err != nil
	}()
	if _, err := file.WriteAt(text, f.size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	f.lines, f.size = f.lines+1, f.size+int64(len(text))
	return nil
}
