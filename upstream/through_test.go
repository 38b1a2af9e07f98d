package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// book is [Offers] in memory: it numbers what it offers.
type book struct {
	mu      sync.Mutex
	targets []UploadTarget
}

func (b *book) Offer(t UploadTarget) (warg.UploadSite, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = append(b.targets, t)
	return warg.UploadSite{Method: http.MethodPost, URL: fmt.Sprintf("v1/upload/%d", len(b.targets)-1)}, nil
}

// find returns what an offered site stands for.
func (b *book) find(t *testing.T, sites []warg.UploadSite) UploadTarget {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int
	if len(sites) != 1 {
		t.Fatalf("%d sites are offered", len(sites))
	}
	if _, err := fmt.Sscanf(sites[0].URL, "v1/upload/%d", &n); err != nil {
		t.Fatalf("offered %q: %v", sites[0].URL, err)
	}
	return b.targets[n]
}

// relay is a replica of a registry behind HTTP that takes records for it.
type relay struct {
	up      *wargtest.Memory
	http    *served
	tap     *tap
	book    *book
	clock   *clock
	replica *Replica
}

func newRelay(t *testing.T, change ...func(*Options)) *relay {
	t.Helper()
	up := wargtest.NewMemory(wargtest.MemoryOptions())
	y := &relay{up: up, http: serve(t, up), book: new(book), clock: newClock()}
	y.tap = newTap(y.http.client(t, nil))
	dir := t.TempDir()
	o := Options{
		Domain: "up.example", Transport: y.tap, Store: newMemStore(), OperatorKey: wargtest.Alice().Public().ID(),
		Publishing: y.http.client(t, func(o *ClientOptions) { o.Token = "our own" }), Offers: y.book,
		Dir: dir + "/upstreams/up.example", EvidenceDir: dir + "/evidence", TempDir: dir, Now: y.clock.now,
	}
	for _, f := range change {
		f(&o)
	}
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	y.replica = r
	return y
}

// TestReplicaPublishes runs the suites on a replica that is published through. Nobody
// tells it to look for news: what was published through it is there.
func TestReplicaPublishes(t *testing.T) {
	subject := func(t *testing.T) wargtest.Subject {
		y := newRelay(t)
		return wargtest.Subject{
			Registry: y.replica, Publisher: y.replica, Imports: true, Wasm: true, Restarts: true, Hold: y.up.Hold,
			OperatorKey: wargtest.Alice().Public(), OperatorSecret: wargtest.Alice(),
		}
	}
	t.Run("publisher", func(t *testing.T) { wargtest.TestPublisher(t, subject) })
	t.Run("registry", func(t *testing.T) { wargtest.TestRegistry(t, subject) })
}

// begin returns the request for the first record of a package with a release.
func begin(name string, content []byte) warg.PublishRequest {
	p := wargtest.NewPackage(name)
	return p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content)))
}

