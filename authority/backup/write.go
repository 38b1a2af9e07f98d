package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Names in a backup, which are those below the data directory.
const (
	ownDir     = "authority"
	contentDir = "content"
)

// Site says where what is backed up stands.
type Site struct {
	FS         durable.FS
	Dir        string // of the authority's files
	ContentDir string
	AnchorFile string
	Data       string   // what Others are relative to
	Others     []string // further files and folders, with slashes; they need not exist
	Audit      string   // the audit log, relative to Data; its full files stand beside it. "" = none
}

// Result is what a backup consists of.
type Result struct {
	Directory string        `json:"directory"`
	Domain    string        `json:"domain"`
	Length    uint64        `json:"length"`
	LogRoot   warg.Digest   `json:"logRoot"`
	Files     int           `json:"files"`
	Bytes     int64         `json:"bytes"`
	Missing   int           `json:"missingContents"`
	Report    *check.Report `json:"-"`
}

// ErrNotEmpty says that there is something in the directory already.
var ErrNotEmpty = errors.New("the directory is not empty")

// writer is one backup.
type writer struct {
	s      Site
	c      *copier
	ctx    context.Context
	anchor anchor.Anchor
	raw    []byte
}

// Write makes a backup in a directory that must be empty or not exist yet. The registry
// may be in use. Damage that keeps it from being a good one is a [*DamageError], and the
// backup has no anchor then. tell is told how many bytes were copied; it may be nil.
func Write(ctx context.Context, s Site, dir string, tell func(bytes int64)) (*Result, error) {
	if err := beEmpty(s.FS, dir); err != nil {
		return nil, err
	}
	w := &writer{s: s, c: newCopier(s.FS, dir, tell), ctx: ctx}
	for _, step := range []func() error{w.pending, w.readAnchor, w.history, w.journal, w.contents, w.others, w.audit} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return nil, err
		}
	}
	return w.finish(dir)
}

func beEmpty(fsys durable.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return durable.MkdirAll(fsys, dir)
	case err != nil:
		return err
	case len(entries) > 0:
		return ErrNotEmpty
	}
	return nil
}

func (w *writer) path(name string) string { return filepath.Join(w.s.Dir, name) }

func (w *writer) segments(name string) *segment.Dir {
	return &segment.Dir{FS: w.s.FS, Path: w.path(name)}
}

// attempts is how often something that was changed while it was copied is copied again.
// Segments of submissions change places once in some megabytes.
const attempts = 20

// stable repeats a copy until what it is of stayed the same meanwhile.
func (w *writer) stable(what string, look func() (string, error), copy func() error) error {
	for range attempts {
		before, err := look()
		if err != nil {
			return err
		}
		mark := len(w.c.items)
		err = copy()
		after, lookErr := look()
		switch {
		case lookErr != nil:
			return lookErr
		case before == after:
			return err
		}
		// Files went or came meanwhile: an error may be due to that.
		if err := w.c.drop(mark); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s changed %d times while they were copied; try again when less is published", what, attempts)
}

// pending copies the submissions, of the newest segment what can be read.
func (w *writer) pending() error {
	dir := w.segments(authority.PendingDir)
	look := func() (string, error) {
		numbers, err := dir.Numbers()
		text := ""
		for _, n := range numbers {
			fi, err := w.s.FS.Stat(filepath.Join(dir.Path, segment.Name(n)))
			if err != nil {
				text += fmt.Sprintf("%d gone,", n)
				continue
			}
			p := durable.FingerprintOf(fi)
			text += fmt.Sprintf("%d %d,", n, p.Inode)
		}
		return text, err
	}
	return w.stable("submissions", look, func() error {
		numbers, err := dir.Numbers()
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if err := w.submissions(dir, n); err != nil {
				return err
			}
		}
		return nil
	})
}

