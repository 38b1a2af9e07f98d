package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// metric returns the value of a metric as the admin listener shows it.
func metric(t *testing.T, s *Server, name string) string {
	t.Helper()
	families, err := s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return fmt.Sprint(m.GetCounter().GetValue() + m.GetGauge().GetValue())
		}
	}
	t.Fatalf("no metric %s", name)
	return ""
}

// desk is an operator's side of the server that remembers what it was told.
type desk struct {
	told []string
	fail error
}

func (d *desk) tell(format string, args ...any) error {
	d.told = append(d.told, fmt.Sprintf(format, args...))
	return d.fail
}

func (d *desk) DefineNamespace(_ context.Context, ns string) error { return d.tell("define %s", ns) }
func (d *desk) ImportNamespace(_ context.Context, ns, domain string) error {
	return d.tell("import %s %s", ns, domain)
}

func (d *desk) Namespaces(context.Context) ([]Namespace, error) {
	return []Namespace{{Name: "acme"}, {Name: "wasi", Registry: upDomain}}, d.fail
}

func (d *desk) GrantOperator(_ context.Context, key warg.PublicKey, permissions []string) error {
	return d.tell("grant %s %v", key.ID(), permissions)
}

func (d *desk) RevokeOperator(_ context.Context, key warg.KeyID, permissions []string) error {
	return d.tell("revoke %s %v", key, permissions)
}

func (d *desk) SyncMirrors(_ context.Context, domains []string, progress func(MirrorProgress)) error {
	progress(MirrorProgress{Domain: upDomain, Stage: "ledger", Done: 1, Total: 2})
	progress(MirrorProgress{Domain: upDomain, Stage: "ledger", Done: 2, Total: 2})
	return d.tell("sync %v", domains)
}

func (d *desk) MirrorStatus(context.Context) ([]MirrorStatus, error) {
	return []MirrorStatus{{RegistryStatus: d.status()[1], Packages: 7}}, d.fail
}

func (d *desk) ResetMirror(_ context.Context, domain, reason string) (json.RawMessage, error) {
	return json.RawMessage(`{"registry":"` + domain + `"}`), d.tell("reset %s %s", domain, reason)
}

func (d *desk) AcceptClock(context.Context) error { return d.tell("accept clock") }
func (d *desk) Freeze(_ context.Context, domain string) error {
	return d.tell("freeze %s", domain)
}

func (d *desk) status() []RegistryStatus {
	signed := time.Unix(cannedTimestamp, 0).UTC()
	return []RegistryStatus{
		{Domain: ownDomain, LogLength: 3, CheckpointTime: signed, Mode: "authority", State: StateOK},
		{Domain: upDomain, LogLength: 9, CheckpointTime: signed, VerifiedAt: signed, Mode: "pass-through", State: StateStale, LastError: "no route"},
	}
}

