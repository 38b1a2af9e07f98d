package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// The model says what a registry answers, in the simplest words: packages are lists of
// records, keys are pairs of rights, versions are yanked or not.
type apiModel struct {
	packages map[string]*modelPackage
	sent     []*modelRecord // everything that was ever taken in
	views    []warg.View    // every checkpoint that was seen
	length   uint64
}

type modelPackage struct {
	chain    *wargtest.Package
	keys     map[warg.KeyID]map[pkglog.Permission]bool
	yanked   map[string]bool // by version that was released
	contents map[string][]byte
	records  []*modelRecord // published, in order
}

type modelRecord struct {
	of      *modelPackage
	after   *wargtest.Package // the chain if this is published
	before  int               // records of the package that it builds on
	req     warg.PublishRequest
	step    modelStep
	state   warg.State
	index   uint64
	content []byte // that it waits for, or waited
}

// modelStep is what a record does, in the words of the model.
type modelStep struct {
	kind    string // begin, release, yank, grant or revoke
	by      warg.KeyID
	version string
	key     warg.PrivateKey // that gets or loses a right
	right   pkglog.Permission
}

func modelKeys() []warg.PrivateKey {
	return []warg.PrivateKey{wargtest.Bob(), wargtest.Stranger("model one"), wargtest.Stranger("model two")}
}

var modelRights = []pkglog.Permission{pkglog.PermissionRelease, pkglog.PermissionYank}

// may reports whether the package's log allows the step now.
func (p *modelPackage) may(s modelStep) bool {
	yanked, released := p.yanked[s.version]
	switch s.kind {
	case "begin":
		return len(p.records) == 0
	case "release":
		return p.keys[s.by][pkglog.PermissionRelease] && !released
	case "yank":
		return p.keys[s.by][pkglog.PermissionYank] && released && !yanked
	case "grant":
		return p.keys[s.by][s.right]
	}
	return p.keys[s.by][s.right] && p.keys[s.key.Public().ID()][s.right]
}

// do takes a record into the package's log.
func (p *modelPackage) do(r *modelRecord) {
	s := r.step
	switch s.kind {
	case "begin":
		p.keys[s.by] = map[pkglog.Permission]bool{modelRights[0]: true, modelRights[1]: true}
	case "release":
		p.yanked[s.version] = false
		p.contents[s.version] = r.content
	case "yank":
		p.yanked[s.version] = true
	default:
		id := s.key.Public().ID()
		if p.keys[id] == nil {
			p.keys[id] = map[pkglog.Permission]bool{}
		}
		p.keys[id][s.right] = s.kind == "grant"
	}
	p.records, p.chain = append(p.records, r), r.after
}

func (s modelStep) entry(content []byte) pkglog.Entry {
	switch s.kind {
	case "release":
		return wargtest.Release(s.version, content)
	case "yank":
		return wargtest.Yank(s.version)
	case "grant":
		return wargtest.Grant(s.key.Public(), s.right)
	}
	return wargtest.Revoke(s.key.Public().ID(), s.right)
}

// modelRun is one history against the real registry.
type modelRun struct {
	*rapid.T
	m      *apiModel
	own    *authority.Authority
	client *upstream.Client
	run    int // makes names and contents that no other history has
}

func drawn[V any](r *modelRun, what string, from []V) V {
	return rapid.SampledFrom(from).Draw(r.T, what)
}

func (r *modelRun) pickPackage() *modelPackage {
	if len(r.m.packages) == 0 {
		r.Skip("no package yet")
	}
	return r.m.packages[drawn(r, "package", slices.Sorted(maps.Keys(r.m.packages)))]
}

// next makes a record for the package that does the step, on top of chain.
func (r *modelRun) next(p *modelPackage, chain *wargtest.Package, s modelStep, key warg.PrivateKey) *modelRecord {
	s.by = key.Public().ID()
	after := *chain
	rec := &modelRecord{of: p, after: &after, before: len(p.records), step: s}
	if s.kind == "release" {
		rec.content = wargtest.Component(fmt.Sprintf("content %d of run %d", len(r.m.sent), r.run))
	}
	// First records may begin at one second, and two packages may not have the same one.
	entries := []pkglog.Entry{wargtest.Init(key), wargtest.Grant(wargtest.Stranger(p.chain.Name().String()).Public(), modelRights[0])}
	if s.kind != "begin" {
		entries = []pkglog.Entry{s.entry(rec.content)}
	}
	rec.req = rec.after.Request(rec.after.Next(key, entries...))
	return rec
}

