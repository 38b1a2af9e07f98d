package wargtest

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// Options says what a [Memory] is. The zero value is a registry named
// "memory.example" that signs with Alice's key and has no namespaces.
type Options struct {
	Domain     string
	Key        warg.PrivateKey   // of the operator
	Namespaces []string          // defined in the first operator record
	Imports    map[string]string // namespace -> domain of the registry whose it is
	Wasm       bool              // refuse content that does not begin like WebAssembly
	Begin      time.Time         // a second before the first checkpoint; zero = a fixed time in 2023
}

// Memory is a registry in memory. Whatever is complete is published at once, each
// record under a checkpoint of its own. Its clock goes one second further with
// every checkpoint.
type Memory struct {
	opt Options

	mu        sync.Mutex // guards everything below
	seconds   uint64     // of the last checkpoint
	opState   oplog.State
	opPrev    *warg.AnyHash
	opTime    warg.Timestamp
	operator  []warg.Record
	logs      map[warg.LogID]*memoryLog
	submitted map[warg.RecordID]*submission
	known     map[warg.Digest][]byte   // content by digest
	released  map[warg.Digest]struct{} // content of published records
	leaves    []warg.Leaf
	tree      vlog.Log
	heads     vmap.Map             // the map at the latest length
	maps      map[uint64]vmap.Map  // at every length
	views     map[uint64]warg.View // the checkpoint of every length, as last signed
	held      bool
	waiting   []*submission // complete, kept back while held
}

// memoryLog is a package log that somebody has submitted records of.
type memoryLog struct {
	name    warg.PackageName
	state   pkglog.State
	records []warg.Record // published
}

var (
	_ warg.Registry  = (*Memory)(nil)
	_ warg.Publisher = (*Memory)(nil)
)

// NewMemory returns a registry whose log holds one record: the operator's first. It
// panics if opt names an invalid namespace.
func NewMemory(opt Options) *Memory {
	if opt.Domain == "" {
		opt.Domain = "memory.example"
	}
	if opt.Key.IsZero() {
		opt.Key = Alice()
	}
	if opt.Begin.IsZero() {
		opt.Begin = time.Unix(1_700_000_000, 0)
	}
	m := &Memory{
		opt:       opt,
		seconds:   uint64(opt.Begin.Unix()),
		opTime:    warg.Timestamp{Seconds: startSeconds},
		logs:      map[warg.LogID]*memoryLog{},
		submitted: map[warg.RecordID]*submission{},
		known:     map[warg.Digest][]byte{},
		released:  map[warg.Digest]struct{}{},
		maps:      map[uint64]vmap.Map{},
		views:     map[uint64]warg.View{},
	}
	entries := []oplog.Entry{oplog.Init{Key: opt.Key.Public()}}
	for _, ns := range opt.Namespaces {
		entries = append(entries, oplog.DefineNamespace{Namespace: ns})
	}
	for _, ns := range slices.Sorted(maps.Keys(opt.Imports)) {
		entries = append(entries, oplog.ImportNamespace{Namespace: ns, Registry: opt.Imports[ns]})
	}
	if err := m.Operate(opt.Key, entries...); err != nil {
		panic("wargtest: " + err.Error())
	}
	return m
}

// Operate appends an operator record.
func (m *Memory) Operate(key warg.PrivateKey, entries ...oplog.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	env := oplog.Record{Prev: m.opPrev, Time: m.opTime, Entries: entries}.Sign(key)
	if err := m.opState.Validate(env); err != nil {
		return err
	}
	id := env.OperatorRecordID()
	prev := warg.Digest(id).AnyHash()
	m.opPrev = &prev
	m.opTime.Seconds++
	index := m.append(warg.Leaf{LogID: warg.OperatorLogID, RecordID: id})
	m.operator = append(m.operator, warg.Record{Envelope: env, Index: index, Token: id.String()})
	return nil
}

// UseKey makes the registry sign checkpoints with another key from now on. Whether
// the operator log lets that key do so is not checked.
func (m *Memory) UseKey(key warg.PrivateKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opt.Key = key
}

// Resign signs the latest checkpoint again, one second later.
func (m *Memory) Resign() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sign()
}

// Hold keeps records that are complete in the state processing, until release is
// called.
func (m *Memory) Hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.held = false
		for _, s := range m.waiting {
			m.commit(s)
		}
		m.waiting = nil
	}
}

// Clone returns an independent registry with the same history, key and clock. If
// both go on, one of them is a fork of the other.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &Memory{
		opt: m.opt, seconds: m.seconds,
		opState: *m.opState.Clone(), opPrev: m.opPrev, opTime: m.opTime, operator: slices.Clone(m.operator),
		logs: map[warg.LogID]*memoryLog{}, submitted: map[warg.RecordID]*submission{},
		known: maps.Clone(m.known), released: maps.Clone(m.released),
		leaves: slices.Clone(m.leaves), heads: m.heads, maps: maps.Clone(m.maps), views: maps.Clone(m.views), held: m.held,
	}
	for _, l := range m.leaves {
		c.tree.Append(vlog.LeafHash(l.LogValue()))
	}
	for id, l := range m.logs {
		c.logs[id] = &memoryLog{l.name, *l.state.Clone(), slices.Clone(l.records)}
	}
	for id, s := range m.submitted {
		c.submitted[id] = s.clone()
	}
	for _, s := range m.waiting {
		c.waiting = append(c.waiting, c.submitted[s.id])
	}
	return c
}

// append adds a leaf to both trees and signs the new length.
func (m *Memory) append(leaf warg.Leaf) (index uint64) {
	index = uint64(len(m.leaves))
	m.leaves = append(m.leaves, leaf)
	m.tree.Append(vlog.LeafHash(leaf.LogValue()))
	m.heads = m.heads.Update([]vmap.Entry{{Key: leaf.MapKey(), Value: leaf.MapValue()}})
	m.maps[m.tree.Len()] = m.heads
	m.sign()
	return index
}

func (m *Memory) sign() {
	m.seconds++
	c := warg.Checkpoint{LogLength: m.tree.Len(), LogRoot: m.tree.Root(), MapRoot: m.heads.Root(), Timestamp: m.seconds}
	m.views[c.LogLength] = warg.View{Signed: c.Sign(m.opt.Key), Checkpoint: c}
}
