package monitor

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Kinds of journal lines.
const (
	kindRegistry = "registry"
	kindRecord   = "record"
	kindSeen     = "seen"
	kindRebuilt  = "rebuilt"
	kindExtended = "extended"
	kindRenewed  = "renewed"
	kindDropped  = "dropped"
	kindForked   = "forked"
)

const (
	lockFile    = "lock"
	ledgerFile  = "ledger"
	evidenceDir = "evidence"

	// maxPending bounds the checkpoints that could not be judged yet. Only those of a
	// new length or with new roots take a place.
	maxPending = 1000
)

// view is a length of the registry's log with the roots that were found to be right.
type view struct {
	length   uint64
	roots    roots
	rebuilt  bool   // from the ledger; else by a consistency proof, and the map root is as signed
	earliest uint64 // timestamp, of all checkpoints that say this
	seq      int    // when it was first seen: number of a journal line
	offset   int64  // of the journal line with the earliest checkpoint
	size     int
}

// pending is a checkpoint that could not be judged yet.
type pending struct {
	checkpoint
	seq int
}

// conviction is what the registry was convicted of.
type conviction struct {
	ID       string          `json:"id"`
	Class    string          `json:"class"`
	Reason   string          `json:"reason"`
	Evidence string          `json:"evidence"` // file name below the folder of evidence
	Refused  json.RawMessage `json:"refused"`  // the signed checkpoint
}

// identity is whom a state is about.
type identity struct {
	Format   int    `json:"format"`
	Registry string `json:"registry"`
	OnBehalf string `json:"onBehalf,omitempty"`
}

// state is everything that a watcher remembers of a registry. What it holds in
// memory is exactly what the journal says.
type state struct {
	dir     string
	fsys    durable.FS
	lock    io.Closer
	journal *journal
	ledger  durable.File
	broken  error // a write failed; what is on disk is unknown

	about       identity
	lines       int
	leaves      uint64 // of the ledger that count
	records     []warg.Record
	views       []view // ascending by length
	pending     []pending
	convictions []conviction
	seen        map[uint64]struct{} // fingerprints of all signed checkpoints
}

// openState opens the state of a registry or begins it, and takes its lock.
func openState(fsys durable.FS, dir, holder string, about identity) (*state, error) {
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return nil, fmt.Errorf("making the monitor's folder: %w", err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFile), holder)
	if err != nil {
		return nil, fmt.Errorf("taking the monitor's folder: %w", err)
	}
	s := &state{dir: dir, fsys: fsys, lock: lock, seen: map[uint64]struct{}{}}
	if err := s.open(about); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// open reads what there is. Nothing is changed before all of it was found in order.
func (s *state) open(about identity) error {
	var c committed
	var err error
	if s.journal, c, err = openJournal(s.fsys, s.dir, s.apply); err != nil {
		return err
	}
	if s.ledger, err = openOrCreate(s.fsys, filepath.Join(s.dir, ledgerFile), c.Ledger == 0); err != nil {
		return err
	}
	if s.lines == 0 {
		return s.begin(about)
	}
	if s.about != about {
		return &StateError{s.dir, fmt.Errorf("it is about registry `%s`", s.about.Registry)}
	}
	if s.leaves != c.Ledger {
		return &StateError{filepath.Join(s.dir, committedFile), fmt.Errorf("it counts %d leaves, the journal %d", c.Ledger, s.leaves)}
	}
	return nil
}

// cutBack removes what was being written when the last process ended.
func (s *state) cutBack() error {
	if err := errors.Join(s.journal.file.Truncate(s.journal.size), s.ledger.Truncate(int64(s.leaves*leafSize))); err != nil {
		return fmt.Errorf("cutting the monitor's state back to what counts: %w", err)
	}
	return nil
}

func (s *state) begin(about identity) error {
	body, err := json.Marshal(about)
	if err != nil {
		return fmt.Errorf("encoding the registry's address: %w", err)
	}
	return s.commit(line{kindRegistry, body})
}