// submit publishes a record and compares what becomes of it with the model.
func (r *modelRun) submit(rec *modelRecord) {
	// The id of a record is that of its bytes, whoever signed them: the same words from
	// another key are a replay.
	id := rec.req.Record.PackageRecordID()
	if i := slices.IndexFunc(r.m.sent, func(old *modelRecord) bool { return old.req.Record.PackageRecordID() == id }); i >= 0 {
		r.replay(r.m.sent[i], rec.req)
		return
	}
	allowed := rec.of.may(rec.step)
	st, err := r.client.Publish(r.Context(), rec.req)
	switch {
	case err != nil && allowed:
		r.Fatalf("%s is refused: %v", rec.step.kind, err)
	case err != nil:
		if !isRefusal(err) {
			r.Fatalf("%s is refused with %v", rec.step.kind, err)
		}
		return
	}
	r.m.sent = append(r.m.sent, rec)
	rec.state = st.State
	if rec.content != nil && (st.State != warg.StateSourcing || !slices.Equal(st.Missing, []warg.Digest{warg.Sum(rec.content)})) {
		r.Fatalf("a release without content: %+v", st)
	}
	if st.State != warg.StateSourcing {
		r.settle(rec)
	}
}

// settle waits until a complete record is decided, and compares.
func (r *modelRun) settle(rec *modelRecord) {
	allowed := rec.of.may(rec.step) && rec.before == len(rec.of.records)
	st, err := r.own.Settled(r.Context(), rec.req.LogID, rec.req.Record.PackageRecordID())
	if err != nil || (st.State == warg.StatePublished) != allowed || !allowed && st.State != warg.StateRejected {
		r.Fatalf("%+v: became %+v, %v; want published: %v", rec.step, st, err, allowed)
	}
	rec.state, rec.index = st.State, st.Index
	if allowed {
		if st.Index != r.m.length {
			r.Fatalf("published at %d, the log had %d records", st.Index, r.m.length)
		}
		r.m.length++
		rec.of.do(rec)
	}
}

func isRefusal(err error) bool {
	e, ok := errors.AsType[*warg.Error](err)
	return ok && slices.Contains([]warg.Kind{warg.KindUnauthorized, warg.KindConflict, warg.KindRecordPending, warg.KindRejected, warg.KindBadRequest}, e.Kind)
}

func kindOf(err error) warg.Kind {
	e, _ := errors.AsType[*warg.Error](err)
	if e == nil {
		return 0
	}
	return e.Kind
}

// actions are what a client may do; each is drawn again and again.
func (r *modelRun) actions() map[string]func(*rapid.T) {
	step := func(kind string) func(*rapid.T) {
		return func(*rapid.T) {
			p := r.pickPackage()
			s := modelStep{kind: kind, version: drawn(r, "version", []string{"1.0.0", "1.1.0", "2.0.0"}), key: drawn(r, "whose", modelKeys()), right: drawn(r, "right", modelRights)}
			r.submit(r.next(p, p.chain, s, drawn(r, "by", modelKeys())))
		}
	}
	return map[string]func(*rapid.T){
		"begin":   func(*rapid.T) { r.begin() },
		"release": step("release"), "yank": step("yank"), "grant": step("grant"), "revoke": step("revoke"),
		"upload": func(*rapid.T) { r.upload() },
		"replay": func(*rapid.T) {
			rec := r.pickSent(func(*modelRecord) bool { return true })
			r.replay(rec, rec.req)
		},
		"stale":  func(*rapid.T) { r.stale() },
		"forged": func(*rapid.T) { r.forged() },
		"logs":   func(*rapid.T) { r.logs() },
		"read":   func(*rapid.T) { r.read() },
		"prove":  func(*rapid.T) { r.prove() },
		"":       func(*rapid.T) { r.look() },
	}
}

func (r *modelRun) begin() {
	name := fmt.Sprintf("%s:run%d-p%d", wargtest.DefinedNamespace, r.run, len(r.m.packages))
	p := &modelPackage{chain: wargtest.NewPackage(name), keys: map[warg.KeyID]map[pkglog.Permission]bool{}, yanked: map[string]bool{}, contents: map[string][]byte{}}
	r.m.packages[name] = p
	r.submit(r.next(p, p.chain, modelStep{kind: "begin"}, drawn(r, "by", modelKeys())))
}

// pickSent draws a record in a state.
func (r *modelRun) pickSent(fits func(*modelRecord) bool) *modelRecord {
	var some []int
	for i, rec := range r.m.sent {
		if fits(rec) {
			some = append(some, i)
		}
	}
	if len(some) == 0 {
		r.Skip("no such record")
	}
	return r.m.sent[drawn(r, "record", some)]
}

