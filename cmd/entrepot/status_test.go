package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// askAdmin asks the admin listener of a server that has its data in the usual folder.
func askAdmin(t *testing.T, u *person, path string) string {
	t.Helper()
	socket := filepath.Join(u.folder, "entrepot-data", "run", "admin.sock")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	answer, err := client.Get("http://localhost" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, answer.Status, text, err)
	}
	return string(text)
}

// TestMetricsOfAServer: a whole server shows exactly the metrics that are described,
// with labels from closed sets, and counts what is done with it.
func TestMetricsOfAServer(t *testing.T) {
	up, front := behind(t, "")
	home := front.serve(t)
	v := newPerson(t)
	for range 2 {
		v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:tool")
	}
	front.ok(t, "key", "new")
	front.write(t, "mine", string(wargtest.Component("mine")))
	front.ok(t, "publish", "--registry", home.url, "acme:mine@1.0.0", "mine")

	text := askAdmin(t, front, "/metrics")
	var shown, described []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (entrepot_\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		shown = append(shown, m[1]+" "+m[2])
	}
	page := readDoc(t, "metrics.md")
	for _, m := range regexp.MustCompile("(?m)^\\| `(entrepot_\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "entrepot_peer_") { // it has none
			described = append(described, m[1]+" "+m[2])
		}
	}
	slices.Sort(shown)
	slices.Sort(described)
	if len(shown) < 20 || !slices.Equal(shown, described) {
		t.Errorf("shown:\n%s\ndescribed:\n%s", strings.Join(shown, "\n"), strings.Join(described, "\n"))
	}
	for _, row := range []struct {
		metric string
		atMost float64
	}{
		{`entrepot_upstream_requests_total{class="ok",kind="checkpoint",registry="up.example"}`, 99}, // as old as max_age says
		{`entrepot_upstream_requests_total{class="ok",kind="content",registry="up.example"}`, 1},
		{`entrepot_cache_reads_total{kind="records",registry="up.example",result="miss"}`, 1},
		{`entrepot_cache_reads_total{kind="content",registry="up.example",result="hit"}`, 99},
		{`entrepot_verified_records_total{registry="up.example"}`, 2},
		{`entrepot_verification_seconds_count{kind="checkpoint",registry="up.example"}`, 99},
		{`entrepot_registry_log_length{registry="up.example"}`, 3},
		{`entrepot_cache_contents{pinned="false"}`, 1},
		{`entrepot_publishes_total{outcome="accepted"}`, 2},
		{`entrepot_records_total{outcome="published"}`, 2},
		{`entrepot_batch_records_sum`, 9},
		{`entrepot_syncs_total`, 999},
	} {
		if got := sampleOf(t, text, row.metric); got < 1 || got > row.atMost {
			t.Errorf("%s is %v", row.metric, got)
		}
	}
	for _, class := range upstream.Classes() {
		if got := sampleOf(t, text, `entrepot_security_events_total{kind="`+class.String()+`"}`); got != 0 {
			t.Errorf("%v events of class %s", got, class)
		}
	}
	up.end(t)
}

// sampleOf returns the value of one line of a scrape.
func sampleOf(t *testing.T, text, metric string) float64 {
	t.Helper()
	_, rest, ok := strings.Cut("\n"+text, "\n"+metric+" ")
	if !ok {
		t.Errorf("%s is not shown", metric)
		return -1
	}
	value, _, _ := strings.Cut(rest, "\n")
	f, err := strconv.ParseFloat(value, 64)
	if err != nil {
		t.Error(err)
	}
	return f
}

// registries reads the status page.
func registries(t *testing.T, u *person) []proxy.RegistryStatus {
	t.Helper()
	var d struct{ Registries []proxy.RegistryStatus }
	if err := json.Unmarshal([]byte(askAdmin(t, u, "/statusz")), &d); err != nil {
		t.Fatal(err)
	}
	return d.Registries
}

