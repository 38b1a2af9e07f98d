package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// canned is a registry with fixed answers and the error rules of the protocol. It
// lets tests say byte for byte what must come out, and fail on demand.
type canned struct {
	domain  string
	key     warg.PrivateKey
	name    warg.PackageName // the only package
	content map[warg.Digest][]byte
	view    warg.View
	dir     string // where content lies as files; "" = in memory

	waiting map[warg.LogID]bool // logs of which nothing is published yet

	more uint64 // entries of the ledger beyond cannedLength

	mu       sync.Mutex
	fail     error         // what every method returns, if set
	panics   bool          // every method panics
	uploads  int           // uploads that were stored
	accepted int           // records that were accepted
	block    chan struct{} // methods wait for it, if set
	proofs   chan struct{} // inclusion proofs wait for it, if set
}

const operatorKeyText = "ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk="

func newCanned(t testing.TB, domain string) *canned {
	t.Helper()
	key, err := warg.ParsePrivateKey(operatorKeyText)
	if err != nil {
		t.Fatal(err)
	}
	name, err := warg.ParsePackageName("test:component")
	if err != nil {
		t.Fatal(err)
	}
	r := &canned{domain: domain, key: key, name: name, content: map[warg.Digest][]byte{}}
	cp := r.checkpoint()
	r.view = warg.View{Signed: cp.Sign(key), Checkpoint: cp, VerifiedAt: time.Unix(cannedTimestamp, 0)}
	return r
}

// put makes content available.
func (r *canned) put(b []byte) warg.Digest {
	d := warg.Sum(b)
	r.content[d] = b
	if r.dir != "" {
		if err := os.WriteFile(filepath.Join(r.dir, d.Hex()), b, 0o600); err != nil {
			panic(err)
		}
	}
	return d
}

// failWith makes every method fail.
func (r *canned) failWith(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

func (r *canned) enter(ctx context.Context) error {
	r.mu.Lock()
	block, panics, err := r.block, r.panics, r.fail
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if panics {
		panic("canned panic")
	}
	return err
}

func (r *canned) Domain() string { return r.domain }

const (
	cannedLength    = 3
	cannedTimestamp = 1692035502
)

func (r *canned) checkpoint() warg.Checkpoint {
	return warg.Checkpoint{LogLength: cannedLength, LogRoot: warg.Sum([]byte("log")), MapRoot: warg.Sum([]byte("map")), Timestamp: cannedTimestamp}
}

func (r *canned) Checkpoint(ctx context.Context) (warg.View, error) {
	if err := r.enter(ctx); err != nil {
		return warg.View{}, err
	}
	return r.view, nil
}

func (r *canned) recordID() warg.RecordID { return warg.PackageRecordID([]byte("record")) }

func (r *canned) cannedRecord() warg.Record {
	return warg.Record{JSON: []byte(`{"contentBytes":"cmVjb3Jk"}`)}
}

func (r *canned) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	if err := r.enter(ctx); err != nil {
		return warg.LogsPage{}, err
	}
	if req.Operator != "" {
		return warg.LogsPage{}, &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: req.Operator}
	}
	if req.LogLength == 0 || req.LogLength > cannedLength {
		return warg.LogsPage{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: req.LogLength}
	}
	page := warg.LogsPage{Operator: []warg.Record{r.cannedRecord()}}
	for _, c := range req.Packages {
		if c.LogID != r.name.LogID() {
			return warg.LogsPage{}, warg.NotFound(warg.KindLogNotFound, c.LogID)
		}
		if c.Token != "" {
			return warg.LogsPage{}, &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: c.Token}
		}
		page.Packages = append(page.Packages, warg.LogRecords{LogID: c.LogID, Records: []warg.Record{r.cannedRecord()}})
	}
	return page, nil
}