func (s *state) close() error {
	var errs []error
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	if s.journal != nil {
		errs = append(errs, s.journal.file.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// commit makes lines durable and then believes them. What they say of the ledger
// must be durable before.
func (s *state) commit(lines ...line) error {
	if s.broken != nil {
		return fmt.Errorf("an earlier write failed: %w", s.broken)
	}
	leaves := s.leaves
	for _, l := range lines {
		if l.kind != kindRebuilt {
			continue
		}
		if c, err := parseCheckpoint(l.body); err == nil {
			leaves = max(leaves, c.length)
		}
	}
	s.broken = s.journal.append(leaves, lines, s.apply)
	return s.broken
}

// apply takes a line of the journal over, when it was written and when it is read.
func (s *state) apply(l line, offset int64, size int) error {
	seq := s.lines
	s.lines++
	switch l.kind {
	case kindRegistry:
		if seq != 0 {
			return errors.New("a second beginning")
		}
		return s.applyRegistry(l.body)
	case kindRecord:
		r, err := api.ParseRecord(l.body)
		s.records = append(s.records, r)
		return err
	case kindForked:
		var c conviction
		if err := json.Unmarshal(l.body, &c); err != nil {
			return err
		}
		s.convictions = append(s.convictions, c)
		l.body = c.Refused
	}
	c, err := parseCheckpoint(l.body)
	if err != nil {
		return err
	}
	s.seen[fingerprint(c.signed)] = struct{}{}
	switch l.kind {
	case kindSeen:
		s.pending = append(s.pending, pending{c, seq})
	case kindRebuilt:
		s.leaves = max(s.leaves, c.length)
		s.applyProven(view{c.length, roots{c.logRoot, c.mapRoot}, true, c.timestamp, seq, offset, size})
	case kindExtended:
		s.applyProven(view{c.length, roots{c.logRoot, c.mapRoot}, false, c.timestamp, seq, offset, size})
	case kindRenewed:
		return s.applyRenewed(c, offset, size)
	case kindDropped, kindForked:
		s.dropPending(c)
	default:
		return fmt.Errorf("a line of unknown kind %q", l.kind)
	}
	return nil
}

func (s *state) applyRegistry(body []byte) error {
	if err := json.Unmarshal(body, &s.about); err != nil {
		return err
	}
	if s.about.Format != stateFormat {
		return fmt.Errorf("a state of format %d; this program knows format %d", s.about.Format, stateFormat)
	}
	return nil
}

// applyProven adds a view, or says of a known one that it was rebuilt.
func (s *state) applyProven(v view) {
	for _, p := range s.pending {
		if p.length == v.length && p.logRoot == v.roots.logRoot && p.mapRoot == v.roots.mapRoot {
			v.seq = min(v.seq, p.seq)
		}
	}
	s.pending = slices.DeleteFunc(s.pending, func(p pending) bool {
		return p.length == v.length && p.logRoot == v.roots.logRoot && p.mapRoot == v.roots.mapRoot
	})
	i, known := s.find(v.length)
	if !known {
		s.views = slices.Insert(s.views, i, v)
		return
	}
	s.views[i].rebuilt = s.views[i].rebuilt || v.rebuilt
}

func (s *state) applyRenewed(c checkpoint, offset int64, size int) error {
	i, known := s.find(c.length)
	if !known {
		return fmt.Errorf("length %d was never proven", c.length)
	}
	if v := &s.views[i]; c.timestamp < v.earliest {
		v.earliest, v.offset, v.size = c.timestamp, offset, size
	}
	return nil
}

func (s *state) dropPending(c checkpoint) {
	s.pending = slices.DeleteFunc(s.pending, func(p pending) bool { return p.sameView(c) })
}

func (s *state) find(length uint64) (int, bool) {
	return slices.BinarySearchFunc(s.views, length, func(v view, n uint64) int { return cmp.Compare(v.length, n) })
}

// view returns what is known of a length.
func (s *state) view(length uint64) (view, bool) {
	i, ok := s.find(length)
	if !ok {
		return view{}, false
	}
	return s.views[i], true
}

// longest returns the longest view, or one of length 0.
func (s *state) longest() view {
	if n := len(s.views); n > 0 {
		return s.views[n-1]
	}
	return view{}
}

// signed reads back the earliest checkpoint that said what a view says.
func (s *state) signed(v view) (checkpoint, error) {
	body, err := s.journal.at(v.offset, v.size)
	if err != nil {
		return checkpoint{}, err
	}
	return parseCheckpoint(body)
}

// remember keeps a checkpoint that could not be judged.
func (s *state) remember(c checkpoint) error {
	_, seen := s.seen[fingerprint(c.signed)]
	waits := slices.ContainsFunc(s.pending, func(p pending) bool { return p.sameView(c) })
	if seen || waits || len(s.pending) >= maxPending {
		return nil
	}
	return s.commit(checkpointLine(kindSeen, c))
}

func checkpointLine(kind string, c checkpoint) line {
	return line{kind, api.AppendCheckpoint(nil, c.signed)}
}

func parseCheckpoint(body []byte) (checkpoint, error) {
	signed, err := api.ParseCheckpoint(body)
	if err != nil {
		return checkpoint{}, err
	}
	return readCheckpoint(signed)
}

// fingerprint is the same for the same signed bytes. That two different ones share
// it costs a line in the journal, and is not to be expected.
func fingerprint(s warg.SignedCheckpoint) uint64 {
	d := warg.Sum(api.AppendCheckpoint(nil, s))
	var n uint64
	for _, b := range d[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}