func (w *writer) submissions(dir *segment.Dir, number uint64) error {
	r, err := dir.OpenReader(number)
	if err != nil {
		return damaged(err)
	}
	defer r.Close()
	size := r.Size()
	if _, sealed, err := r.Footer(); err != nil || !sealed {
		end, err := r.Scan(true, func(segment.Position, []byte) error { return w.ctx.Err() })
		if err != nil {
			return err
		}
		size = end.Offset
	}
	_, err = w.c.write(path.Join(ownDir, authority.PendingDir, segment.Name(number)), io.NewSectionReader(r.Bytes(), 0, size), size)
	return err
}

// damaged turns an error that says that files are not as they were written.
func damaged(err error) error {
	var d *segment.DamageError
	var h *anchor.DamageError
	switch {
	case errors.As(err, &d):
		return &DamageError{d.Path, fmt.Sprintf("byte %d: %s", d.Offset, d.Reason)}
	case errors.As(err, &h):
		return &DamageError{h.Path, fmt.Sprintf("block %d: %s", h.Block, h.Reason)}
	}
	return err
}

func (w *writer) readAnchor() (err error) {
	w.anchor, w.raw, err = anchor.Read(w.s.FS, w.s.AnchorFile)
	if err != nil && w.raw != nil {
		return &DamageError{w.s.AnchorFile, err.Error()}
	}
	return err
}

// history copies the checkpoints up to the anchor's. If a crash, or a server that is
// about to append it, left that out, the copy opens as after a crash.
func (w *writer) history() error {
	file := w.path(authority.HistoryFile)
	r, err := anchor.ReadHistory(w.s.FS, file, w.anchor.Registry)
	if errors.Is(err, fs.ErrNotExist) && w.anchor.IsGenesis() {
		return nil
	}
	if err != nil {
		return damaged(err)
	}
	defer r.Close()
	for !w.anchor.IsGenesis() {
		c, ok, err := r.Next()
		if err != nil {
			return damaged(err)
		}
		if !ok || c == w.anchor.Signed {
			break
		}
	}
	_, err = w.c.write(path.Join(ownDir, authority.HistoryFile), io.NewSectionReader(r.Bytes(), 0, r.Offset()), r.Offset())
	return err
}

// journal copies the segments up to the anchor's length, the last without its rest.
func (w *writer) journal() error {
	dir := w.segments(authority.LogDir)
	numbers, err := dir.Numbers()
	if err != nil {
		return err
	}
	for _, n := range numbers {
		err := w.segment(dir, n)
		if err != nil && w.ctx.Err() == nil {
			err = w.segment(dir, n) // it was being sealed, and cut where it ends
		}
		if err != nil {
			return damaged(err)
		}
	}
	return nil
}

func (w *writer) segment(dir *segment.Dir, number uint64) error {
	r, err := dir.OpenReader(number)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.First >= w.anchor.Length() && !w.anchor.IsGenesis() {
		return nil // of what was published meanwhile
	}
	size := r.Size()
	footer, sealed, err := r.Footer()
	if err != nil || !sealed || r.First+footer.Count > w.anchor.Length() {
		if size, err = w.endOf(r); err != nil {
			return err
		}
	}
	_, err = w.c.write(path.Join(ownDir, authority.LogDir, segment.Name(r.Number)), io.NewSectionReader(r.Bytes(), 0, size), size)
	return err
}

// endOf returns where the last record that the anchor covers ends.
func (w *writer) endOf(r *segment.Reader) (int64, error) {
	done := errors.New("done")
	end, err := r.Scan(false, func(_ segment.Position, b []byte) error {
		f, err := journal.Decode(b)
		if err == nil && f.Index >= w.anchor.Length() {
			err = done
		}
		return errors.Join(err, w.ctx.Err())
	})
	if err != nil && !errors.Is(err, done) {
		return 0, &DamageError{r.Path(), fmt.Sprintf("byte %d: %v", end.Offset, err)}
	}
	return end.Offset, nil
}

