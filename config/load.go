package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// DefaultFile is read from the working folder if no file is named and it exists.
const DefaultFile = "entrepot.toml"

// maxFile is far beyond any file written by people, and small enough to parse at
// every start; a device or an image named by accident ends here.
const maxFile = 4 << 20

// Options say where a configuration comes from.
type Options struct {
	File   string            // "" = DefaultFile in Folder, if it is there
	Folder string            // the working folder; "" = that of the process
	Env    []string          // "KEY=value", as os.Environ returns them
	Flags  map[string]string // by key at the top of the file: "listen", "base_url"
}

// Load reads and checks a configuration. The error is an [*Error] that holds every
// complaint; the Config is nil then.
func Load(o Options) (*Config, error) {
	folder, name, text, err := o.open()
	if err != nil {
		return nil, err
	}
	c := defaults(folder)
	c.File = name
	r := &reader{c: c, folder: folder}
	if name != "" && !r.file(name, text) {
		return nil, Complain(r.problems)
	}
	r.folder = o.Folder
	r.environment(o.Env)
	r.flags(o.Flags)
	c.check(&r.problems)
	if err := Complain(r.problems); err != nil {
		return nil, err
	}
	return c, nil
}

// open reads the file, if there is one, and returns the folder that relative
// paths in it are relative to.
func (o *Options) open() (folder, name string, text []byte, err error) {
	name = o.File
	file := name
	if name == "" {
		name, file = DefaultFile, filepath.Join(o.Folder, DefaultFile)
	} else if !filepath.IsAbs(file) {
		file = filepath.Join(o.Folder, file)
	}
	text, err = readFile(file)
	switch {
	case err == nil:
		return filepath.Dir(file), name, text, nil
	case o.File == "" && errors.Is(err, fs.ErrNotExist):
		return o.Folder, "", nil, nil
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return "", "", nil, &Error{[]Problem{{Source{Name: name}, fmt.Sprintf("reading the configuration: %v", err)}}}
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("is larger than %d bytes", maxFile)
	}
	return text, err
}

// reader stores the values of one file, of the environment and of flags.
type reader struct {
	c        *Config
	folder   string
	problems problems
}

// file reads the file; false means that it is not TOML at all.
func (r *reader) file(name string, text []byte) bool {
	root, problem := parseTree(name, text)
	if problem != nil {
		r.problems = append(r.problems, *problem)
		return false
	}
	r.table(r.c.schema(), root)
	return true
}

// table reads a table; path names it.
func (r *reader) table(t table, n *node, path ...string) {
	r.c.sources[join(path...)] = n.key
	for _, name := range n.names {
		c := n.child[name]
		here := append(slices.Clone(path), name)
		if f, ok := t.field(name); ok {
			r.value(f, c, here)
		} else if s, ok := t.subtable(name); ok {
			r.subtable(s, c, here)
		} else {
			r.problems.add(c.key, "%s", t.unknown(name, here))
		}
	}
}

func (r *reader) subtable(s subtable, n *node, path []string) {
	switch {
	case s.each != nil && n.kind == kindArray && allTables(n.items):
		for i, item := range n.items {
			s.each(r, i, item)
		}
	case s.each != nil:
		r.problems.add(n.at, "%s must be a list of tables, not %s", strings.Join(path, "."), n.describe())
	case n.kind != kindTable:
		r.problems.add(n.at, "%s must be a table, not %s", strings.Join(path, "."), n.describe())
	case s.named != nil:
		for _, name := range n.names {
			if c := n.child[name]; c.kind == kindTable {
				s.named(r, name, c)
			} else {
				r.problems.add(c.key, "%s.%q must be a table, not %s", s.name, name, c.describe())
			}
		}
	default:
		r.table(*s.table, n, path...)
	}
}

func allTables(items []*node) bool {
	return !slices.ContainsFunc(items, func(n *node) bool { return n.kind != kindTable })
}

// value reads one setting.
func (r *reader) value(f field, n *node, path []string) {
	name := path[len(path)-1]
	r.c.sources[join(path...)] = n.at
	switch {
	case n.kind != f.kind && (!f.size || n.kind != kindInteger):
		r.problems.add(n.at, "%s must be %s, not %s", name, f.kind, n.describe())
	case f.kind == kindArray:
		f.wipe()
		for i, item := range n.items {
			r.c.sources[join(path...)+sep+itoa(i)] = item.at
			if item.kind != kindText {
				r.problems.add(item.at, "an entry of %s must be a text, not %s", name, item.describe())
			} else if err := f.set(item.text, r.folder); err != nil {
				r.problems.add(item.at, "an entry of %s %v", name, err)
			}
		}
	default:
		if err := f.set(n.text, r.folder); err != nil {
			r.problems.add(n.at, "%s %v", name, err)
		}
	}
}

// sep joins the keys of a path; it cannot stand in a key that is accepted.
const sep = "\x00"

func join(path ...string) string { return strings.Join(path, sep) }

func itoa(i int) string { return strconv.Itoa(i) }
