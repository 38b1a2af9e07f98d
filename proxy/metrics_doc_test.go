package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// counted are counts of all parts, with a value behind every label.
func counted() Counts {
	h := Histogram{Buckets: map[float64]uint64{0.001: 1, 1: 2}, Count: 3, Sum: 4}
	return Counts{
		Upstreams: func() []UpstreamCounts {
			return []UpstreamCounts{{
				Domain:   upDomain,
				Requests: map[string]map[string]uint64{"checkpoint": {"ok": 7, "timeout": 1}},
				Refused:  map[string]uint64{"signature": 2, "rewind": 0},
				Hits:     map[string]uint64{"records": 5}, Misses: map[string]uint64{"records": 1}, Waits: map[string]uint64{"records": 4},
				Stale: 3, Records: 1000, Verified: map[string]Histogram{"records": h}, Quarantines: 1,
				Circuit: map[string]bool{"closed": false, "open": true}, Opened: 2, Retries: 5, RetriesBudget: 4.5,
			}}
		},
		Cache: func() CacheCounts {
			return CacheCounts{Contents: 2, Pinned: 1, Bytes: 200, PinnedBytes: 100, MaxBytes: 1000, Evictions: 6, Damages: 1, EvictedBytes: 600}
		},
		Authority: func() AuthorityCounts {
			return AuthorityCounts{
				Submissions: map[string]uint64{"accepted": 8}, Records: map[string]uint64{"published": 7}, Batches: h,
				Checkpoints: 9, Syncs: 90, Processing: 1, Waiting: 2,
			}
		},
		Scrub: func() ScrubCounts { return ScrubCounts{Damages: map[string]uint64{"content": 0}} },
		Peers: func() []PeerStatus {
			return []PeerStatus{{Domain: "peer.example", AnsweredAt: time.Unix(1000, 0), Checks: map[string]uint64{"consistent": 3}}}
		},
		Security: func() map[string]uint64 { return map[string]uint64{"signature": 2, "fence": 0} },
	}
}

// family is a metric as a scrape shows it.
type family struct {
	kind, help string
	labels     []string
}

// scrape starts a server and returns what it shows to Prometheus, by name.
func scrape(t *testing.T) map[string]family {
	t.Helper()
	d := &desk{}
	st, _ := adminSite(t, Admin{Status: d.status, Counts: counted()})
	st.get("/v1/fetch/checkpoint")
	st.exchange("GET", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", false)
	families, err := st.s.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]family{}
	for _, f := range families {
		shown := family{kind: strings.ToLower(f.GetType().String()), help: f.GetHelp()}
		for _, l := range f.GetMetric()[0].GetLabel() {
			shown.labels = append(shown.labels, l.GetName())
		}
		all[f.GetName()] = shown
	}
	return all
}

const metricsHead = `# Metrics

` + "`GET /metrics`" + ` on the admin listener answers in the text format of Prometheus. This page is made from such an answer; a test keeps the two
equal. Labels come from closed sets, apart from ` + "`registry`" + ` and ` + "`peer`" + `, which are configured domains: nothing that a client or an upstream
sends makes a new series. Besides what is listed here there are ` + "`go_…`" + ` and ` + "`process_…`" + `, as every Go program has them.
[grafana.json](grafana.json) is a dashboard of these metrics; import it and choose the data source.

Alerts worth having:

| when | because |
| --- | --- |
| ` + "`entrepot_registry_state{state=\"fenced\"} == 1`" + ` | our own registry does not sign; its log says why |
| ` + "`entrepot_registry_state{state=\"quarantined\"} == 1`" + ` | a registry signed two statements that cannot both be true; the evidence is in ` + "`evidence/`" + ` |
| ` + "`entrepot_registry_checkpoint_age_seconds > 7200`" + ` | a registry cannot be reached, or sends nothing that can be believed; one that nobody uses and that is not mirrored ages as well |
| ` + "`increase(entrepot_security_events_total[1h]) > 0`" + ` | see the kind, ` + "`lastError`" + ` in ` + "`/statusz`" + `, and the log |
| ` + "`rate(entrepot_http_requests_total{class=\"5xx\"}[5m]) > 0`" + ` | requests fail here |
| ` + "`increase(entrepot_cache_damages_total[1d]) > 0`" + ` | the disk below the cache loses bits |
| ` + "`increase(entrepot_scrub_damages_total[1d]) > 0`" + ` | the disk loses bits; the log says of which file, docs/operating.md what to do |
| ` + "`time() - entrepot_scrub_ended_seconds > 604800`" + ` | everything has not been read again for a week |

| metric | type | labels | |
| --- | --- | --- | --- |
`

// metricsPage returns the page that describes the metrics.
func metricsPage(families map[string]family) string {
	var b strings.Builder
	b.WriteString(metricsHead)
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if !strings.HasPrefix(name, "entrepot_") {
			continue
		}
		f := families[name]
		var labels []string
		for _, l := range f.labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, f.kind, strings.Join(labels, ", "), f.help)
	}
	return b.String()
}

// TestMetricsPage keeps the page in docs equal to what a server shows.
func TestMetricsPage(t *testing.T) {
	path := filepath.Join("..", "docs", "metrics.md")
	page := metricsPage(scrape(t))
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page {
		t.Errorf("%s is not what a server shows; run: go test ./proxy -run TestMetricsPage -update", path)
	}
}

var (
	metricName   = regexp.MustCompile(`\b(?:entrepot|go|process)_[a-z0-9_]+`)
	matcher      = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping     = regexp.MustCompile(`\b(?:by|without)\s*\(([^)]*)\)`)
	sampleSuffix = regexp.MustCompile(`_(?:bucket|sum|count)$`)
)