// upload sends the content that a record waits for, or other bytes before.
func (r *modelRun) upload() {
	rec := r.pickSent(func(rec *modelRecord) bool { return rec.state == warg.StateSourcing })
	log, id, digest := rec.req.LogID, rec.req.Record.PackageRecordID(), warg.Sum(rec.content)
	if rapid.Bool().Draw(r.T, "wrong bytes first") {
		if err := r.client.Upload(r.Context(), log, id, digest, strings.NewReader("other bytes")); err == nil {
			r.Fatal("wrong bytes are taken")
		}
		if st, err := r.client.Record(r.Context(), log, id); err != nil || st.State != warg.StateSourcing {
			r.Fatalf("after wrong bytes: %+v, %v", st, err)
		}
	}
	if err := r.client.Upload(r.Context(), log, id, digest, bytes.NewReader(rec.content)); err != nil {
		r.Fatalf("uploading: %v", err)
	}
	r.settle(rec)
}

// replay submits again what was taken in before, whatever became of it.
func (r *modelRun) replay(rec *modelRecord, again warg.PublishRequest) {
	if st, err := r.client.Publish(r.Context(), again); err != nil || st.State != rec.state || rec.state == warg.StatePublished && st.Index != rec.index {
		r.Fatalf("replayed: %+v, %v; it is %v at %d", st, err, rec.state, rec.index)
	}
}

// stale builds on a record that has a successor.
func (r *modelRun) stale() {
	rec := r.pickSent(func(rec *modelRecord) bool {
		return rec.state == warg.StatePublished && rec.before+1 < len(rec.of.records)
	})
	whose := wargtest.Stranger(fmt.Sprintf("late %d", len(r.m.sent))) // or it could be the very record that was sent then
	late := r.next(rec.of, rec.after, modelStep{kind: "grant", key: whose, right: modelRights[0]}, drawn(r, "by", modelKeys()))
	_, err := r.client.Publish(r.Context(), late.req)
	if want := rec.of.keys[late.step.by][modelRights[0]]; want && kindOf(err) != warg.KindRecordPending || !isRefusal(err) {
		r.Fatalf("on top of an old record: %v", err)
	}
}

// forged has a record signed by somebody else, or on the path of another package.
func (r *modelRun) forged() {
	p := r.pickPackage()
	rec := r.next(p, p.chain, modelStep{kind: "release", version: "9.9.9"}, wargtest.Bob())
	want := warg.KindUnauthorized
	if rapid.Bool().Draw(r.T, "on another path") {
		rec.req.LogID, want = wargtest.Name("test:elsewhere").LogID(), warg.KindBadRequest
	} else {
		rec.req.Record.Signature = wargtest.Stranger("forger").SignPackageRecord(rec.req.Record.Content)
	}
	if _, err := r.client.Publish(r.Context(), rec.req); kindOf(err) != want {
		r.Fatalf("forged: %v", err)
	}
}

func (r *modelRun) pickView() warg.Checkpoint {
	return r.m.views[rapid.IntRange(0, len(r.m.views)-1).Draw(r.T, "checkpoint")].Checkpoint
}

// upTo returns a package's records at a length.
func (p *modelPackage) upTo(length uint64) (at []*modelRecord) {
	for _, rec := range p.records {
		if rec.index < length {
			at = append(at, rec)
		}
	}
	return at
}

// logs reads a package's log as it was at some checkpoint.
func (r *modelRun) logs() {
	p, c := r.pickPackage(), r.pickView()
	want := p.upTo(c.LogLength)
	page, err := r.client.Logs(r.Context(), warg.LogsRequest{LogLength: c.LogLength, Packages: []warg.LogCursor{{LogID: p.chain.LogID()}}})
	if len(want) == 0 {
		if kindOf(err) != warg.KindLogNotFound {
			r.Fatalf("the log of a package that is not there yet: %v", err)
		}
		return
	}
	if err != nil || len(page.Packages) != 1 || len(page.Packages[0].Records) != len(want) {
		r.Fatalf("%d records at length %d: %+v, %v", len(want), c.LogLength, page, err)
	}
	for i, got := range page.Packages[0].Records {
		if sent := want[i].req.Record; !bytes.Equal(got.Content, sent.Content) || got.KeyID != sent.KeyID || got.Signature != sent.Signature || got.Index != want[i].index {
			r.Fatalf("record %d is %+v; sent was %+v", i, got, sent)
		}
	}
}