func (y *relay) publish(t *testing.T, req warg.PublishRequest) warg.RecordStatus {
	t.Helper()
	status, err := y.replica.Publish(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestPublishThrough(t *testing.T) {
	y := newRelay(t)
	content := wargtest.Component("through")
	req := begin("test:through", content)
	if _, err := y.replica.Checkpoint(t.Context()); err != nil { // an old view that is in no need of a refresh
		t.Fatal(err)
	}
	status := y.publish(t, req)
	if status.State != warg.StateSourcing || status.RecordID != req.Record.PackageRecordID() || len(status.Missing) != 1 {
		t.Fatalf("published: %+v", status)
	}
	if got := y.http.header(api.OpPublish).Get("Authorization"); got != "Bearer our own" {
		t.Errorf("published with %q", got)
	}
	target := y.book.find(t, status.Uploads[warg.Sum(content)])
	want := UploadTarget{"up.example", req.LogID, status.RecordID, warg.Sum(content), warg.UploadSite{
		Method: http.MethodPost, URL: api.PathUpload(req.LogID, status.RecordID, warg.Sum(content)),
	}}
	if target != want {
		t.Errorf("offered %+v, want %+v", target, want)
	}
	if err := y.replica.UploadTo(t.Context(), target, &trickle{bytes.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	f, err := y.replica.Open(t.Context(), warg.Sum(content))
	if err != nil {
		t.Fatalf("what was uploaded: %v", err)
	}
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, content) || y.tap.count("content") != 0 {
		t.Errorf("what was uploaded: %d bytes, %v; asked for %d times", len(got), err, y.tap.count("content"))
	}
	f.Close()
	h := y.http.header(api.OpUpload)
	if h.Get("Authorization") != "" || y.http.length(api.OpUpload) != int64(len(content)) {
		t.Errorf("uploaded %d bytes with %v", y.http.length(api.OpUpload), h)
	}
	asked := y.http.count(api.OpRecord)
	status, err = y.replica.Record(t.Context(), req.LogID, status.RecordID)
	if err != nil || status.State != warg.StatePublished || status.Index != 1 {
		t.Fatalf("state %+v, %v", status, err)
	}
	view, err := y.replica.Checkpoint(t.Context())
	if err != nil || view.Checkpoint.LogLength != 2 {
		t.Errorf("the next checkpoint: %+v, %v", view.Checkpoint, err)
	}
	if _, err := y.replica.Record(t.Context(), req.LogID, status.RecordID); err != nil || y.http.count(api.OpRecord) != asked+1 {
		t.Errorf("a record of the ledger was asked for again, or not at all before: %d times, %v", y.http.count(api.OpRecord)-asked, err)
	}
	if again := y.publish(t, req); again.State != warg.StatePublished || again.Index != status.Index {
		t.Errorf("published again: %+v", again)
	}
}

// trickle gives one byte after another and does not say how many there are.
type trickle struct{ r io.Reader }

func (r *trickle) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 1)]) }

