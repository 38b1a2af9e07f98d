package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Options say what to check.
type Options struct {
	FS         durable.FS
	Dir        string // of the authority's files
	ContentDir string
	AnchorFile string // "" = in Dir
	// Index is the database of the index, nil = the index is not looked at. Nobody else
	// may have it open.
	Index index.Database
	// Adopt are namespaces that must be adopted, and from where: the file that says so has
	// no checksum. May be nil.
	Adopt map[string]string
	// Progress is told how many bytes were read, of how many. It may be nil.
	Progress func(done, total int64)
}

// checker is one run.
type checker struct {
	o        Options
	ctx      context.Context
	report   Report
	anchor   anchor.Anchor
	anchored bool        // anchor is sound
	registry warg.Digest // that everything belongs to
	total    int64       // bytes to read
	rejected map[rejection]bool
}

// Run checks a registry. An error means that it could not be read to the end; what is
// wrong with what was read stands in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.AnchorFile == "" {
		o.AnchorFile = filepath.Join(o.Dir, authority.AnchorFile)
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	c := &checker{o: o, ctx: ctx, rejected: map[rejection]bool{}}
	if err := c.run(); err != nil {
		return nil, fmt.Errorf("checking the registry in %s: %w", o.Dir, err)
	}
	return &c.report, nil
}

func (c *checker) run() error {
	if err := c.measure(); err != nil {
		return err
	}
	if err := c.readAnchor(); err != nil {
		return err
	}
	r, err := c.newReplay()
	if err != nil {
		return err
	}
	defer r.close()
	if err := c.readJournal(r); err != nil {
		return err
	}
	if err := r.finish(); err != nil {
		return err
	}
	if err := c.readPending(); err != nil {
		return err
	}
	r.strays()
	if err := c.readContent(r.released); err != nil {
		return err
	}
	return c.readAdopted(r)
}

func (c *checker) path(name string) string { return filepath.Join(c.o.Dir, name) }

func (c *checker) segments(name string) *segment.Dir {
	return &segment.Dir{FS: c.o.FS, Path: c.path(name)}
}

// say adds a finding. at is where, in bytes.
func (c *checker) say(class Class, file string, at int64, format string, args ...any) {
	c.report.add(Finding{Class: class, File: file, Offset: at, Reason: fmt.Sprintf(format, args...)})
}

// note adds a finding that the next start mends.
func (c *checker) note(class Class, file string, at int64, format string, args ...any) {
	c.report.add(Finding{Class: class, File: file, Offset: at, Reason: fmt.Sprintf(format, args...), Harmless: true})
}

// read counts bytes that were read.
func (c *checker) read(bytes int64) {
	c.report.Bytes += bytes
	c.o.Progress(min(c.report.Bytes, c.total), c.total)
}

// measure sums up what there is to read.
func (c *checker) measure() error {
	for _, dir := range []string{c.path(authority.LogDir), c.path(authority.PendingDir), c.o.ContentDir} {
		err := walk(c.o.FS, dir, func(_ string, fi fs.FileInfo) error {
			c.total += fi.Size()
			return c.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// walk visits all files below a directory, which need not exist, by name.
func walk(fsys durable.FS, dir string, visit func(name string, fi fs.FileInfo) error) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			if err := walk(fsys, name, visit); err != nil {
				return err
			}
			continue
		}
		fi, err := fsys.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return err
		}
		if err := visit(name, fi); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) readAnchor() error {
	a, _, err := anchor.Read(c.o.FS, c.o.AnchorFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.say(Anchor, c.o.AnchorFile, 0, "there is none")
	case errors.As(err, new(syscall.Errno)):
		return err
	case err != nil:
		c.say(Anchor, c.o.AnchorFile, 0, "%v", err)
	default:
		c.anchor, c.anchored, c.registry = a, true, a.Registry
		c.report.Domain, c.report.Length, c.report.Frozen = a.Domain, a.Length(), a.Frozen
		if !a.IsGenesis() {
			c.report.LogRoot, err = a.Signed.Unverified().LogRoot.Digest()
		}
		return err
	}
	return c.findRegistry()
}

// findRegistry takes the first segment's word for which registry this is, where no
// anchor says so.
func (c *checker) findRegistry() error {
	dir := c.segments(authority.LogDir)
	numbers, err := dir.Numbers()
	if err != nil || len(numbers) == 0 {
		return err
	}
	r, err := dir.OpenReader(numbers[0])
	if errors.As(err, new(*segment.DamageError)) {
		return nil // said when the journal is read
	}
	if err != nil {
		return err
	}
	c.registry = r.Registry
	return r.Close()
}

// readAdopted reads which namespaces are adopted. The file has no checksum, but every
// namespace in it is defined in the operator log, unless a crash came in between.
func (c *checker) readAdopted(r *replay) error {
	file := c.path(authority.AdoptedFile)
	known, err := authority.ReadAdopted(c.o.FS, c.o.Dir)
	if errors.As(err, new(*authority.ConfigError)) {
		c.say(Adopted, file, 0, "%v", err)
		return nil
	}
	if err != nil || r.stopped {
		return err
	}
	for ns, domain := range c.o.Adopt {
		if state, ok := r.ops.Namespace(ns); ok && state.Defined && known[ns] != domain {
			c.say(Adopted, file, 0, "namespace `%s` is configured as adopted from `%s`, the file says `%s`", ns, domain, known[ns])
		}
	}
	for ns := range known {
		if state, ok := r.ops.Namespace(ns); !ok || !state.Defined {
			c.note(Adopted, file, 0, "namespace `%s` is not defined in the operator log", ns)
		}
	}
	return nil
}