// TestStatusPage: what an operator reads about registries that are well, unreachable,
// and caught.
func TestStatusPage(t *testing.T) {
	up, front := behind(t, "")
	home := front.serve(t)
	status := func() (own, theirs proxy.RegistryStatus) {
		t.Helper()
		all := registries(t, front)
		if len(all) != 2 || all[0].Domain != "front.example" || all[1].Domain != "up.example" {
			t.Fatalf("got %+v", all)
		}
		return all[0], all[1]
	}
	own, theirs := status()
	if own.Mode != "authority" || own.State != proxy.StateOK || own.OperatorKey == "" || own.LogLength == 0 || own.CheckpointTime.IsZero() {
		t.Errorf("our own: %+v", own)
	}
	if theirs.State != proxy.StateStale || theirs.LogLength != 0 || theirs.OperatorKey == "" || theirs.Pinned != "configuration" {
		t.Errorf("before anything was asked: %+v", theirs)
	}
	v := newPerson(t)
	v.ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:tool")
	pin := theirs.OperatorKey
	if _, theirs = status(); theirs.State != proxy.StateOK || theirs.LogLength != 3 || theirs.VerifiedAt.IsZero() || theirs.OperatorKey != pin || theirs.LastError != "" {
		t.Errorf("after a download: %+v", theirs)
	}
	up.end(t)
	if r := front.run(t, "mirror", "sync"); r.code != exitTemporary {
		t.Errorf("while upstream is away: %+v", r)
	}
	if _, theirs = status(); !strings.Contains(theirs.LastError, "up.example") || theirs.LastErrorAt.IsZero() || theirs.LogLength != 3 || len(theirs.Refused)+len(theirs.Evidence) != 0 {
		t.Errorf("while upstream is away: %+v", theirs)
	}

	// Another registry answers in its place, with another key and history.
	imposter := newPerson(t)
	imposter.serve(t, "--listen", strings.TrimPrefix(up.url, "http://"))
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Errorf("an imposter: %+v", r)
	}
	_, theirs = status()
	var refused uint64
	for _, n := range theirs.Refused {
		refused += n
	}
	if refused == 0 || theirs.LogLength != 3 || theirs.State == proxy.StateQuarantined || theirs.OperatorKey != pin {
		t.Errorf("an imposter: %+v", theirs)
	}
	if text := home.log.String(); !strings.Contains(text, `msg="upstream was refused" upstream=up.example`) {
		t.Errorf("the log does not say so:\n%s", text)
	}
}

// readDoc reads a page of the documentation.
func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestStatusPageOfAQuarantine: a registry that contradicted itself is shown with the
// proof, also by the next process.
func TestStatusPageOfAQuarantine(t *testing.T) {
	front, fork := torn(t, "")
	fork()
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Fatalf("the fork: %+v", r)
	}
	home := front.serve(t)
	theirs := registries(t, front)[1]
	if q := theirs.Quarantine; theirs.State != proxy.StateQuarantined || q == nil || q.Class != "equivocation" || q.Since.IsZero() || !slices.Equal(theirs.Evidence, []string{q.Evidence}) {
		t.Errorf("got %+v", theirs)
	}
	if _, err := os.Stat(theirs.Evidence[0]); err != nil {
		t.Error(err)
	}
	if got := sampleOf(t, askAdmin(t, front, "/metrics"), `entrepot_registry_state{registry="up.example",state="quarantined"}`); got != 1 {
		t.Errorf("the metric says %v", got)
	}
	// What was verified is served, so the server is ready, and says what to look at.
	const ready = `{"status":"ok","quarantined":["up.example"]}`
	if code, body := get(t, home.url+"/readyz"); code != http.StatusOK || body != ready {
		t.Errorf("/readyz: %d %s", code, body)
	}
	if body := askAdmin(t, front, "/readyz"); strings.TrimSpace(body) != ready {
		t.Errorf("/readyz of the admin listener: %s", body)
	}
	home.end(t)
}
