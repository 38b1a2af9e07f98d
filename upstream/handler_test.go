package upstream

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// served is a registry behind HTTP, with the least of a server that answers as the
// protocol wants, and a place for attacks.
type served struct {
	reg  warg.Registry
	pub  warg.Publisher
	mux  *http.ServeMux
	http *httptest.Server // nil if it is reached otherwise
	url  string

	mu       sync.Mutex
	requests map[api.Op]int
	headers  map[api.Op]http.Header // of the last request
	lengths  map[api.Op]int64       // of the last request's body, -1 if not announced

	// attack, if not nil, sees every request first and reports whether it answered.
	attack func(op api.Op, w http.ResponseWriter, r *http.Request) bool
	// change, if not nil, may change a JSON body, or what a download brings.
	change func(op api.Op, body []byte) []byte
	// elsewhere, if not nil, takes requests to /elsewhere.
	elsewhere func(r *http.Request)
	// contentURL, if not nil, is where content is said to be.
	contentURL func(d warg.Digest) []api.Source
}

type publisher interface {
	warg.Registry
	warg.Publisher
}

func serve(t *testing.T, m publisher) *served {
	t.Helper()
	s := newServed(m)
	s.http = httptest.NewServer(s.mux)
	s.url = s.http.URL
	t.Cleanup(s.http.Close)
	return s
}

// newServed returns a registry that nobody listens for yet.
func newServed(m publisher) *served {
	s := &served{reg: m, pub: m, mux: http.NewServeMux(), requests: map[api.Op]int{}, headers: map[api.Op]http.Header{}, lengths: map[api.Op]int64{}}
	mux := s.mux
	handle := func(op api.Op, f func(r *http.Request) ([]byte, error)) {
		for method := range strings.SplitSeq(op.Route().Methods, ",") {
			if method != http.MethodHead {
				mux.HandleFunc(method+" "+op.Route().Template, s.handler(op, f))
			}
		}
	}
	handle(api.OpCheckpoint, s.checkpoint)
	handle(api.OpLogs, s.logs)
	handle(api.OpNames, s.names)
	handle(api.OpPublish, s.publish)
	handle(api.OpRecord, s.record)
	handle(api.OpUpload, s.upload)
	handle(api.OpSources, s.sources)
	handle(api.OpContent, s.content)
	handle(api.OpConsistency, s.consistency)
	handle(api.OpInclusion, s.inclusion)
	handle(api.OpVerify, s.verify)
	handle(api.OpLedger, s.ledger)
	handle(api.OpLedgerRecords, s.ledgerRecords)
	mux.HandleFunc("/elsewhere", func(_ http.ResponseWriter, r *http.Request) { s.elsewhere(r) })
	return s
}

func (s *served) handler(op api.Op, f func(r *http.Request) ([]byte, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[op]++
		s.headers[op], s.lengths[op] = r.Header.Clone(), r.ContentLength
		attack, change := s.attack, s.change
		s.mu.Unlock()
		if attack != nil && attack(op, w, r) {
			return
		}
		body, err := f(r)
		status, contentType := op.Route().Status, op.Route().Type
		if err != nil {
			e := api.AsError(err)
			status, contentType, body = api.Status(e.Kind), api.ContentTypeJSON, api.AppendError(nil, e)
		} else if change != nil {
			body = change(op, body)
		}
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		w.Write(body)
	}
}

func (s *served) setAttack(f func(op api.Op, w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attack = f
}

func (s *served) count(op api.Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[op]
}

func (s *served) header(op api.Op) http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers[op]
}

func (s *served) length(op api.Op) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lengths[op]
}

func body(r *http.Request) []byte {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	return b
}

func (s *served) checkpoint(r *http.Request) ([]byte, error) {
	v, err := s.reg.Checkpoint(r.Context())
	return api.AppendCheckpoint(nil, v.Signed), err
}

func (s *served) logs(r *http.Request) ([]byte, error) {
	req, err := api.ParseLogsRequest(body(r))
	if err != nil {
		return nil, err
	}
	page, err := s.reg.Logs(r.Context(), req)
	return api.AppendLogsPage(nil, page), err
}

func (s *served) names(r *http.Request) ([]byte, error) {
	ids, err := api.ParseNamesRequest(body(r))
	if err != nil {
		return nil, err
	}
	names, err := s.reg.Names(r.Context(), ids)
	if err != nil {
		return nil, err
	}
	return api.AppendNames(nil, ids, names), nil
}

func (s *served) publish(r *http.Request) ([]byte, error) {
	log, err := api.SegmentLogID(r.PathValue("log_id"))
	if err != nil {
		return nil, err
	}
	b, err := api.ParsePublishRequest(body(r))
	if err != nil {
		return nil, err
	}
	status, err := s.pub.Publish(r.Context(), b.Request(log))
	return api.AppendRecordStatus(nil, log, status), err
}

func (s *served) record(r *http.Request) ([]byte, error) {
	log, err := api.SegmentLogID(r.PathValue("log_id"))
	if err != nil {
		return nil, err
	}
	id, err := api.SegmentRecordID(r.PathValue("record_id"))
	if err != nil {
		return nil, err
	}
	status, err := s.reg.Record(r.Context(), log, id)
	return api.AppendRecordStatus(nil, log, status), err
}