// checkExpr fails unless an expression names metrics, all of which exist, and no other
// labels than theirs.
func checkExpr(t *testing.T, families map[string]family, where, expr string) {
	t.Helper()
	labels := []string{"le"}
	names := metricName.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s: %q names no metric", where, expr)
	}
	for _, name := range names {
		f, ok := families[name]
		if !ok {
			f, ok = families[sampleSuffix.ReplaceAllString(name, "")]
			ok = ok && f.kind == "histogram"
		}
		if !ok {
			t.Errorf("%s: there is no metric %s", where, name)
			continue
		}
		labels = append(labels, f.labels...)
	}
	for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
		if !slices.Contains(labels, m[1]) {
			t.Errorf("%s: %q: no label %s", where, expr, m[1])
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(m[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				t.Errorf("%s: %q: no label %s", where, expr, l)
			}
		}
	}
}

func TestAlertsOfMetricsPage(t *testing.T) {
	families := scrape(t)
	n := 0
	for line := range strings.Lines(metricsHead) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			expr, _, _ := strings.Cut(rest, "` |")
			checkExpr(t, families, "metrics.md", expr)
			n++
		}
	}
	if n < 5 {
		t.Errorf("%d alerts found", n)
	}
}

// TestDashboard: the dashboard shows metrics that there are, and every metric of ours
// is on it.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "grafana.json"))
	if err != nil {
		t.Fatal(err)
	}
	type panel struct {
		ID          int
		Title, Type string
		GridPos     struct{ H, W, X, Y int }
		Targets     []struct{ Expr, RefID string }
	}
	var board struct {
		Title, UID string
		Panels     []panel
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	families := scrape(t)
	shown := map[string]bool{}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] || p.Title == "" || p.GridPos.W == 0 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: an id twice, no title, or no place", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			checkExpr(t, families, p.Title, target.Expr)
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				shown[name], shown[sampleSuffix.ReplaceAllString(name, "")] = true, true
			}
		}
	}
	for _, v := range board.Templating.List {
		if strings.Contains(v.Query, "_") {
			checkExpr(t, families, "variable "+v.Name, v.Query)
		}
	}
	for name := range families {
		if strings.HasPrefix(name, "entrepot_") && !shown[name] {
			t.Errorf("%s is on no panel", name)
		}
	}
	if board.Title == "" || board.UID == "" {
		t.Error("the dashboard has no name")
	}
}

// TestCountsAreShown: numbers reach the scrape where they belong.
func TestCountsAreShown(t *testing.T) {
	d := &desk{}
	_, client := adminSite(t, Admin{Status: d.status, Counts: counted()})
	_, text := ask(t, client, "GET", "/metrics", "")
	for _, want := range []string{
		`entrepot_upstream_requests_total{class="ok",kind="checkpoint",registry="up.example"} 7`,
		`entrepot_upstream_requests_total{class="timeout",kind="checkpoint",registry="up.example"} 1`,
		`entrepot_upstream_refused_total{class="signature",registry="up.example"} 2`,
		`entrepot_upstream_refused_total{class="rewind",registry="up.example"} 0`,
		`entrepot_cache_reads_total{kind="records",registry="up.example",result="hit"} 5`,
		`entrepot_cache_reads_total{kind="records",registry="up.example",result="miss"} 1`,
		`entrepot_coalesced_waits_total{kind="records",registry="up.example"} 4`,
		`entrepot_stale_answers_total{registry="up.example"} 3`,
		`entrepot_verified_records_total{registry="up.example"} 1000`,
		`entrepot_verification_seconds_bucket{kind="records",registry="up.example",le="0.001"} 1`,
		`entrepot_verification_seconds_bucket{kind="records",registry="up.example",le="+Inf"} 3`,
		`entrepot_quarantines_total{registry="up.example"} 1`,
		`entrepot_upstream_circuit_state{registry="up.example",state="open"} 1`,
		`entrepot_upstream_circuit_state{registry="up.example",state="closed"} 0`,
		`entrepot_upstream_circuit_opened_total{registry="up.example"} 2`,
		`entrepot_upstream_retries_total{registry="up.example"} 5`,
		`entrepot_upstream_retry_budget{registry="up.example"} 4.5`,
		`entrepot_cache_contents{pinned="true"} 1`,
		`entrepot_cache_content_bytes{pinned="false"} 200`,
		`entrepot_cache_max_bytes 1000`,
		`entrepot_cache_evictions_total 6`,
		`entrepot_cache_evicted_bytes_total 600`,
		`entrepot_cache_damages_total 1`,
		`entrepot_publishes_total{outcome="accepted"} 8`,
		`entrepot_records_total{outcome="published"} 7`,
		`entrepot_batch_records_sum 4`,
		`entrepot_checkpoints_signed_total 9`,
		`entrepot_syncs_total 90`,
		`entrepot_pending_records{state="sourcing"} 2`,
		`entrepot_pending_records{state="processing"} 1`,
		`entrepot_security_events_total{kind="signature"} 2`,
		`entrepot_security_events_total{kind="fence"} 0`,
		`entrepot_registry_checkpoint_age_seconds{registry="up.example"} 90`,
		`entrepot_registry_checkpoint_age_seconds{registry="own.example"} 90`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("%s is missing", want)
		}
	}
	if _, answer := ask(t, client, "GET", "/statusz", ""); !strings.HasSuffix(answer, `,"securityEvents":{"signature":2}}`) {
		t.Errorf("statusz: %s", answer)
	}
}
