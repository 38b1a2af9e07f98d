package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// StageOptions say what a stage verifies with.
type StageOptions struct {
	Domain      string
	OperatorKey warg.KeyID // the pin; "" = the key that is seen first, which only looking at an archive allows
	Store       Store      // a scratch store that holds nothing
	Dir         string     // a scratch folder

	MaxContent int64            // 0 = DefaultMaxContent
	MaxLength  uint64           // 0 = DefaultMaxLength
	Now        func() time.Time // nil = time.Now
}

// Stage verifies cargoes in a scratch store, as if they came from the registry
// itself, before anything of them reaches the replica that they are for. It is a
// replica of its own: what one cargo brings the next builds on.
//
// A stage is used by one goroutine. After an error it is thrown away with its store.
type Stage struct {
	o       StageOptions
	of      *Replica // what the import is for, nil if nothing is imported
	scratch *Replica
	cargoes []Cargo
}

// OpenStage opens a stage for looking at archives alone.
func OpenStage(ctx context.Context, o StageOptions) (*Stage, error) {
	if o.MaxContent <= 0 {
		o.MaxContent = DefaultMaxContent
	}
	scratch, err := Open(ctx, Options{
		Domain: o.Domain, Store: o.Store, // the transport is the cargo that is being loaded
		OperatorKey: o.OperatorKey, TrustFirstKey: o.OperatorKey == "",
		Dir: filepath.Join(o.Dir, "trusted"), EvidenceDir: filepath.Join(o.Dir, "evidence"), TempDir: o.Dir, FS: unsynced{durable.OS{}},
		MaxContent: o.MaxContent, MaxLength: o.MaxLength, Now: o.Now,
		Log: slog.New(slog.DiscardHandler), // what is wrong is returned
	})
	if err != nil {
		return nil, err
	}
	return &Stage{o: o, scratch: scratch}, nil
}

// Stage opens a stage for an import into the replica. An archive is no place to
// trust a key from, so without a pin, and without anything that was verified before,
// it fails with KindForbidden.
func (r *Replica) Stage(ctx context.Context, store Store, dir string) (*Stage, error) {
	h := r.trusted.current()
	pin := r.o.OperatorKey
	if pin == "" {
		pin = h.OperatorKey
	}
	if pin == "" {
		return nil, warg.Errorf(warg.KindForbidden, "registry `%s` has no pinned operator key, and an archive is no place to trust one from; set operator_key", r.o.Domain)
	}
	s, err := OpenStage(ctx, StageOptions{
		Domain: r.o.Domain, OperatorKey: pin, Store: store, Dir: dir,
		MaxContent: r.o.MaxContent, MaxLength: r.o.MaxLength, Now: r.o.Now,
	})
	if err != nil {
		return nil, err
	}
	s.of = r
	return s, nil
}

// Close closes the stage, not its store.
func (s *Stage) Close() error { return s.scratch.Close() }

// Checkpoint returns what the cargoes lead to, and the key that everything hangs on.
func (s *Stage) Checkpoint() (warg.Checkpoint, warg.KeyID) {
	v := s.scratch.view.Load()
	if v == nil {
		return warg.Checkpoint{}, ""
	}
	return v.cp, v.op.signer
}

// Load verifies a cargo, as far as that can be done without what it is for: keys and
// signatures, both roots at every length, every record, every name. It fails with
// KindUpstreamInvalid, see [ClassOf], or, if the cargo builds on something that is
// not here, with KindNotFound.
//
// Content is not looked at: whoever opened the archive has compared it with its
// digests, and [Stage.Commit] does so again.
func (s *Stage) Load(ctx context.Context, c Cargo) error {
	s.scratch.o.Transport = c
	view, err := c.Checkpoint(ctx)
	if err == nil {
		err = s.load(ctx, c, view.Signed)
	}
	if err != nil {
		return fmt.Errorf("verifying what the archive has of registry `%s`: %w", s.o.Domain, s.convict(err))
	}
	s.cargoes = append(s.cargoes, c)
	return nil
}

func (s *Stage) load(ctx context.Context, c Cargo, head warg.SignedCheckpoint) error {
	if err := s.base(ctx, c); err != nil {
		return err
	}
	if err := s.grow(ctx, c, head); err != nil {
		return err
	}
	if err := s.packages(ctx, c); err != nil {
		return err
	}
	for stat, err := range c.Contents() {
		if err != nil {
			return err
		}
		if stat.Size > s.o.MaxContent {
			return refuse(ClassEndless, "content `%s` of %d bytes is larger than the limit of %d", stat.Digest, stat.Size, s.o.MaxContent)
		}
	}
	return nil
}

// convict turns a contradiction into a refusal with evidence. It was signed twice by
// the registry, so however it reached us the replica believes it nothing more.
func (s *Stage) convict(err error) error {
	var c *contradiction
	if !errors.As(err, &c) {
		return err
	}
	now := s.scratch.o.Now()
	if s.of != nil {
		return s.of.quarantine(c, now)
	}
	return c.refusal(s.o.Domain, now)
}