// contents copies all content, published or not, and hashes it on the way.
func (w *writer) contents() error {
	folders, err := w.s.FS.ReadDir(w.s.ContentDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range folders {
		if !f.IsDir() || len(f.Name()) != 2 { // unfinished, or damaged and set aside
			continue
		}
		files, err := w.s.FS.ReadDir(filepath.Join(w.s.ContentDir, f.Name()))
		if err != nil {
			return err
		}
		for _, file := range files {
			from := filepath.Join(w.s.ContentDir, f.Name(), file.Name())
			if _, err := w.c.file(from, path.Join(contentDir, f.Name(), file.Name())); err != nil {
				return err
			}
			last := w.c.items[len(w.c.items)-1]
			if last.sum.Hex() != f.Name()+file.Name() {
				return &DamageError{from, fmt.Sprintf("its bytes have digest %s", last.sum)}
			}
			if err := w.ctx.Err(); err != nil {
				return err
			}
		}
	}
	return nil
}

// others copies what belongs to the site besides.
func (w *writer) others() error {
	if _, err := w.c.file(w.path(authority.AdoptedFile), path.Join(ownDir, authority.AdoptedFile)); err != nil {
		return err
	}
	for _, name := range w.s.Others {
		if err := w.tree(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) tree(name string) error {
	from := filepath.Join(w.s.Data, filepath.FromSlash(name))
	fi, err := w.s.FS.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		if path.Ext(name) == ".tmp" {
			return nil
		}
		_, err := w.c.file(from, name)
		return err
	}
	entries, err := w.s.FS.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := errors.Join(w.ctx.Err(), w.tree(path.Join(name, e.Name()))); err != nil {
			return err
		}
	}
	return nil
}

// audit copies the audit log. A file that became full meanwhile has another name, and
// everything is copied again.
func (w *writer) audit() error {
	if w.s.Audit == "" {
		return nil
	}
	dir, base := filepath.Split(filepath.Join(w.s.Data, filepath.FromSlash(w.s.Audit)))
	list := func() (names []string, err error) {
		entries, err := w.s.FS.ReadDir(filepath.Clean(dir))
		for _, e := range entries {
			if e.Name() == base || len(e.Name()) > len(base) && e.Name()[:len(base)+1] == base+"." && path.Ext(e.Name()) != ".tmp" {
				names = append(names, e.Name())
			}
		}
		slices.Sort(names)
		return names, err
	}
	look := func() (string, error) {
		names, err := list()
		return fmt.Sprint(names), err
	}
	return w.stable("the files of the audit log", look, func() error {
		names, err := list()
		for _, name := range names {
			if err == nil {
				_, err = w.c.file(filepath.Join(dir, name), path.Join(path.Dir(w.s.Audit), name))
			}
		}
		return err
	})
}

// finish writes list and anchor, and reads everything back.
func (w *writer) finish(dir string) (*Result, error) {
	anchorName := path.Join(ownDir, authority.AnchorFile)
	if err := w.c.folder(filepath.Join(dir, ownDir)); err != nil {
		return nil, err
	}
	if err := w.c.settle(); err != nil {
		return nil, err
	}
	items := append(w.c.items, item{anchorName, warg.Sum(w.raw)})
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	if err := durable.Replace(w.s.FS, filepath.Join(dir, ListFile), encodeList(items), nil); err != nil {
		return nil, err
	}
	if err := durable.Replace(w.s.FS, filepath.Join(dir, filepath.FromSlash(anchorName)), w.raw, nil); err != nil {
		return nil, err
	}
	report, err := Verify(w.ctx, w.s.FS, dir, nil)
	if err != nil {
		return nil, err
	}
	return &Result{
		Directory: dir, Domain: report.Domain, Length: report.Length, LogRoot: report.LogRoot,
		Files: len(items), Bytes: w.c.bytes + int64(len(w.raw)), Missing: report.Missing, Report: report,
	}, nil
}