func (s *served) upload(r *http.Request) ([]byte, error) {
	log, err := api.SegmentLogID(r.PathValue("log_id"))
	if err != nil {
		return nil, err
	}
	id, err := api.SegmentRecordID(r.PathValue("record_id"))
	if err != nil {
		return nil, err
	}
	digest, err := api.SegmentDigest(r.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	return nil, s.pub.Upload(r.Context(), log, id, digest, r.Body)
}

func (s *served) sources(r *http.Request) ([]byte, error) {
	digest, err := api.SegmentDigest(r.PathValue("digest"))
	if err != nil {
		return nil, err
	}
	if _, err := s.reg.Stat(r.Context(), digest); err != nil {
		return nil, err
	}
	sources := []api.Source{{URL: s.url + "/" + api.PathContent(digest), Size: -1}}
	if s.contentURL != nil {
		sources = s.contentURL(digest)
	}
	return api.AppendSources(nil, []api.DigestSources{{Digest: digest, Sources: sources}}), nil
}

func (s *served) content(r *http.Request) ([]byte, error) {
	digest, ok := api.SegmentContent(r.PathValue("file"))
	if !ok {
		return nil, warg.Errorf(warg.KindNotFound, "no content")
	}
	c, err := s.reg.Open(r.Context(), digest)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

func (s *served) consistency(r *http.Request) ([]byte, error) {
	from, to, err := api.ParseConsistencyRequest(body(r))
	if err != nil {
		return nil, err
	}
	bundle, err := s.reg.Consistency(r.Context(), from, to)
	return api.AppendConsistency(nil, bundle), err
}

func (s *served) inclusion(r *http.Request) ([]byte, error) {
	length, leaves, err := api.ParseInclusionRequest(body(r))
	if err != nil {
		return nil, err
	}
	proof, err := s.reg.Inclusion(r.Context(), length, leaves)
	return api.AppendInclusion(nil, proof), err
}

func (s *served) verify(r *http.Request) ([]byte, error) {
	signed, err := api.ParseVerifyRequest(body(r))
	if err != nil {
		return nil, err
	}
	v, err := s.reg.VerifyCheckpoint(r.Context(), signed)
	return api.AppendVerification(nil, v), err
}

func (s *served) ledger(r *http.Request) ([]byte, error) {
	v, err := s.reg.Checkpoint(r.Context())
	return api.AppendLedger(nil, api.LedgerPages(v.Checkpoint.LogLength, api.PathLedgerRecords)), err
}

func (s *served) ledgerRecords(r *http.Request) ([]byte, error) {
	start, err := api.SegmentStart(r.PathValue("start"))
	if err != nil {
		return nil, err
	}
	return s.reg.Ledger(r.Context(), start, warg.LedgerPageEntries)
}

// client returns a client of the server, changed by edit if that is not nil.
func (s *served) client(t *testing.T, edit func(*ClientOptions)) *Client {
	t.Helper()
	o := ClientOptions{Domain: "up.example", URL: s.http.URL, AllowPrivateAddresses: true, TempDir: t.TempDir()}
	if edit != nil {
		edit(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// jsonAnswer is an attack: a fixed answer to one operation.
func jsonAnswer(op api.Op, status int, contentType, text string) func(api.Op, http.ResponseWriter, *http.Request) bool {
	return func(got api.Op, w http.ResponseWriter, _ *http.Request) bool {
		if got != op {
			return false
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, text)
		return true
	}
}

func TestClientConforms(t *testing.T) {
	wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		c := serve(t, m).client(t, nil)
		return wargtest.Subject{
			Registry: c, Publisher: c, Imports: true, Wasm: true, Hold: m.Hold,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
		}
	})
}

func TestClientPublishes(t *testing.T) {
	wargtest.TestPublisher(t, func(t *testing.T) wargtest.Subject {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		c := serve(t, m).client(t, nil)
		return wargtest.Subject{
			Registry: c, Publisher: c, Imports: true, Wasm: true, Hold: m.Hold,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
		}
	})
}

// TestReplicaConforms runs the suite on a replica of a registry that it reaches
// over HTTP.
func TestReplicaConforms(t *testing.T) {
	wargtest.TestRegistry(t, func(t *testing.T) wargtest.Subject {
		m := wargtest.NewMemory(wargtest.MemoryOptions())
		r := replicaOf(t, serve(t, m), newMemStore())
		return wargtest.Subject{
			Registry: r, Publisher: m, Sync: r.Refresh, Imports: true, Wasm: true, Restarts: true, Hold: m.Hold,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
		}
	})
}

// replicaOf returns a replica that reaches a registry over HTTP.
func replicaOf(t *testing.T, s *served, store Store) *Replica {
	t.Helper()
	dir := t.TempDir()
	r, err := Open(t.Context(), Options{
		Domain: "up.example", Transport: s.client(t, nil), Store: store,
		OperatorKey: wargtest.Alice().Public().ID(),
		Dir:         dir + "/upstreams/up.example", EvidenceDir: dir + "/evidence", TempDir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// total returns how many requests there were.
func (s *served) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.requests {
		n += c
	}
	return n
}
