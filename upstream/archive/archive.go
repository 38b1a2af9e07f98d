package archive

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Archive is an open archive of which every byte was read and is what was written.
// Whether it is true nobody has judged. It is safe for concurrent use.
type Archive struct {
	s        *stream
	id       warg.Digest
	delta    bool
	base     warg.Digest
	sections []*section // by ascending domain
	files    []io.Closer
}

// section is what an archive has of one registry, and where in the stream.
type section struct {
	domain string
	head   warg.SignedCheckpoint
	base   warg.SignedCheckpoint // zero if it begins from nothing
	first  uint64                // length of base
	length uint64                // of head
	counts Counts

	largest int64 // bytes of the largest content

	baseLogsAt, baseContentsAt, checkpointsAt, ledgerAt, operatorAt, packagesAt, contentsAt int64

	packageMarks, contentMarks landmarks
}

// landmarks are some of the things that stand in the stream by ascending digest,
// each with its place. There is one in every landmarkStride bytes at most, so they
// take a small fraction of the file's size in memory.
type landmarks struct {
	marks []landmark
}

type landmark struct {
	digest warg.Digest
	at     int64
}

// landmarkStride is how many bytes a search reads at most, plus one thing.
const landmarkStride = 16 << 10

func (l *landmarks) note(digest warg.Digest, at int64) {
	if n := len(l.marks); n == 0 || at-l.marks[n-1].at >= landmarkStride {
		l.marks = append(l.marks, landmark{digest, at})
	}
}

// before returns the place of the last landmark that is not beyond digest.
func (l *landmarks) before(digest warg.Digest) (at int64, ok bool) {
	i, found := slices.BinarySearchFunc(l.marks, digest, func(m landmark, d warg.Digest) int { return m.digest.Compare(d) })
	if !found {
		i--
	}
	if i < 0 {
		return 0, false
	}
	return l.marks[i].at, true
}

// Open reads all parts of an archive, in order, to their end. The error is a
// [DamageError] if anything is not as it was written. progress, if not nil, is told
// how many bytes were read since it was called last. The parts must stay readable
// while the archive is used.
func Open(parts []Part, progress func(n int64)) (*Archive, error) {
	s, err := openStream(parts)
	if err != nil {
		return nil, err
	}
	a := &Archive{s: s}
	if err := scan(a, progress); err != nil {
		return nil, err
	}
	return a, nil
}

// OpenFiles opens the archives whose files are named. The parts of one must follow
// each other; where a first part comes, the next archive begins. Close must be
// called for each of them.
func OpenFiles(names []string, progress func(n int64)) (archives []*Archive, err error) {
	groups, err := openParts(names)
	defer func() {
		if err != nil {
			for _, a := range archives {
				a.Close()
			}
			archives = nil
		}
	}()
	for _, g := range groups {
		if err == nil {
			var a *Archive
			if a, err = Open(g.parts, progress); err == nil {
				a.files = g.files
				archives = append(archives, a)
				continue
			}
		}
		g.close()
	}
	return archives, err
}

// openFiles are the opened files of one archive.
type openFiles struct {
	parts []Part
	files []io.Closer
}

func (g *openFiles) close() {
	for _, f := range g.files {
		f.Close()
	}
}

// openParts opens files and groups them by archive.
func openParts(names []string) (groups []*openFiles, err error) {
	if len(names) == 0 {
		return nil, errors.New("no archive is named")
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return groups, err
		}
		part, err := partOf(f)
		var h header
		if err == nil {
			h, err = readHeader(part)
		}
		if err != nil {
			return groups, errors.Join(err, f.Close())
		}
		if h.number == 0 || len(groups) == 0 {
			groups = append(groups, &openFiles{})
		}
		g := groups[len(groups)-1]
		g.parts, g.files = append(g.parts, part), append(g.files, f)
	}
	return groups, nil
}

func partOf(f *os.File) (Part, error) {
	fi, err := f.Stat()
	if err != nil {
		return Part{}, err
	}
	if !fi.Mode().IsRegular() {
		return Part{}, fmt.Errorf("%s is not a regular file", f.Name())
	}
	return Part{Name: f.Name(), ReaderAt: f, Size: fi.Size()}, nil
}

// Close closes the files of an archive that [OpenFiles] opened.
func (a *Archive) Close() error {
	var all []error
	for _, f := range a.files {
		all = append(all, f.Close())
	}
	return errors.Join(all...)
}

// ID returns the archive's id, which is the same however it is split.
func (a *Archive) ID() warg.Digest { return a.id }

// Base returns the id of the archive that this one builds on; ok is false if it is
// a full one.
func (a *Archive) Base() (id warg.Digest, ok bool) { return a.base, a.delta }

// Domains returns the registries that the archive is about, in ascending order.
func (a *Archive) Domains() []string {
	all := make([]string, len(a.sections))
	for i, r := range a.sections {
		all[i] = r.domain
	}
	return all
}

// section returns what there is of a registry, or nil.
func (a *Archive) section(domain string) *section {
	i, ok := slices.BinarySearchFunc(a.sections, domain, func(r *section, d string) int { return cmp.Compare(r.domain, d) })
	if !ok {
		return nil
	}
	return a.sections[i]
}

// Cargo returns what the archive carries of a registry, nil if nothing.
func (a *Archive) Cargo(domain string) *Cargo {
	r := a.section(domain)
	if r == nil {
		return nil
	}
	return &Cargo{a: a, r: r}
}
