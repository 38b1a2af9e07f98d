package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// cannedUploads takes uploads for the one content that its capability is for.
type cannedUploads struct {
	c *canned

	mu     sync.Mutex
	asked  []string // capabilities
	stored int
}

// uploads is where the site's upload addresses lead.
func (st *site) uploads() *cannedUploads { return st.s.uploads.(*cannedUploads) }

// capability is what the route is asked with in tests that go by the table.
const capability = "x"

func (u *cannedUploads) Upload(ctx context.Context, given string, body io.Reader) error {
	if err := u.c.enter(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	u.asked = append(u.asked, given)
	u.mu.Unlock()
	if given != capability {
		return warg.Errorf(warg.KindNotFound, "this upload address does not hold")
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return fmt.Errorf("receiving content: %w", err)
	}
	if string(b) != "content" {
		return warg.Errorf(warg.KindBadRequest, "other bytes")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stored++
	return nil
}

// TestUploadAddresses: the path alone decides where an upload goes.
func TestUploadAddresses(t *testing.T) {
	st := newSite(t, limited)
	good := "content"
	send := func(method, path, body string, headers ...string) reply {
		return st.one(method, request(method, path, &body, headers...))
	}
	for name, row := range map[string]struct {
		reply  reply
		status int
	}{
		"POST":                     {send("POST", "/v1/upload/x", good), 201},
		"PUT":                      {send("PUT", "/v1/upload/x", good), 201},
		"below the base URL":       {send("POST", "/warg/v1/upload/x", good), 201},
		"of any type":              {send("POST", "/v1/upload/x", good, "Content-Type: application/wasm"), 201},
		"with a registry header":   {send("POST", "/v1/upload/x", good, "Warg-Registry: nobody.example"), 201},
		"with a token":             {send("POST", "/v1/upload/x", good, "Authorization: Bearer secret"), 201},
		"of other bytes":           {send("POST", "/v1/upload/x", "other"), 400},
		"with another capability":  {send("POST", "/v1/upload/y", good), 404},
		"with an escaped one":      {send("POST", "/v1/upload/%78", good), 404},
		"without one":              {send("POST", "/v1/upload/", good), 404},
		"with more path behind it": {send("POST", "/v1/upload/x/y", good), 404},
		"read":                     {st.get("/v1/upload/x"), 405},
	} {
		if row.reply.status != row.status {
			t.Errorf("%s: %d %s", name, row.reply.status, row.reply.body)
		}
		checkCommon(t, row.reply)
		if row.reply.header.Get(api.HeaderRegistry) != "" {
			t.Errorf("%s: a registry is named", name)
		}
	}
	if u := st.uploads(); u.stored != 6 || !slices.Contains(u.asked, "%78") {
		t.Errorf("%d uploads were stored, asked with %q", u.stored, u.asked)
	}
	for name, raw := range map[string]string{
		"a length with less":   "Content-Length: 7\r\n\r\nconten",
		"a chunk that is open": "Transfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n",
	} {
		if got := st.exchange("POST", "POST /v1/upload/x HTTP/1.1\r\nHost: a\r\n"+raw, true); len(got) != 1 || got[0].status != 400 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if u := st.uploads(); u.stored != 6 {
		t.Errorf("half a body was stored")
	}
	none := newSite(t, func(o *Options) { o.Uploads = nil })
	if r := none.one("POST", request("POST", "/v1/upload/x", &good)); r.status != 404 {
		t.Errorf("where nothing is published through us: %d %s", r.status, r.body)
	}
}

// passage is an upstream that takes records.
type passage struct {
	*replica
	given []warg.PublishRequest
}

func (p *passage) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	if err := p.c.enter(ctx); err != nil {
		return warg.RecordStatus{}, err
	}
	p.given = append(p.given, req)
	d := warg.Sum([]byte("wanted"))
	return warg.RecordStatus{
		RecordID: req.Record.PackageRecordID(), State: warg.StateSourcing, Missing: []warg.Digest{d},
		Uploads: map[warg.Digest][]warg.UploadSite{d: {{Method: http.MethodPost, URL: api.PathUploadCapability("abc")}}},
	}, nil
}

func (p *passage) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, d warg.Digest, body io.Reader) error {
	return p.c.Upload(ctx, log, id, d, body)
}

// TestPublishThrough: the header decides who gets a record. Without it a namespace of
// the table belongs to somebody else.
func TestPublishThrough(t *testing.T) {
	var up *passage
	st := newSite(t, func(o *Options) {
		up = &passage{replica: o.Upstreams[upDomain].(*replica)}
		o.Upstreams[upDomain] = up
	})
	name := mustName("wasi:new")
	key, err := warg.ParsePrivateKey(operatorKeyText)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("a record of which the proxy understands nothing")
	env := warg.Envelope{Content: content, KeyID: key.Public().ID(), Signature: key.SignPackageRecord(content)}
	body := string(api.AppendPublishRequest(nil, api.PublishBody{Name: name, Record: env}))
	path := "/" + api.PathPublish(name.LogID())

	r := st.post(path, body)
	if want := `{"status":409,"type":"namespaceImport","id":"wasi"}`; r.status != 409 || r.body != want {
		t.Errorf("without the header: %d %s", r.status, r.body)
	}
	r = st.post(path, body, "Warg-Registry: "+upDomain, "Authorization: Bearer of-the-caller")
	want := fmt.Sprintf(`{"recordId":"%s","state":"sourcing","missingContent":{"%s":{"upload":[{"type":"http","method":"POST","url":"v1/upload/abc"}]}}}`,
		env.PackageRecordID(), warg.Sum([]byte("wanted")))
	if r.status != 202 || r.body != want || r.header.Get(api.HeaderRegistry) != upDomain {
		t.Errorf("with the header: %d %s %v", r.status, r.body, r.header)
	}
	if len(up.given) != 1 || up.given[0].Name != name || string(up.given[0].Record.Content) != string(content) || up.given[0].Record.Signature != env.Signature {
		t.Errorf("given on: %+v", up.given)
	}
	if _, accepted := st.own.counts(); accepted != 0 {
		t.Error("our own registry took it as well")
	}
	st.up.c.failWith(&warg.Error{Kind: warg.KindUnauthorized, Message: "unknown key"})
	if r := st.post(path, body, "Warg-Registry: "+upDomain); r.status != 401 || !strings.Contains(r.body, "unknown key") {
		t.Errorf("what the registry says: %d %s", r.status, r.body)
	}
}