func (r *canned) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	if err := r.enter(ctx); err != nil {
		return nil, err
	}
	var names []warg.PackageName
	for _, id := range ids {
		switch id {
		case r.name.LogID():
			names = append(names, r.name)
		case warg.OperatorLogID:
			names = append(names, warg.PackageName{})
		default:
			return nil, warg.NotFound(warg.KindLogNotFound, id)
		}
	}
	return names, nil
}

// blockInclusion lets inclusion proofs wait until release is closed.
func (r *canned) blockInclusion(release chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proofs = release
}

func (r *canned) Inclusion(ctx context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	if err := r.enter(ctx); err != nil {
		return warg.InclusionProof{}, err
	}
	r.mu.Lock()
	proofs := r.proofs
	r.mu.Unlock()
	if proofs != nil {
		<-proofs
	}
	for _, leaf := range leaves {
		if leaf >= cannedLength {
			return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLeafNotFound, Number: leaf}
		}
		if leaf >= length {
			return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "leaf newer than when it should be included")
		}
	}
	switch {
	case len(leaves) == 0:
		return warg.InclusionProof{}, warg.Errorf(warg.KindProofFailure, "A bundle can not be made from no proofs")
	case length > cannedLength:
		return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	case leaves[0] == 1:
		return warg.InclusionProof{}, &warg.Error{Kind: warg.KindProofIncorrect, Root: warg.Sum([]byte("map")), Found: warg.Sum([]byte("old"))}
	}
	return warg.InclusionProof{Log: []byte("log proof"), Map: []byte("map proof")}, nil
}

func (r *canned) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	if err := r.enter(ctx); err != nil {
		return nil, err
	}
	switch {
	case from > to:
		return nil, warg.Errorf(warg.KindProofFailure, "tries to prove later value comes before earlier")
	case from == 0:
		return nil, warg.Errorf(warg.KindProofFailure, "A bundle can not be made from no proofs")
	case to > cannedLength:
		return nil, &warg.Error{Kind: warg.KindLengthNotFound, Number: to}
	}
	return []byte("bundle"), nil
}

func (r *canned) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	if err := r.enter(ctx); err != nil {
		return warg.RecordStatus{}, err
	}
	if r.waiting[log] {
		return warg.RecordStatus{}, warg.NotFound(warg.KindRecordNotFound, id)
	}
	if log != r.name.LogID() {
		return warg.RecordStatus{}, warg.NotFound(warg.KindLogNotFound, log)
	}
	if id != r.recordID() {
		return warg.RecordStatus{}, warg.NotFound(warg.KindRecordNotFound, id)
	}
	return warg.RecordStatus{RecordID: id, State: warg.StatePublished, Index: 1}, nil
}

func (r *canned) Stat(ctx context.Context, digest warg.Digest) (warg.ContentInfo, error) {
	if err := r.enter(ctx); err != nil {
		return warg.ContentInfo{}, err
	}
	b, ok := r.content[digest]
	if !ok {
		return warg.ContentInfo{}, warg.NotFound(warg.KindContentNotFound, digest)
	}
	return warg.ContentInfo{Digest: digest, Size: int64(len(b))}, nil
}

// memory is content held in memory.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (r *canned) Open(ctx context.Context, digest warg.Digest) (warg.Content, error) {
	if _, err := r.Stat(ctx, digest); err != nil {
		return nil, err
	}
	b := r.content[digest]
	if r.dir == "" {
		return memory{bytes.NewReader(b)}, nil
	}
	return os.Open(filepath.Join(r.dir, digest.Hex()))
}

func (r *canned) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	if err := r.enter(ctx); err != nil {
		return nil, err
	}
	var b []byte
	for i := start; i < cannedLength+r.more && int(i-start) < max; i++ {
		b = append(b, bytes.Repeat([]byte{byte(i)}, warg.LedgerEntrySize)...)
	}
	return b, nil
}

