// Package peering compares what two installations saw of the same registries.
//
// Each of the two mirrors the other. After a start one asks the other whether it saw
// more of its own registry than its directory knows: a copy of yesterday cannot know
// by itself that it is one. While they run they show each other the checkpoints that
// they were shown, of their own registries and of all that both answer for: a registry
// that tells two of its readers different histories is found out by both.
//
// Nothing that a peer says is believed. It brings signed statements; who signs is
// judged by those who know the keys, see [Registry].
package peering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Peer is the other installation.
type Peer interface {
	// Held returns the newest checkpoint that the peer holds of a registry. ok is false
	// if it holds none. KindNotFound means that it does not answer for that registry.
	Held(ctx context.Context, registry string) (s warg.SignedCheckpoint, ok bool, err error)
	// Verify shows the peer a checkpoint.
	Verify(ctx context.Context, registry string, s warg.SignedCheckpoint) (warg.Verification, error)
	// Consistency asks for proof that the log of a registry was only appended to.
	Consistency(ctx context.Context, registry string, from, to uint64) ([]byte, error)
}

// Registry is one whose checkpoints are compared.
type Registry interface {
	Domain() string
	// Head returns the newest checkpoint that is served here; it is not ok while none is.
	Head() (warg.SignedCheckpoint, bool)
	// Saw judges what a peer holds, nil if nothing. prove asks the peer for proofs. The
	// error says that the answer does not count, or cannot be judged, see [NothingKnown],
	// or, see [Alarm], what it proves.
	Saw(ctx context.Context, peer string, held *warg.SignedCheckpoint, prove func(ctx context.Context, from, to uint64) ([]byte, error)) error
}

// Alarm is an error of [Registry.Saw] about a checkpoint that cannot be true together
// with what is known. Its evidence is kept already.
type Alarm struct{ Err error }

// Error says what was found.
func (a *Alarm) Error() string { return a.Err.Error() }

// Unwrap returns it.
func (a *Alarm) Unwrap() error { return a.Err }

// NothingKnown is an error of [Registry.Saw]: nothing is known here that a checkpoint
// could be compared with, or no more since its registry was convicted.
type NothingKnown struct{}

// Error says so.
func (NothingKnown) Error() string { return "nothing is known that it could be compared with" }

// DefaultInterval is how often two peers compare everything, or up to a quarter sooner.
const DefaultInterval = time.Minute

const (
	askTimeout   = 10 * time.Second // one question
	firstPause   = time.Second      // before a peer that did not answer is asked again, doubled each time
	longestPause = time.Minute
	headCheck    = time.Second // how often it is looked whether there is a new head
)

// Options say who is compared with whom.
type Options struct {
	Domain   string // of the peer
	Peer     Peer
	Own      Registry
	Others   []Registry    // that are mirrored here, without the peer's own
	Interval time.Duration // 0 = DefaultInterval
	Now      func() time.Time
	Chance   func(d time.Duration) time.Duration // draws from [0, d), d > 0; nil = at random
	Log      *slog.Logger
}

// Link is the comparison with one peer.
type Link struct {
	o    Options
	news map[string]*news // by registry, all that are compared; only of Run

	mu     sync.Mutex
	status Status // under mu
}

// New returns a link. Nothing is asked before [Link.Run].
func New(o Options) *Link {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Chance == nil {
		o.Chance = rand.N[time.Duration] //nolint:gosec // nobody gains anything by knowing it
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Link{o: o, news: map[string]*news{o.Own.Domain(): {}}}
	for _, r := range o.Others {
		l.news[r.Domain()] = &news{}
	}
	l.status = Status{Domain: o.Domain, Checks: map[Result]uint64{}}
	for r := range results {
		l.status.Checks[r] = 0
	}
	return l
}

// Run compares until ctx ends: first our own registry, as soon as the peer answers,
// then everything, again and again, and each new head as soon as there is one. From the
// beginning of one comparison of everything to that of the next an interval passes at
// most, however long the peer takes to answer as long as that is less.
func (l *Link) Run(ctx context.Context) {
	if !l.first(ctx) {
		return
	}
	for {
		next := l.o.Now().Add(sooner(l.o.Interval, l.o.Chance))
		l.round(ctx)
		for {
			left := next.Sub(l.o.Now())
			if !sleep(ctx, min(max(left, 0), headCheck)) {
				return
			}
			if !l.o.Now().Before(next) {
				break
			}
			l.tellNews(ctx)
		}
	}
}

// first asks what the peer saw of our own registry until it has answered.
func (l *Link) first(ctx context.Context) bool {
	var again backOff
	said := ""
	for {
		err := l.compare(ctx, l.o.Own)
		var alarm *Alarm
		if err == nil || errors.As(err, &alarm) {
			l.o.Log.Info("peer has said what it saw of us", "peer", l.o.Domain)
			return ctx.Err() == nil
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			said = text
			l.o.Log.Warn("peer has not said yet what it saw of us", "peer", l.o.Domain, "error", err)
		}
		if !sleep(ctx, again.next(l.o.Chance)) {
			return false
		}
	}
}

// round compares all registries, in both directions. What contradicts us is shown our
// side as well: the peer has the same right to the alarm, and may not be asking us.
func (l *Link) round(ctx context.Context) {
	for _, r := range append([]Registry{l.o.Own}, l.o.Others...) {
		if ctx.Err() != nil {
			return
		}
		err := l.compare(ctx, r)
		l.news[r.Domain()].unwanted = errors.Is(err, &warg.Error{Kind: warg.KindNotFound})
		var alarm *Alarm
		if err == nil || errors.As(err, &alarm) {
			l.show(ctx, r)
		}
	}
}

// compare judges what the peer holds of a registry.
func (l *Link) compare(ctx context.Context, r Registry) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	held, ok, err := l.o.Peer.Held(asking, r.Domain())
	if err != nil {
		l.note(r, resultOf(err), err)
		return fmt.Errorf("asking peer `%s` what it holds of registry `%s`: %w", l.o.Domain, r.Domain(), err)
	}
	seen := &held
	if !ok {
		seen = nil
	}
	err = r.Saw(asking, l.o.Domain, seen, func(ctx context.Context, from, to uint64) ([]byte, error) {
		return l.o.Peer.Consistency(ctx, r.Domain(), from, to)
	})
	var alarm *Alarm
	switch {
	case errors.As(err, &alarm):
		l.o.Log.Error("peer holds what contradicts us", "peer", l.o.Domain, "registry", r.Domain(), "error", err)
		l.note(r, Contradiction, err)
	case errors.As(err, new(NothingKnown)):
		l.note(r, Unjudged, nil)
		return nil
	case err != nil:
		l.note(r, Refused, err)
	case !ok:
		l.note(r, Absent, nil)
	default:
		l.note(r, Consistent, nil)
	}
	return err
}