// TestPublishedMeansCovered: as long as no verified checkpoint covers a record it is
// being processed, whatever upstream calls it; and it never goes back.
func TestPublishedMeansCovered(t *testing.T) {
	y := newRelay(t)
	content := wargtest.Component("covered")
	req := begin("test:covered", content)
	id := req.Record.PackageRecordID()
	if err := y.replica.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	status := y.publish(t, req)
	y.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down", RetryAfter: 1})
	if err := y.replica.UploadTo(t.Context(), y.book.find(t, status.Uploads[warg.Sum(content)]), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if upstream, err := y.up.Record(t.Context(), req.LogID, id); err != nil || upstream.State != warg.StatePublished {
		t.Fatalf("upstream says %+v, %v", upstream, err)
	}
	status, err := y.replica.Record(t.Context(), req.LogID, id)
	if err != nil || status.State != warg.StateProcessing {
		t.Errorf("no new checkpoint can be had: %+v, %v", status, err)
	}
	y.tap.setDown(nil)
	y.clock.advance(2 * longestBackoff)
	status, err = y.replica.Record(t.Context(), req.LogID, id)
	if err != nil || status.State != warg.StatePublished {
		t.Fatalf("a new checkpoint can be had: %+v, %v", status, err)
	}
	y.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down", RetryAfter: 1})
	y.clock.advance(time.Hour)
	view, err := y.replica.Checkpoint(t.Context())
	if err != nil || view.Checkpoint.LogLength <= status.Index {
		t.Errorf("the record is not covered any more: %+v, %v", view.Checkpoint, err)
	}
	if status, err = y.replica.Record(t.Context(), req.LogID, id); err != nil || status.State != warg.StatePublished {
		t.Errorf("while upstream is away: %+v, %v", status, err)
	}
}

// TestAbsenceIsForgotten: content that upstream did not have before it was published
// is there afterwards.
func TestAbsenceIsForgotten(t *testing.T) {
	y := newRelay(t)
	content := wargtest.Component("absent")
	req := begin("test:absent", content)
	status := y.publish(t, req)
	if _, err := y.replica.Stat(t.Context(), warg.Sum(content)); !errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		t.Fatalf("before: %v", err)
	}
	// It reaches upstream without us, so that we do not have it from the upload.
	if err := y.up.Upload(t.Context(), req.LogID, status.RecordID, warg.Sum(content), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if status, err := y.replica.Record(t.Context(), req.LogID, status.RecordID); err != nil || status.State != warg.StatePublished {
		t.Fatalf("%+v, %v", status, err)
	}
	if _, err := y.replica.Stat(t.Context(), warg.Sum(content)); err != nil {
		t.Errorf("after: %v", err)
	}
}

// TestRejectedReadsTheNewHead: whose record was rejected built on a head that is not the
// head any more, and would do so again if the next read were as old.
func TestRejectedReadsTheNewHead(t *testing.T) {
	y := newRelay(t)
	if err := y.replica.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	publishTo(t, y.up, map[string]*wargtest.Package{}, "test:faster", "1.0.0")
	req := begin("test:slower", nil)
	id := req.Record.PackageRecordID()
	rejected := api.AppendRecordStatus(nil, req.LogID, warg.RecordStatus{RecordID: id, State: warg.StateRejected, Reason: "it does not follow the head"})
	y.http.setAttack(jsonAnswer(api.OpRecord, http.StatusOK, api.ContentTypeJSON, string(rejected)))
	status, err := y.replica.Record(t.Context(), req.LogID, id)
	if err != nil || status.State != warg.StateRejected {
		t.Fatalf("%+v, %v", status, err)
	}
	if view, err := y.replica.Checkpoint(t.Context()); err != nil || view.Checkpoint.LogLength != 2 {
		t.Errorf("the next read: %+v, %v", view.Checkpoint, err)
	}
}

// TestRenew: a refresh that is under way is not new enough.
func TestRenew(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	asked, answer := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.tap.checkpoint = func(v warg.View) warg.View { // upstream has answered, the answer is on its way
		once.Do(func() {
			close(asked)
			<-answer
		})
		return v
	}
	first := make(chan error, 1)
	go func() { first <- w.replica.Refresh(t.Context()) }()
	<-asked
	w.publish("test:b", "1.0.0")
	renewed := make(chan error, 1)
	go func() { renewed <- w.replica.Renew(t.Context()) }()
	close(answer)
	if err := errors.Join(<-first, <-renewed); err != nil {
		t.Fatal(err)
	}
	if got := w.length(); got != 3 {
		t.Errorf("length %d is served after it was renewed, want 3", got)
	}
	if n := w.tap.count("checkpoint"); n != 2 {
		t.Errorf("upstream was asked %d times", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.replica.Renew(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits any more: %v", err)
	}
}

// TestLiesAboutRecords: upstream says published, and its own ledger does not.
func TestLiesAboutRecords(t *testing.T) {
	req := begin("test:lie", nil)
	id := req.Record.PackageRecordID()
	for name, row := range map[string]struct {
		state string
		class Class
	}{
		"a place where something else is": {`"state":"published","registryIndex":0`, ClassAbsence},
		"another record":                  {``, ClassAnswer},
		"no known state":                  {`"state":"lost"`, ClassAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			y := newRelay(t)
			said := fmt.Sprintf(`{"recordId":"%s",%s}`, id, row.state)
			if row.state == "" {
				said = fmt.Sprintf(`{"recordId":"%s","state":"processing"}`, warg.Sum(nil))
			}
			y.http.setAttack(jsonAnswer(api.OpRecord, 200, api.ContentTypeJSON, said))
			_, err := y.replica.Record(t.Context(), req.LogID, id)
			if ClassOf(err) != row.class || !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamInvalid}) {
				t.Errorf("got %v of class %s, want %s", err, ClassOf(err), row.class)
			}
			if n := y.replica.Status().Refused[row.class]; n != 1 {
				t.Errorf("%d refusals were counted", n)
			}
		})
	}
	t.Run("another place than it has", func(t *testing.T) {
		y := newRelay(t)
		content := wargtest.Component("x")
		req := begin("test:moved", content)
		submit(t, y.up, req, content)
		said := fmt.Sprintf(`{"recordId":"%s","state":"published","registryIndex":0}`, req.Record.PackageRecordID())
		y.http.setAttack(jsonAnswer(api.OpPublish, 202, api.ContentTypeJSON, said))
		if _, err := y.replica.Publish(t.Context(), req); ClassOf(err) != ClassLedger {
			t.Errorf("got %v of class %s", err, ClassOf(err))
		}
	})
}