// read asks for the name, a record and the content of something.
func (r *modelRun) read() {
	p := r.pickPackage()
	names, err := r.client.Names(r.Context(), []warg.LogID{p.chain.LogID()})
	if known := len(p.records) > 0; known != (err == nil) || known && names[0] != p.chain.Name() {
		r.Fatalf("names %v, %v; known: %v", names, err, known)
	}
	rec := r.pickSent(func(*modelRecord) bool { return true })
	if st, err := r.client.Record(r.Context(), rec.req.LogID, rec.req.Record.PackageRecordID()); err != nil || st.State != rec.state {
		r.Fatalf("record %+v, %v; it is %v", st, err, rec.state)
	}
	if rec.content == nil {
		return
	}
	content, err := r.client.Open(r.Context(), warg.Sum(rec.content))
	if rec.state != warg.StatePublished {
		if kindOf(err) != warg.KindContentNotFound {
			r.Fatalf("content of a record that is %v: %v", rec.state, err)
		}
		return
	}
	if err != nil {
		r.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, rec.content) {
		r.Fatalf("content %q, %v", got, err)
	}
}

// prove has any two checkpoints and the heads of all packages at one of them proven.
func (r *modelRun) prove() {
	from, to := r.pickView(), r.pickView()
	if from.LogLength > to.LogLength {
		from, to = to, from
	}
	bundle, err := r.client.Consistency(r.Context(), from.LogLength, to.LogLength)
	if err == nil {
		err = vlog.VerifyConsistency(bundle, vlog.Point{Length: from.LogLength, Root: from.LogRoot}, vlog.Point{Length: to.LogLength, Root: to.LogRoot})
	}
	if err != nil {
		r.Fatalf("from %d to %d: %v", from.LogLength, to.LogLength, err)
	}
	var indexes []uint64
	var leaves []vlog.Leaf
	var entries []vmap.Entry
	for _, p := range r.m.packages {
		at := p.upTo(to.LogLength)
		if len(at) == 0 {
			continue
		}
		head := at[len(at)-1]
		leaf := warg.Leaf{LogID: p.chain.LogID(), RecordID: head.req.Record.PackageRecordID()}
		indexes = append(indexes, head.index)
		leaves = append(leaves, vlog.Leaf{Index: head.index, Value: leaf.LogValue()})
		entries = append(entries, vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()})
	}
	if len(indexes) == 0 {
		return
	}
	proof, err := r.client.Inclusion(r.Context(), to.LogLength, indexes)
	if err == nil {
		err = errors.Join(vlog.VerifyInclusion(proof.Log, to.LogRoot, to.LogLength, leaves), vmap.VerifyInclusion(proof.Map, to.MapRoot, entries))
	}
	if err != nil {
		r.Fatalf("heads %v at length %d: %v", indexes, to.LogLength, err)
	}
}

// look takes in the checkpoint after each step: it has exactly what was published.
func (r *modelRun) look() {
	v, err := r.client.Checkpoint(r.Context())
	if err != nil || v.Checkpoint.LogLength != r.m.length {
		r.Fatalf("checkpoint %+v, %v; %d records are published", v, err, r.m.length)
	}
	if last := r.m.views[len(r.m.views)-1]; last.Checkpoint.LogLength != v.Checkpoint.LogLength {
		r.m.views = append(r.m.views, v)
	} else if last.Checkpoint.LogRoot != v.Checkpoint.LogRoot || last.Checkpoint.MapRoot != v.Checkpoint.MapRoot {
		r.Fatalf("two checkpoints of length %d", r.m.length)
	}
}

// TestAPIAgainstModel: whatever clients do, in whatever order, a registry over HTTP answers
// what the model says. API_MODEL=n makes n histories of it.
func TestAPIAgainstModel(t *testing.T) {
	checks := "150"
	if text := os.Getenv("API_MODEL"); text != "" {
		checks = text
	}
	before := flag.Lookup("rapid.checks").Value.String()
	if err := flag.Set("rapid.checks", checks); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = flag.Set("rapid.checks", before) }()
	own, err := authority.Open(t.Context(), authority.Options{
		Dir: "/data/authority", ContentDir: "/data/content", Domain: "own.example", Key: wargtest.Alice(), Namespaces: []string{wargtest.DefinedNamespace},
		FS: durable.NewMemory(), Index: index.InMemory(new(kv.Memory)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, own)
	client := clientOf(t, served(t, own, nil), "own.example", "")
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		view, err := client.Checkpoint(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m := &apiModel{packages: map[string]*modelPackage{}, views: []warg.View{view}, length: view.Checkpoint.LogLength}
		r := &modelRun{T: t, m: m, own: own, client: client, run: runs}
		t.Repeat(r.actions())
	})
}
