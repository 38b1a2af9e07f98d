package monitor

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const address = "http://registry.test/base"

func keyNamed(name string) warg.PrivateKey {
	switch name {
	case "alice":
		return wargtest.Alice()
	case "bob":
		return wargtest.Bob()
	}
	return wargtest.Stranger(name)
}

func aliceKey(t testing.TB) publicKey {
	t.Helper()
	k, err := readKey(wargtest.Alice().Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// site is a registry behind HTTP, without a network, and everything that may go
// wrong with it.
type site struct {
	t testing.TB

	mu       sync.Mutex
	reg      *wargtest.Memory
	ledgerOf *wargtest.Memory                     // if not nil, what the ledger is of
	shown    *warg.SignedCheckpoint               // if not nil, the checkpoint that is shown
	change   map[api.Op]func(body []byte) []byte  // of answers
	refuse   map[api.Op]int                       // status
	hangsUp  bool                                 // instead of answering that something is unknown
	requests map[api.Op]int                       //
	header   http.Header                          // of the last request
	proofs   func(from, to uint64) ([]byte, bool) // other consistency proofs
}

func newSite(t testing.TB, reg *wargtest.Memory) *site {
	return &site{
		t: t, reg: reg, change: map[api.Op]func([]byte) []byte{}, refuse: map[api.Op]int{}, requests: map[api.Op]int{},
	}
}

// newRegistry returns a registry of Alice's with n leaves: her first record, and
// packages of three records each.
func newRegistry(t testing.TB, n int) *wargtest.Memory {
	t.Helper()
	m := wargtest.NewMemory(wargtest.Options{Domain: "registry.test", Namespaces: []string{"test"}})
	grow(t, m, "first", n-1)
	return m
}

// grow publishes n records, as packages of three records each whose names begin with
// a prefix.
func grow(t testing.TB, m *wargtest.Memory, prefix string, n int) {
	t.Helper()
	var p *wargtest.Package
	for i := range n {
		if i%3 == 0 {
			p = wargtest.NewPackage(fmt.Sprintf("test:%s-p%d", prefix, i))
			publish(t, m, p, wargtest.Init(wargtest.Bob()))
			continue
		}
		publish(t, m, p, wargtest.Grant(wargtest.Stranger(fmt.Sprint(prefix, i)).Public(), pkglog.PermissionRelease))
	}
}

func publish(t testing.TB, m *wargtest.Memory, p *wargtest.Package, entries ...pkglog.Entry) {
	t.Helper()
	s, err := m.Publish(t.Context(), p.Request(p.Next(wargtest.Bob(), entries...)))
	if err != nil || s.State != warg.StatePublished {
		t.Fatalf("publishing: %v %v", s, err)
	}
}

func operate(t testing.TB, m *wargtest.Memory, key warg.PrivateKey, entries ...oplog.Entry) {
	t.Helper()
	if err := m.Operate(key, entries...); err != nil {
		t.Fatal(err)
	}
}

// latest returns the registry's checkpoint.
func latest(t testing.TB, m *wargtest.Memory) warg.Checkpoint {
	t.Helper()
	v, err := m.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v.Checkpoint
}

func (s *site) set(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// show makes the site show one checkpoint from now on.
func (s *site) show(c warg.SignedCheckpoint) { s.set(func() { s.shown = &c }) }

// RoundTrip answers a request.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.serve(w, r)
	if s.hangsUp && w.Code == http.StatusNotFound {
		return nil, io.EOF
	}
	return w.Result(), nil
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/base/")
	op, contentType, f := s.route(path)
	s.requests[op]++
	s.header = r.Header.Clone()
	if status := s.refuse[op]; status != 0 {
		w.Header().Set("Content-Type", api.ContentTypeJSON)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"status":%d,"message":"no"}`, status)
		return
	}
	var request []byte
	if r.Body != nil {
		request, _ = io.ReadAll(r.Body)
	}
	body, err := f(r.Context(), request)
	status := http.StatusOK
	if err != nil {
		e := api.AsError(err)
		status, contentType, body = api.Status(e.Kind), api.ContentTypeJSON, api.AppendError(nil, e)
	} else if change := s.change[op]; change != nil {
		body = change(body)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

type answer func(ctx context.Context, request []byte) ([]byte, error)

func (s *site) route(path string) (api.Op, string, answer) {
	switch path {
	case api.PathCheckpoint:
		return api.OpCheckpoint, api.ContentTypeJSON, s.checkpoint
	case api.PathLogs:
		return api.OpLogs, api.ContentTypeJSON, s.logs
	case api.PathConsistency:
		return api.OpConsistency, api.ContentTypeJSON, s.consistency
	case api.PathInclusion:
		return api.OpInclusion, api.ContentTypeJSON, s.inclusion
	case api.PathLedger:
		return api.OpLedger, api.ContentTypeJSON, s.ledger
	}
	if start, ok := strings.CutPrefix(path, "v1/ledger/records/"); ok {
		return api.OpLedgerRecords, api.ContentTypeLedger, func(ctx context.Context, _ []byte) ([]byte, error) {
			from, err := api.SegmentStart(start)
			if err != nil {
				return nil, err
			}
			return s.leaves().Ledger(ctx, from, pageEntries)
		}
	}
	return api.OpNone, api.ContentTypeJSON, func(context.Context, []byte) ([]byte, error) {
		return nil, warg.Errorf(warg.KindNotFound, "not found")
	}
}

// pageEntries is small, so that a ledger has several pages.
const pageEntries = 5

func (s *site) leaves() *wargtest.Memory {
	if s.ledgerOf != nil {
		return s.ledgerOf
	}
	return s.reg
}

func (s *site) checkpoint(ctx context.Context, _ []byte) ([]byte, error) {
	v, err := s.reg.Checkpoint(ctx)
	if s.shown != nil {
		v.Signed = *s.shown
	}
	return api.AppendCheckpoint(nil, v.Signed), err
}

func (s *site) logs(ctx context.Context, request []byte) ([]byte, error) {
	req, err := api.ParseLogsRequest(request)
	if err != nil {
		return nil, err
	}
	page, err := s.reg.Logs(ctx, req)
	return api.AppendLogsPage(nil, page), err
}

func (s *site) consistency(ctx context.Context, request []byte) ([]byte, error) {
	from, to, err := api.ParseConsistencyRequest(request)
	if err != nil {
		return nil, err
	}
	if s.proofs != nil {
		if bundle, ok := s.proofs(from, to); ok {
			return api.AppendConsistency(nil, bundle), nil
		}
	}
	bundle, err := s.reg.Consistency(ctx, from, to)
	return api.AppendConsistency(nil, bundle), err
}

func (s *site) inclusion(ctx context.Context, request []byte) ([]byte, error) {
	length, leaves, err := api.ParseInclusionRequest(request)
	if err != nil {
		return nil, err
	}
	proof, err := s.reg.Inclusion(ctx, length, leaves)
	return api.AppendInclusion(nil, proof), err
}

func (s *site) ledger(ctx context.Context, _ []byte) ([]byte, error) {
	v, err := s.leaves().Checkpoint(ctx)
	var pages []api.LedgerSource
	for start := uint64(0); start < v.Checkpoint.LogLength; start += pageEntries {
		pages = append(pages, api.LedgerSource{
			First: start, Last: min(start+pageEntries, v.Checkpoint.LogLength) - 1,
			URL: api.PathLedgerRecords(start), ContentType: api.ContentTypeLedger,
		})
	}
	return api.AppendLedger(nil, pages), err
}

// watch is a watcher of a site, with a clock and a file system of its own.
type watch struct {
	*Watcher
	t       testing.TB
	site    *site
	fs      *durable.Memory
	options Options
}

func newWatch(t testing.TB, s *site, edit func(*Options)) *watch {
	t.Helper()
	w := &watch{t: t, site: s, fs: durable.NewMemory()}
	w.options = Options{
		Dir: "/state", Transport: s, FS: w.fs,
		Now:    func() time.Time { return time.Unix(1_700_100_000, 0) },
		Random: func() float64 { return 0.5 },
	}
	if edit != nil {
		edit(&w.options)
	}
	w.open()
	return w
}

func (w *watch) open() {
	w.t.Helper()
	watcher, err := Open(address, w.options)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Watcher = watcher
}

// restart ends the process and begins it again.
func (w *watch) restart() {
	w.t.Helper()
	if err := w.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// look looks and demands a status.
func (w *watch) look(status string) Report {
	w.t.Helper()
	r, err := w.Look(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Status != status {
		w.t.Fatalf("%s of length %d: %s; want %s", r.Status, r.LogLength, r.Message, status)
	}
	return r
}

// files returns the names of the watcher's files, without the folder's name.
func (w *watch) files() map[string]string {
	files := map[string]string{}
	for name, content := range w.fs.Tree("/state") {
		parts := strings.SplitN(strings.TrimPrefix(name, "/state/"), "/", 2)
		files[parts[len(parts)-1]] = content
	}
	return files
}

// evidence returns the one evidence file there must be.
func (w *watch) evidence(r Report) []byte {
	w.t.Helper()
	var found []string
	for _, name := range slices.Sorted(maps.Keys(w.files())) {
		if strings.HasPrefix(name, evidenceDir+"/") {
			found = append(found, name)
		}
	}
	if len(found) != 1 || r.Evidence == "" || !strings.HasSuffix(r.Evidence, found[0]) {
		w.t.Fatalf("evidence %v, reported %q", found, r.Evidence)
	}
	return []byte(w.files()[found[0]])
}

// convicts demands that evidence convicts Alice, and of what.
func convicts(t testing.TB, file []byte, class string) Verdict {
	t.Helper()
	v, err := CheckEvidence(file, []warg.KeyID{wargtest.Alice().Public().ID()})
	if err != nil {
		t.Fatalf("%v\n%.2000s", err, file)
	}
	if v.Class != class {
		t.Fatalf("convicted of %s, want %s", v.Class, class)
	}
	return v
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
