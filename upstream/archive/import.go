package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// ImportOptions say what is imported, and where.
type ImportOptions struct {
	Archives []*Archive // in the order in which they build on each other

	// Replica returns the replica of a registry, nil if the site has none. To import
	// means to fill it; to verify, only to compare with it. A nil Replica has none.
	Replica func(domain string) *upstream.Replica
	// Pin returns, for verifying, the operator key of a registry that there is no
	// replica of. "" means any: then what is verified is that the archive agrees with
	// itself. A nil Pin has none.
	Pin func(domain string) warg.KeyID

	// Scratch makes an empty store for what is verified. Dir is a folder for it, made
	// anew and deleted with everything in it.
	Scratch func(dir string) (Scratch, error)
	TempDir string // where Dir is made, "" = os.TempDir

	// Free returns the bytes that there is room for. nil = nobody looks.
	Free func() (uint64, error)

	MaxContent int64            // bytes of one content where there is no replica, 0 = the default
	Now        func() time.Time // nil = time.Now
	Progress   func(Step)       // may be nil
}

// Scratch makes stores that nobody needs afterwards.
type Scratch interface {
	// Store returns the store of a registry, which must hold nothing.
	Store(domain string) (upstream.Store, error)
	Close() error
}

// Verified is what archives lead to for one registry.
type Verified struct {
	Domain      string          `json:"domain"`
	Checkpoint  warg.Checkpoint `json:"-"`
	OperatorKey warg.KeyID      `json:"operatorKey"` // that everything hangs on
	Pinned      bool            `json:"pinned"`      // it is the one that this site believes
}

// Import verifies what the archives carry and then, if all of it is true for all
// registries, stores it. It is told in the order of the domains what that brought.
//
// The error is a [DamageError], an [*warg.Error] of KindUpstreamInvalid, whose
// evidence [upstream.EvidenceOf] returns, one of KindForbidden for a registry that the
// site does not know or has no key of, one of KindNotFound if something is missing on
// which the archives build, or one of KindNoSpace.
func Import(ctx context.Context, o ImportOptions) (done []upstream.Imported, err error) {
	for _, domain := range o.domains() {
		if o.replica(domain) == nil {
			return nil, warg.Errorf(warg.KindForbidden, "registry `%s` is not an upstream here; add it to the configuration with its operator_key first", domain)
		}
	}
	err = o.stage(ctx, func(stages []*upstream.Stage) error {
		if err := o.fits(stages); err != nil {
			return err
		}
		copied := map[string]int64{}
		done, err = upstream.Commit(ctx, stages, func(domain string, n int64) {
			copied[domain] += n
			o.Progress(Step{domain, "content", copied[domain], o.contentBytes(domain)})
		})
		return err
	})
	return done, err
}

// Verify verifies what the archives carry, and stores nothing. Where the site has a
// replica it is compared with that. Errors are those of [Import].
func Verify(ctx context.Context, o ImportOptions) (done []Verified, err error) {
	err = o.stage(ctx, func(stages []*upstream.Stage) error {
		for i, s := range stages {
			cp, key := s.Checkpoint()
			domain := o.domains()[i]
			done = append(done, Verified{domain, cp, key, o.replica(domain) != nil || o.pin(domain) != ""})
		}
		return nil
	})
	return done, err
}

// fits fails if there is no room for what the archives bring.
func (o *ImportOptions) fits(stages []*upstream.Stage) error {
	if o.Free == nil {
		return nil
	}
	need := uint64(0)
	for _, s := range stages {
		n, err := s.Room()
		if err != nil {
			return err
		}
		need += uint64(n)
	}
	free, err := o.Free()
	if err != nil {
		return err
	}
	if need > free {
		return warg.Errorf(warg.KindNoSpace, "the archive brings %d bytes of content, and there is room for %d", need, free)
	}
	return nil
}

// domains returns the registries that any of the archives is about, in ascending
// order.
func (o *ImportOptions) domains() (all []string) {
	for _, a := range o.Archives {
		all = append(all, a.Domains()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (o *ImportOptions) replica(domain string) *upstream.Replica {
	if o.Replica == nil {
		return nil
	}
	return o.Replica(domain)
}

func (o *ImportOptions) pin(domain string) warg.KeyID {
	if o.Pin == nil {
		return ""
	}
	return o.Pin(domain)
}

func (o *ImportOptions) contentBytes(domain string) (n int64) {
	for _, a := range o.Archives {
		if c := a.Cargo(domain); c != nil {
			n += int64(c.Counts().ContentBytes)
		}
	}
	return n
}

// stage verifies everything in a scratch store and lets f go on from there.
func (o *ImportOptions) stage(ctx context.Context, f func([]*upstream.Stage) error) (err error) {
	if len(o.Archives) == 0 {
		return errors.New("no archive is named")
	}
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
	dir, err := os.MkdirTemp(o.TempDir, "import-*")
	if err != nil {
		return fmt.Errorf("making a scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	scratch, err := o.Scratch(filepath.Join(dir, "store"))
	if err != nil {
		return fmt.Errorf("making a scratch store: %w", err)
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	var stages []*upstream.Stage
	defer func() {
		for _, s := range stages {
			err = errors.Join(err, s.Close())
		}
	}()
	for i, domain := range o.domains() {
		store, err := scratch.Store(domain)
		if err != nil {
			return fmt.Errorf("making a scratch store: %w", err)
		}
		s, err := o.open(ctx, domain, store, filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		stages = append(stages, s)
	}
	for i, domain := range o.domains() {
		if err := o.load(ctx, stages[i], domain); err != nil {
			return err
		}
	}
	return f(stages)
}

// open opens the stage of one registry.
func (o *ImportOptions) open(ctx context.Context, domain string, store upstream.Store, dir string) (*upstream.Stage, error) {
	if r := o.replica(domain); r != nil {
		return r.Stage(ctx, store, dir)
	}
	return upstream.OpenStage(ctx, upstream.StageOptions{Domain: domain, OperatorKey: o.pin(domain), Store: store, Dir: dir, MaxContent: o.MaxContent, Now: o.Now})
}

// load verifies what all archives have of one registry, one after another.
func (o *ImportOptions) load(ctx context.Context, s *upstream.Stage, domain string) error {
	steps := int64(len(o.Archives))
	for i, a := range o.Archives {
		o.Progress(Step{domain, "verifying", int64(i), steps})
		c := a.Cargo(domain)
		if c == nil {
			continue
		}
		if err := s.Load(ctx, c); err != nil {
			return err
		}
	}
	o.Progress(Step{domain, "verifying", steps, steps})
	if o.replica(domain) == nil {
		return nil
	}
	return s.Judge()
}