// TestVerdictsPass: what upstream says of a record reaches the publisher; what it says
// of itself does not look like it.
func TestVerdictsPass(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		want   warg.Kind
	}{
		"unauthorized":     {401, `{"status":401,"message":"no"}`, warg.KindUnauthorized},
		"imported":         {409, `{"status":409,"type":"namespaceImport","id":"test"}`, warg.KindNamespaceImported},
		"pending":          {409, fmt.Sprintf(`{"status":409,"type":"record","id":"%s"}`, warg.Sum(nil)), warg.KindRecordPending},
		"rejected":         {422, `{"status":422,"message":"no"}`, warg.KindRejected},
		"too many":         {429, `{"status":429,"message":"later"}`, warg.KindTooMany},
		"no such path":     {404, `{"status":404,"message":"not here"}`, warg.KindUnavailable},
		"broken":           {500, `{"status":500,"message":"x"}`, warg.KindUnavailable},
		"maintenance page": {503, `<html>`, warg.KindUnavailable},
		"no JSON":          {202, `<html>`, warg.KindUpstreamInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			y := newRelay(t)
			y.http.setAttack(jsonAnswer(api.OpPublish, row.status, api.ContentTypeJSON, row.body))
			_, err := y.replica.Publish(t.Context(), begin("test:x", nil))
			if e, ok := asWarg(err); !ok || e.Kind != row.want {
				t.Errorf("got %v", err)
			}
			y.http.setAttack(nil)
			if _, err := y.replica.Publish(t.Context(), begin("test:x", nil)); (err == nil) != aboutRecords(row.want) && row.want != warg.KindUpstreamInvalid {
				t.Errorf("and then: %v", err)
			}
		})
	}
}

func TestUploadThroughIsChecked(t *testing.T) {
	y := newRelay(t, func(o *Options) { o.MaxUpload = 1 << 10 })
	content := wargtest.Component("checked")
	req := begin("test:checked", content)
	status := y.publish(t, req)
	target := y.book.find(t, status.Uploads[warg.Sum(content)])
	broken := io.MultiReader(bytes.NewReader(content), &brokenReader{})
	for name, row := range map[string]struct {
		body io.Reader
		want warg.Kind
	}{
		"other bytes":  {strings.NewReader("other"), warg.KindBadRequest},
		"too few":      {bytes.NewReader(content[1:]), warg.KindBadRequest},
		"none":         {bytes.NewReader(nil), warg.KindBadRequest},
		"an end early": {broken, warg.KindBadRequest},
		"too many":     {bytes.NewReader(make([]byte, 1<<10+1)), warg.KindTooLarge},
	} {
		if err := y.replica.UploadTo(t.Context(), target, row.body); !errors.Is(err, &warg.Error{Kind: row.want}) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := y.http.count(api.OpUpload); n != 0 {
		t.Errorf("%d bodies that are not the content reached upstream", n)
	}
	exact := make([]byte, 1<<10)
	limit := UploadTarget{Digest: warg.Sum(exact), Site: target.Site}
	if err := y.replica.UploadTo(t.Context(), limit, bytes.NewReader(exact)); !errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}) || y.http.count(api.OpUpload) != 1 {
		t.Errorf("as large as allowed: %v", err) // upstream does not want it there, but it got there
	}
	for range 2 { // the second time it is there already
		if err := y.replica.UploadTo(t.Context(), target, bytes.NewReader(content)); err != nil {
			t.Error(err)
		}
	}
	if err := y.replica.Upload(t.Context(), target.LogID, target.RecordID, target.Digest, bytes.NewReader(content)); !errors.Is(err, &warg.Error{Kind: warg.KindNotSourcing}) {
		t.Errorf("to a record that waits for nothing: %v", err)
	}
}

type brokenReader struct{}