func (r *canned) VerifyCheckpoint(ctx context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	if err := r.enter(ctx); err != nil {
		return warg.Verification{}, err
	}
	if _, err := s.Open(r.key.Public()); err != nil {
		return warg.Verification{Checkpoint: warg.Verified, Signature: warg.Invalid}, nil
	}
	return warg.Verification{Checkpoint: warg.Verified, Signature: warg.Verified}, nil
}

func (r *canned) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	if err := r.enter(ctx); err != nil {
		return warg.RecordStatus{}, err
	}
	if req.Name.LogID() != req.LogID {
		return warg.RecordStatus{}, warg.Errorf(warg.KindBadRequest,
			"package log identifier `%s` derived from `%s` does not match provided log identifier `%s`", req.Name.LogID(), req.Name, req.LogID)
	}
	if req.Name.Namespace() != r.name.Namespace() {
		return warg.RecordStatus{}, &warg.Error{Kind: warg.KindNamespaceNotFound, ID: req.Name.Namespace()}
	}
	r.mu.Lock()
	r.accepted++
	r.mu.Unlock()
	return warg.RecordStatus{RecordID: req.Record.PackageRecordID(), State: warg.StateSourcing, Missing: []warg.Digest{warg.Sum([]byte("wanted"))}}, nil
}

func (r *canned) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest, body io.Reader) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	if _, err := r.Record(ctx, log, id); err != nil {
		return err
	}
	if digest == warg.Sum([]byte("done")) {
		return &warg.Error{Kind: warg.KindNotSourcing}
	}
	h := sha256.New()
	if _, err := io.Copy(h, body); err != nil {
		return fmt.Errorf("receiving content: %w", err)
	}
	if got := warg.Digest(h.Sum(nil)); got != digest {
		return warg.Errorf(warg.KindBadRequest, "content digest `%s` does not match expected digest `%s`", got, digest)
	}
	r.mu.Lock()
	r.uploads++
	r.mu.Unlock()
	return nil
}

func (r *canned) counts() (uploads, accepted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uploads, r.accepted
}

// replica is a canned registry as an upstream: it cannot publish.
type replica struct {
	warg.Registry
	c       *canned
	known   map[warg.LogID]warg.PackageName
	unnamed map[warg.LogID]error // logs of the ledger whose names cannot be had
	asked   []warg.LogID
}

func newReplica(c *canned, names ...string) *replica {
	r := &replica{Registry: c, c: c, known: map[warg.LogID]warg.PackageName{}}
	for _, n := range names {
		name, err := warg.ParsePackageName(n)
		if err != nil {
			panic(err)
		}
		r.known[name.LogID()] = name
	}
	return r
}

func (r *replica) NameOf(_ context.Context, log warg.LogID) (warg.PackageName, error) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.asked = append(r.asked, log)
	if name, ok := r.known[log]; ok {
		return name, nil
	}
	if err := r.unnamed[log]; err != nil {
		return warg.PackageName{}, err
	}
	return warg.PackageName{}, warg.NotFound(warg.KindLogNotFound, log)
}

func (r *replica) LastView() (warg.View, bool) {
	return r.c.view, true
}

var (
	_ Own      = (*canned)(nil)
	_ Upstream = (*replica)(nil)
	_ viewer   = (*replica)(nil)
)

// initRecord returns a record that starts a package log.
func initRecord(key warg.PrivateKey) warg.Envelope {
	r := pkglog.Record{Time: warg.Timestamp{Seconds: cannedTimestamp}, Entries: []pkglog.Entry{pkglog.Init{Key: key.Public()}}}
	return r.Sign(key)
}

// publishBody returns a publish request for a record that decodes.
func (r *canned) publishBody(name, sources string) string {
	n, err := warg.ParsePackageName(name)
	if err != nil {
		panic(err)
	}
	body := api.AppendPublishRequest(nil, api.PublishBody{Name: n, Record: initRecord(r.key)})
	if sources != "" {
		body = append(body[:len(body)-1], `,"contentSources":`+sources+`}`...)
	}
	return string(body)
}