// adminSite starts the admin listener on a Unix socket.
func adminSite(t *testing.T, ops Admin) (*site, *http.Client) {
	t.Helper()
	st := newSite(t, func(o *Options) { o.Admin = ops })
	path := filepath.Join(t.TempDir(), "admin.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- st.s.ServeAdmin(ln) }()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(st.s.admin.shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	return st, client
}

func ask(t *testing.T, client *http.Client, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://admin"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func TestAdminCalls(t *testing.T) {
	d := &desk{}
	_, client := adminSite(t, Admin{Namespaces: d, Operators: d, Mirrors: d, Registry: d, Status: d.status})
	key, err := warg.ParsePrivateKey(operatorKeyText)
	if err != nil {
		t.Fatal(err)
	}
	public := key.Public()
	rows := []struct {
		name, method, path, body string
		status                   int
		answer, told             string
	}{
		{"define", "POST", "/admin/namespaces", `{"namespace":"acme"}`, 200, `{"status":"defined"}`, "define acme"},
		{"import", "POST", "/admin/namespaces", `{"namespace":"wasi","registry":"up.example"}`, 200, `{"status":"imported"}`, "import wasi up.example"},
		{"import from nonsense", "POST", "/admin/namespaces", `{"namespace":"wasi","registry":"a/b"}`, 400, "", ""},
		{"list", "GET", "/admin/namespaces", "", 200, `{"namespaces":[{"namespace":"acme"},{"namespace":"wasi","registry":"up.example"}]}`, ""},
		{"grant", "POST", "/admin/operators/grant", `{"key":"` + public.String() + `","permissions":["commit"]}`, 200, `{"status":"granted"}`, "grant " + string(public.ID()) + " [commit]"},
		{"grant nothing", "POST", "/admin/operators/grant", `{"key":"` + public.String() + `"}`, 400, message(400, "no permissions are named"), ""},
		{"grant to nonsense", "POST", "/admin/operators/grant", `{"key":"x","permissions":["commit"]}`, 400, "", ""},
		{"revoke", "POST", "/admin/operators/revoke", `{"keyId":"` + string(public.ID()) + `","permissions":["commit"]}`, 200, `{"status":"revoked"}`, "revoke " + string(public.ID()) + " [commit]"},
		{"revoke nonsense", "POST", "/admin/operators/revoke", `{"keyId":"x","permissions":["commit"]}`, 400, "", ""},
		{"sync", "POST", "/admin/mirrors/sync", `{"domains":["up.example"]}`, 200,
			`{"domain":"up.example","stage":"ledger","done":1,"total":2}` + "\n" + `{"domain":"up.example","stage":"ledger","done":2,"total":2}` + "\n" + `{"status":"ok"}`, "sync [up.example]"},
		{"sync all", "POST", "/admin/mirrors/sync", `{}`, 200, "", "sync []"},
		{"reset", "POST", "/admin/mirrors/reset", `{"domain":"up.example","reason":" they told us "}`, 200, `{"registry":"up.example"}`, "reset up.example they told us"},
		{"accept clock", "POST", "/admin/registry/accept-clock", `{}`, 200, `{"status":"accepted"}`, "accept clock"},
		{"freeze", "POST", "/admin/registry/freeze", `{"domain":"own.example"}`, 200, `{"status":"frozen"}`, "freeze own.example"},
		{"freeze with more", "POST", "/admin/registry/freeze", `{"domain":"own.example","now":true}`, 400, "", ""},
		{"reset without reason", "POST", "/admin/mirrors/reset", `{"domain":"up.example","reason":" "}`, 400, "", ""},
		{"sync nonsense", "POST", "/admin/mirrors/sync", `[]`, 400, "", ""},
		{"not JSON", "POST", "/admin/namespaces", `x`, 400, "", ""},
		{"an unknown member", "POST", "/admin/namespaces", `{"namespace":"acme","x":1}`, 400, "", ""},
		{"two values", "POST", "/admin/namespaces", `{"namespace":"acme"}{}`, 400, message(400, "reading the request: something follows the JSON value"), ""},
		{"a large body", "POST", "/admin/namespaces", `{"namespace":"` + strings.Repeat("a", 2<<20) + `"}`, 400, "", ""},
		{"health", "GET", "/healthz", "", 200, `{"status":"ok"}`, ""},
		{"readiness", "GET", "/readyz", "", 200, `{"status":"ok"}`, ""},
		{"an unknown path", "GET", "/v1/fetch/checkpoint", "", 404, "", ""},
		{"a wrong method", "DELETE", "/admin/namespaces", "", 405, "", ""},
		{"profiles", "GET", "/debug/pprof/cmdline", "", 200, "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d.told = nil
			status, answer := ask(t, client, row.method, row.path, row.body)
			if status != row.status || row.answer != "" && answer != row.answer {
				t.Errorf("%d %.300s", status, answer)
			}
			if got := strings.Join(d.told, ", "); got != row.told {
				t.Errorf("told %q, want %q", got, row.told)
			}
		})
	}
	t.Run("status", func(t *testing.T) {
		status, answer := ask(t, client, "GET", "/statusz", "")
		want := `{"version":"1.2.3","baseUrl":"https://pkg.example.com/warg","registries":[` +
			`{"domain":"own.example","logLength":3,"checkpointTime":"2023-08-14T17:51:42Z","mode":"authority","state":"ok"},` +
			`{"domain":"up.example","logLength":9,"checkpointTime":"2023-08-14T17:51:42Z","verifiedAt":"2023-08-14T17:51:42Z","mode":"pass-through","state":"stale","lastError":"no route"}]}`
		if status != 200 || answer != want {
			t.Errorf("%d %s", status, answer)
		}
	})
	t.Run("mirrors", func(t *testing.T) {
		if status, answer := ask(t, client, "GET", "/admin/mirrors", ""); status != 200 || !strings.Contains(answer, `"packages":7`) || !strings.Contains(answer, `"domain":"up.example"`) {
			t.Errorf("%d %s", status, answer)
		}
	})
	t.Run("failures", func(t *testing.T) {
		d.fail = errors.New("the authority is fenced")
		if status, answer := ask(t, client, "POST", "/admin/namespaces", `{"namespace":"x"}`); status != 500 || answer != message(500, "the authority is fenced") {
			t.Errorf("an operator sees internal errors: %d %s", status, answer)
		}
		if status, answer := ask(t, client, "POST", "/admin/mirrors/sync", `{}`); status != 200 || !strings.HasSuffix(answer, `{"error":"the authority is fenced","code":500}`) {
			t.Errorf("%d %s", status, answer)
		}
		d.fail = warg.Errorf(warg.KindConflict, "the namespace `x` is already defined and cannot be redefined")
		if status, answer := ask(t, client, "POST", "/admin/namespaces", `{"namespace":"x"}`); status != 409 || answer != message(409, "the namespace `x` is already defined and cannot be redefined") {
			t.Errorf("%d %s", status, answer)
		}
	})
}