func (*brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection lost") }

// TestUploadSites: upstream may name other places than its own paths, but none that it
// may not send us to.
func TestUploadSites(t *testing.T) {
	content := wargtest.Component("sites")
	digest := warg.Sum(content)
	for name, row := range map[string]struct {
		upload string
		sites  int
		class  Class
	}{
		"absolute":         {`[{"type":"http","method":"PUT","url":"$URL/elsewhere"}]`, 1, ClassNone},
		"the first counts": {`[{"type":"carrier pigeon"},{"type":"http","method":"PUT","url":"elsewhere"},{"type":"http","method":"POST","url":"https://x.example/"}]`, 1, ClassNone},
		"nowhere":          {`[]`, 0, ClassNone},
		"link-local":       {`[{"type":"http","method":"POST","url":"http://169.254.169.254/latest"}]`, 1, ClassAddress},
		"a file":           {`[{"type":"http","method":"POST","url":"file:///etc/passwd"}]`, 1, ClassAddress},
	} {
		t.Run(name, func(t *testing.T) {
			y := newRelay(t)
			req := begin("test:sites", content)
			said := fmt.Sprintf(`{"recordId":"%s","state":"sourcing","missingContent":{"%s":{"upload":%s}}}`,
				req.Record.PackageRecordID(), digest, strings.ReplaceAll(row.upload, "$URL", y.http.http.URL))
			var got []byte
			y.http.setAttack(func(op api.Op, w http.ResponseWriter, r *http.Request) bool {
				return jsonAnswer(api.OpPublish, 202, api.ContentTypeJSON, said)(op, w, r)
			})
			y.http.elsewhere = func(r *http.Request) { got = body(r) }
			status := y.publish(t, req)
			if len(status.Uploads[digest]) != row.sites {
				t.Fatalf("offered %+v", status.Uploads)
			}
			if row.sites == 0 {
				return
			}
			err := y.replica.UploadTo(t.Context(), y.book.find(t, status.Uploads[digest]), bytes.NewReader(content))
			if ClassOf(err) != row.class || (err == nil) != (row.class == ClassNone) || (err == nil) != bytes.Equal(got, content) {
				t.Errorf("uploaded %d bytes: %v", len(got), err)
			}
		})
	}
}

// TestNothingIsSent: no record leaves for a registry that is offline here, that
// contradicted itself, or that takes none.
func TestNothingIsSent(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Options)
		before func(*testing.T, *relay)
		want   warg.Kind
	}{
		"offline": {func(o *Options) { o.Offline = true }, nil, warg.KindUnavailable},
		"quarantined": {nil, func(t *testing.T, y *relay) {
			if err := y.replica.trusted.quarantine(Quarantine{Class: "fork"}); err != nil {
				t.Fatal(err)
			}
		}, warg.KindUnavailable},
		"not taken": {func(o *Options) { o.Publishing = nil }, nil, warg.KindUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			y := newRelay(t, func(o *Options) {
				if row.change != nil {
					row.change(o)
				}
			})
			if row.before != nil {
				row.before(t, y)
			}
			req := begin("test:x", nil)
			target := UploadTarget{LogID: req.LogID, Digest: warg.Sum(nil), Site: warg.UploadSite{Method: "POST", URL: "x"}}
			_, err := y.replica.Publish(t.Context(), req)
			for doing, err := range map[string]error{
				"publishing": err,
				"uploading":  y.replica.Upload(t.Context(), req.LogID, warg.RecordID{}, warg.Sum(nil), strings.NewReader("")),
				"sending on": y.replica.UploadTo(t.Context(), target, strings.NewReader("")),
			} {
				if !errors.Is(err, &warg.Error{Kind: row.want}) {
					t.Errorf("%s: %v", doing, err)
				}
			}
			if n := y.http.count(api.OpPublish) + y.http.count(api.OpRecord) + y.http.count(api.OpUpload); n != 0 {
				t.Errorf("upstream was asked %d times", n)
			}
		})
	}
}

func TestPublishingNeedsOffers(t *testing.T) {
	o := Options{Domain: "up.example", TrustFirstKey: true, Publishing: (*Client)(nil), Dir: t.TempDir()}
	if _, err := Open(t.Context(), o); err == nil {
		t.Error("uploads have nowhere to go")
	}
}
