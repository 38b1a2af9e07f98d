package monitor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Defaults of [Options].
const (
	DefaultInterval = time.Minute
	// DefaultMaxLength bounds the ledger: 256 MiB on disk and, if every leaf were of
	// another log, 400 MiB in memory.
	DefaultMaxLength = 1 << 22
	// LargestMaxLength is the longest ledger that still fits an evidence file.
	LargestMaxLength = 6_000_000
)

// Options say how to watch. All but Dir may be left zero.
type Options struct {
	Dir      string // below it every registry has a folder
	OnBehalf string // watch what the registry shows of this one, by its domain

	// OperatorKeys are ids of keys one of which must have signed the first operator
	// record, or the first checkpoint. Without any the first operator log that is
	// seen is believed; it can never change afterwards.
	OperatorKeys []warg.KeyID

	Board *Board // what other watchers of this run were shown, nil = there are none

	Interval  time.Duration // between two looks
	MaxLength uint64        // longest log that is followed, in leaves; at most LargestMaxLength

	Transport http.RoundTripper
	FS        durable.FS
	Now       func() time.Time
	Sleep     func(ctx context.Context, d time.Duration) // returns early when ctx ends
	Random    func() float64                             // in [0, 1)
}

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = DefaultInterval
	}
	if o.MaxLength == 0 {
		o.MaxLength = DefaultMaxLength
	}
	o.MaxLength = min(o.MaxLength, LargestMaxLength)
	if o.Transport == nil {
		o.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, ForceAttemptHTTP2: true,
			ResponseHeaderTimeout: answerTimeout, TLSHandshakeTimeout: answerTimeout, IdleConnTimeout: answerTimeout,
		}
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// Watcher watches one registry. It is for one goroutine at a time.
type Watcher struct {
	o     Options
	peer  *peer
	state *state
	trees *trees    // at the length of the ledger
	op    *operator // at the longest length
}

// Open opens what is remembered of the registry at an address, or begins to
// remember it, and verifies it. An address that is none is an [*AddressError], a
// folder that another process uses a [*durable.HeldError], and one that was damaged a
// [*StateError].
func Open(address string, o Options) (*Watcher, error) {
	o = o.withDefaults()
	p, err := newPeer(address, o.OnBehalf, o.Transport)
	if err != nil {
		return nil, err
	}
	about := identity{stateFormat, p.name(), o.OnBehalf}
	holder := fmt.Sprintf("entrepot monitor of %s, since %s", p.name(), o.Now().UTC().Format(time.RFC3339))
	s, err := openState(o.FS, filepath.Join(o.Dir, folderName(about)), holder, about)
	if err != nil {
		return nil, err
	}
	w := &Watcher{o: o, peer: p, state: s}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.cutBack(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return w, nil
}

// folderName names the folder of a registry: readable, and different for different
// addresses.
func folderName(about identity) string {
	readable := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, strings.ToLower(about.Registry[strings.Index(about.Registry, "://")+len("://"):]))
	const longest = 100
	sum := warg.Sum([]byte(about.Registry), []byte{0}, []byte(about.OnBehalf))
	return strings.TrimLeft(readable[:min(len(readable), longest)], ".") + "-" + sum.Hex()[:12]
}

// Close releases the folder.
func (w *Watcher) Close() error { return w.state.close() }

// load rebuilds trees and operator log from what is remembered, and compares the log
// roots with those that were signed. The map is the same function of the same leaves
// as before; its root costs much and is computed when the log grows.
func (w *Watcher) load() error {
	var err error
	if w.op, err = replay(w.state.records); err != nil {
		return w.damaged(journalFile, err)
	}
	w.trees = newTrees()
	views := w.state.views
	err = eachLeaf(w.state.ledger, 0, w.state.leaves, func(_ uint64, l leaf) error {
		w.trees.add(l)
		for ; len(views) > 0 && views[0].length <= w.trees.log.length; views = views[1:] {
			if v := views[0]; v.rebuilt && v.length == w.trees.log.length && v.roots.logRoot != w.trees.log.root() {
				return fmt.Errorf("it does not lead to the log root that is known for length %d", v.length)
			}
		}
		return nil
	})
	if err != nil {
		return w.damaged(ledgerFile, err)
	}
	if v, ok := w.state.view(w.state.leaves); w.state.leaves > 0 && (!ok || !v.rebuilt) {
		return w.damaged(journalFile, fmt.Errorf("it knows no roots for the ledger's length %d", w.state.leaves))
	}
	return nil
}

func (w *Watcher) damaged(file string, err error) error {
	return &StateError{filepath.Join(w.state.dir, file), err}
}

// pinned reports whether an operator log hangs on a key that was given: one that
// signed its first record, or the checkpoint.
func (w *Watcher) pinned(op *operator, c checkpoint) error {
	if len(w.o.OperatorKeys) == 0 {
		return nil
	}
	for _, id := range w.o.OperatorKeys {
		if id == op.beganBy || id == c.signed.KeyID() {
			return nil
		}
	}
	return refuse("the operator log was begun by key `%s`, which is not one of the keys given", op.beganBy)
}