func TestAdminWithoutParts(t *testing.T) {
	_, client := adminSite(t, Admin{})
	for _, row := range [][3]string{
		{"GET", "/admin/namespaces", ""},
		{"POST", "/admin/namespaces", `{"namespace":"x"}`},
		{"POST", "/admin/operators/grant", `{"key":"x","permissions":["commit"]}`},
		{"GET", "/admin/mirrors", ""},
		{"POST", "/admin/mirrors/sync", `{}`},
		{"POST", "/admin/mirrors/reset", `{"domain":"up.example","reason":"x"}`},
		{"POST", "/admin/registry/accept-clock", `{}`},
		{"POST", "/admin/registry/freeze", `{"domain":"own.example"}`},
	} {
		if status, answer := ask(t, client, row[0], row[1], row[2]); status != 501 {
			t.Errorf("%s %s: %d %s", row[0], row[1], status, answer)
		}
	}
	if status, answer := ask(t, client, "GET", "/statusz", ""); status != 200 || !strings.Contains(answer, `"registries":[]`) {
		t.Errorf("%d %s", status, answer)
	}
}

// TestAdminKeepsWebPagesOut: a page in the operator's browser can reach loopback.
func TestAdminKeepsWebPagesOut(t *testing.T) {
	d := &desk{}
	st, client := adminSite(t, Admin{Namespaces: d})
	for _, header := range []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"} {
		if status, _ := ask(t, client, "POST", "/admin/namespaces", `{"namespace":"x"}`, header); status != 403 {
			t.Errorf("%s: %d", header, status)
		}
	}
	if status, _ := ask(t, client, "POST", "/admin/namespaces", `{"namespace":"x"}`, "Content-Type: text/plain"); status != 415 {
		t.Errorf("a form of a page: %d", status)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = st.s.ServeAdmin(ln) }()
	for host, want := range map[string]int{"evil.example": 403, "evil.example:80": 403, "127.0.0.1.evil.example": 403, "localhost": 200, "localhost:1": 200, "127.0.0.1:1": 200, "[::1]:1": 200} {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("Host %s: %v %v, want %d", host, resp, err, want)
		}
		_ = c.Close()
	}
	if len(d.told) != 0 {
		t.Errorf("done for a page: %v", d.told)
	}
}

type fixedAddr struct {
	net.Listener
	addr net.Addr
}

func (l fixedAddr) Addr() net.Addr { return l.addr }

func TestAdminListenerMustBePrivate(t *testing.T) {
	st := newSite(t)
	for _, ip := range []string{"0.0.0.0", "192.0.2.1", "::", "2001:db8::1"} {
		err := st.s.ServeAdmin(fixedAddr{addr: &net.TCPAddr{IP: net.ParseIP(ip)}})
		if err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v", ip, err)
		}
	}
}

// TestMetrics: what is counted, and that no request adds a series.
func TestMetrics(t *testing.T) {
	d := &desk{}
	st, client := adminSite(t, Admin{Status: d.status})
	_, before := ask(t, client, "GET", "/metrics", "")
	for i := range 20 {
		st.get(fmt.Sprintf("/v1/fetch/checkpoint?%d", i))
		st.get(fmt.Sprintf("/unknown/%d", i))
		st.get("/v1/fetch/checkpoint", fmt.Sprintf("Warg-Registry: r%d.example", i))
		st.one(fmt.Sprintf("M%d", i), request(fmt.Sprintf("M%d", i), "/v1/ledger", nil))
	}
	st.exchange("GET", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", false)
	_, after := ask(t, client, "GET", "/metrics", "")
	series := func(text string) (n int) {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "entrepot_") {
				n++
			}
		}
		return n
	}
	if series(before) != series(after) {
		t.Errorf("%d series became %d", series(before), series(after))
	}
	for _, want := range []string{
		`entrepot_http_requests_total{class="2xx",op="checkpoint"} 20`,
		`entrepot_http_requests_total{class="4xx",op="checkpoint"} 20`,
		`entrepot_http_requests_total{class="4xx",op="none"} 40`,
		`entrepot_http_request_seconds_count{op="checkpoint"} 40`,
		`entrepot_http_refused_total{reason="version"} 1`,
		`entrepot_http_in_flight 0`,
		`entrepot_http_body_memory_bytes 0`,
		`entrepot_registry_log_length{registry="up.example"} 9`,
		`entrepot_registry_state{registry="up.example",state="stale"} 1`,
		`entrepot_registry_state{registry="up.example",state="ok"} 0`,
		`go_goroutines`,
	} {
		if !strings.Contains(after, want) {
			t.Errorf("%s is missing", want)
		}
	}
	var doc map[string]any
	if _, answer := ask(t, client, "GET", "/statusz", ""); json.Unmarshal([]byte(answer), &doc) != nil {
		t.Errorf("statusz: %s", answer)
	}
}
