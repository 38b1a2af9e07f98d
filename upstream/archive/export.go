package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// ExportOptions say what an archive is made of.
type ExportOptions struct {
	Sources  []Source
	Packages []warg.PackageName // whose records and content are carried; none = all that are held
	Since    *Archive           // make a delta that builds on it; nil = a full archive
	Stub     bool               // Since is not that archive, but a stub of it
	Progress func(Step)         // may be nil
}

// Step is progress: Done of Total things of a stage. Stages follow each other.
type Step struct {
	Domain      string
	Stage       string // "ledger", "records", "content"
	Done, Total int64
}

// Exported describes an archive that was written.
type Exported struct {
	ID         warg.Digest        `json:"id"`
	Registries []ExportedRegistry `json:"registries"`
}

// ExportedRegistry is what went into the archive of one registry. What is missing
// belongs to the chosen packages, and is not held here.
type ExportedRegistry struct {
	Domain string `json:"domain"`
	Length uint64 `json:"length"`
	Since  uint64 `json:"since,omitempty"` // length of the base
	Counts
	MissingPackages uint64 `json:"missingPackages,omitempty"`
	MissingContents uint64 `json:"missingContents,omitempty"`
}

// Export writes an archive to out, which is best a [Volumes]. The same state of the
// sources makes the same bytes.
func Export(ctx context.Context, out io.Writer, o ExportOptions) (Exported, error) {
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
	surveys, err := surveyAll(ctx, o)
	if err != nil {
		return Exported{}, err
	}
	w := newWriter(out)
	w.write(kindArchive, func(e *encoder) {
		if o.Since == nil {
			e.u8(formFull)
			e.u32(uint32(len(surveys)))
			return
		}
		e.u8(formDelta)
		e.u32(uint32(len(surveys)))
		id := o.Since.ID()
		if o.Stub {
			id, _ = o.Since.Base()
		}
		e.digest(id)
	})
	var done Exported
	for _, s := range surveys {
		x := &exporting{survey: s, w: w, progress: o.Progress}
		if err := x.run(ctx); err != nil {
			return Exported{}, fmt.Errorf("archiving registry `%s`: %w", s.src.Domain(), err)
		}
		done.Registries = append(done.Registries, x.done)
	}
	done.ID, err = w.end()
	return done, err
}

// surveyAll looks at all registries before anything is written, so that what cannot
// be archived is told at once.
func surveyAll(ctx context.Context, o ExportOptions) ([]*survey, error) {
	sources := slices.SortedFunc(slices.Values(o.Sources), func(a, b Source) int { return cmp.Compare(a.Domain(), b.Domain()) })
	if len(sources) == 0 {
		return nil, errors.New("there is no registry to archive")
	}
	if o.Since != nil {
		for _, domain := range o.Since.Domains() {
			if !slices.ContainsFunc(sources, func(s Source) bool { return s.Domain() == domain }) {
				return nil, fmt.Errorf("the older archive is about registry `%s`, which is not to be archived now; name it as well, or begin anew with a full archive", domain)
			}
		}
	}
	found := make(map[warg.PackageName]bool)
	var all []*survey
	for i, src := range sources {
		if i > 0 && sources[i-1].Domain() == src.Domain() {
			return nil, fmt.Errorf("registry `%s` is named twice", src.Domain())
		}
		s := &survey{src: src, chosen: o.Packages}
		if o.Since != nil {
			s.since = o.Since.Cargo(src.Domain())
		}
		if err := s.look(ctx, o.Progress); err != nil {
			return nil, fmt.Errorf("looking at registry `%s`: %w", src.Domain(), err)
		}
		for _, name := range o.Packages {
			found[name] = found[name] || s.has(name.LogID())
		}
		all = append(all, s)
	}
	for _, name := range o.Packages {
		if !found[name] {
			return nil, fmt.Errorf("package `%s` is not in any of these registries, as far as they are known here", name)
		}
	}
	return all, nil
}
