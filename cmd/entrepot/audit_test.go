package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// auditLines returns what the audit log of a site says, without what differs from run to
// run.
func auditLines(t *testing.T, u *person) (lines []string) {
	t.Helper()
	for line := range strings.Lines(u.read(t, "entrepot-data/audit.log")) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		words := []string{string(e.Kind)}
		for _, w := range []string{e.Upstream, e.Package, e.Call, e.About, e.Class} {
			if w != "" {
				words = append(words, w)
			}
		}
		lines = append(lines, strings.Join(words, " "))
	}
	return lines
}

func wantLines(t *testing.T, u *person, wanted ...string) {
	t.Helper()
	lines := auditLines(t, u)
	for _, want := range wanted {
		at := slices.Index(lines, want)
		if at < 0 {
			t.Errorf("the audit log has no line %q; it has\n%s", want, strings.Join(lines, "\n"))
			return
		}
		lines = lines[at+1:] // in this order
	}
}

// TestAuditOfASite: what a server does, what its operator asks for, on a running server
// and without, and that it can be verified.
func TestAuditOfASite(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	s := u.serve(t)
	u.ok(t, "namespace", "define", "acme")
	u.ok(t, "namespace", "import", "wasi", "wasi.example")
	if r := u.run(t, "namespace", "define", "acme"); r.code != exitFailed {
		t.Errorf("defining twice: %+v", r)
	}
	stand := wargtest.Bob().Public()
	u.ok(t, "operator", "grant", stand.String(), "commit")
	u.ok(t, "key", "new")
	u.write(t, "tool.wasm", string(wargtest.Component("tool")))
	u.ok(t, "publish", "--registry", s.url, "acme:tool@1.0.0", "tool.wasm")
	u.ok(t, "audit", "verify") // while it runs
	s.end(t)
	u.ok(t, "operator", "revoke", string(stand.ID()), "commit")
	wantLines(t, u,
		"started", "begun", "published",
		"asked namespace define acme", "published", "done namespace define acme",
		"asked namespace import wasi wasi.example", "published", "done namespace import wasi wasi.example",
		"asked namespace define acme", "failed namespace define acme",
		"asked operator grant "+string(stand.ID())+" commit", "published", "done operator grant "+string(stand.ID())+" commit",
		"published acme:tool", "stopped",
		"asked operator revoke "+string(stand.ID())+" commit", "published", "done operator revoke "+string(stand.ID())+" commit")

	var said auditVerified
	decode(t, u.ok(t, "audit", "verify", "--json"), &said)
	if said.Length == 0 || said.To != said.Length || said.From != 0 || said.Events[audit.Published] != said.Length || len(said.Findings) != 0 {
		t.Errorf("verified: %+v", said)
	}
	// The server signed after its first lines; the key may be named as well, or be another.
	key := said.SignedBy
	if said.Signed == 0 || said.Signed >= said.Last || said.Events[audit.Signed] == 0 {
		t.Errorf("signed: %+v", said.Report)
	}
	if err := os.Rename(u.path("entrepot-data/operator.key"), u.path("kept.key")); err != nil {
		t.Fatal(err)
	}
	u.ok(t, "audit", "verify", "--operator-key", string(stand.ID()))
	if err := os.Rename(u.path("entrepot-data/authority/anchor"), u.path("kept.anchor")); err != nil {
		t.Fatal(err)
	}
	if r := u.run(t, "audit", "verify", "--operator-key", string(stand.ID())); r.code != exitVerification || !strings.Contains(r.stderr, string(key)) {
		t.Errorf("signed by a key that is not known: %+v", r)
	}
	u.ok(t, "audit", "verify", "--operator-key", string(key))
	if r := u.run(t, "audit", "verify", "--operator-key", "none"); r.code != exitUsage {
		t.Errorf("no key id: %+v", r)
	}
	noted := regexp.MustCompile(`the audit log stands" line=(\d+) digest=sha256:([0-9a-f]{64})`).FindAllStringSubmatch(s.log.String(), -1)
	if len(noted) != 2 {
		t.Fatalf("the server says %d times where its audit log stands", len(noted))
	}
	for _, n := range noted {
		u.ok(t, "audit", "verify", "--noted", n[1]+":"+n[2])
	}
	if r := u.run(t, "audit", "verify", "--noted", noted[1][1]+":"+noted[0][2]); r.code != exitVerification {
		t.Errorf("another line was noted: %+v", r)
	}
	if r := u.run(t, "audit", "verify", "--noted", "9"); r.code != exitUsage {
		t.Errorf("no mark: %+v", r)
	}
}

// TestAuditOfCommands: what is done to a data directory while no server runs stands in
// the same chain, also what fails, and what is brought back goes on in the chain that was
// backed up.
func TestAuditOfCommands(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	s := u.serve(t)
	u.ok(t, "namespace", "define", "acme")
	u.ok(t, "backup", "saved")
	s.end(t)
	u.ok(t, "rebuild-index")
	u.write(t, "entrepot-data/authority/index/MANIFEST", "damage")
	u.ok(t, "fsck", "--repair")
	if r := u.run(t, "recover", "--accept", "9:"+warg.Sum(nil).String()); r.code != exitConfig {
		t.Errorf("a word that is wrong: %+v", r)
	}
	word := regexp.MustCompile(`newest\s+(\S+)`).FindStringSubmatch(u.ok(t, "fsck"))[1]
	u.ok(t, "recover", "--accept", word)
	u.ok(t, "freeze", "localhost")
	lines := auditLines(t, u)
	for _, want := range []string{"done rebuild-index", "done fsck --repair", "failed recover", "done recover", "done freeze localhost"} {
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) })
		if at < 1 || !strings.HasPrefix(lines[at-1], "asked") && want != "done freeze localhost" {
			t.Fatalf("no line %q in\n%s", want, strings.Join(lines, "\n"))
		}
		lines = lines[at+1:]
	}
	u.ok(t, "audit", "verify")
	key := u.read(t, "entrepot-data/operator.key")
	if err := os.RemoveAll(u.path("entrepot-data")); err != nil {
		t.Fatal(err)
	}
	u.write(t, "entrepot-data/restore.unfinished", "authority/anchor\nauthority/anchor.log\n")
	u.write(t, "entrepot-data/authority/anchor.log", "half of it")
	u.write(t, "entrepot-data/operator.key", key)
	for _, args := range [][]string{{"doctor", "--quick"}, {"fsck"}, {"namespace", "define", "x"}, {"recover", "--accept", word}, {"serve"}} {
		if r := u.run(t, args...); r.code != exitConfig || !strings.Contains(r.stderr, "was interrupted; run `entrepot restore") {
			t.Fatalf("%v on a restore that was interrupted: %+v", args, r)
		}
	}
	u.ok(t, "restore", "saved", "--fenced")
	lines = auditLines(t, u)
	if last := lines[len(lines)-1]; lines[0] != "started" || !strings.HasPrefix(last, "done restore ") || !strings.HasSuffix(last, " as it was at "+word) {
		t.Errorf("restored, the log ends with %q", last)
	}
	u.ok(t, "audit", "verify")
}

// TestAuditVerifyFinds: damage, with file and line, and records without a line.
func TestAuditVerifyFinds(t *testing.T) {
	u := newPerson(t)
	u.ok(t, "init", "--namespace", "acme")
	const file = "entrepot-data/audit.log"
	was := u.read(t, file)
	if err := os.Remove(u.path(file)); err != nil {
		t.Fatal(err)
	}
	if r := u.run(t, "audit", "verify"); r.code != exitConfig || !strings.Contains(r.stderr, "there is no audit log") {
		t.Errorf("without a log: %+v", r)
	}
	lines := strings.SplitAfter(was, "\n")
	for name, c := range map[string]struct{ text, says string }{
		"a changed line": {strings.Replace(was, `"event":"published"`, `"event":"purchased"`, 1), "audit.log:3: its check does not match"},
		"a lost line":    {strings.Join(lines[1:], ""), "audit.log:1: it does not follow line 0"},
		"another hand":   {was + "{}\n", fmt.Sprintf("audit.log:%d: it is not a line of the log", len(lines))},
	} {
		u.write(t, file, c.text)
		r := u.run(t, "audit", "verify", "--json")
		if first, _, _ := strings.Cut(r.stderr, "\n"); r.code != exitVerification || !strings.Contains(first, c.says) {
			t.Errorf("%s: exit %d, %s", name, r.code, r.stderr)
		}
		var said auditVerified
		if decode(t, r.stdout, &said); len(said.Findings) == 0 || said.Findings[0].Reason == "" {
			t.Errorf("%s: %+v", name, said)
		}
	}
}

// TestNoAuditNoCall: what cannot be recorded is not done.
func TestNoAuditNoCall(t *testing.T) {
	u := newPerson(t)
	log, err := audit.Open(audit.Options{Path: u.path("no/such/folder/audit.log"), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := audited(log, "freeze", "", func() error { t.Error("it is done"); return nil }); exitCode(err) != exitIO {
		t.Errorf("answered %v, exit code %d", err, exitCode(err))
	}
}

// TestAuditOfUpstreams: a key that is trusted, a registry that contradicts itself, the
// reset, and what an archive brings.
func TestAuditOfUpstreams(t *testing.T) {
	front, fork := torn(t, "")
	front.ok(t, "archive", "export", "-o", "held.archive")
	wantLines(t, front, "asked archive export up.example", "done archive export up.example")
	fork()
	if r := front.run(t, "mirror", "sync"); r.code != exitVerification {
		t.Fatalf("the fork: %+v", r)
	}
	front.ok(t, "mirror", "reset", "up.example", "--reason", "they told us")
	front.ok(t, "archive", "import", "held.archive")
	text := auditLines(t, front)
	at := slices.IndexFunc(text, func(l string) bool { return strings.HasPrefix(l, "asked archive import sha256:") })
	if at < 0 || !strings.HasSuffix(text[at], " of up.example") || !strings.HasPrefix(text[at+1], "done archive import") {
		t.Errorf("the import has no lines: %v", text)
	}
	wantLines(t, front, "asked mirror sync", "quarantined up.example equivocation", "refused up.example equivocation", "failed mirror sync",
		"asked mirror reset up.example: they told us", "done mirror reset up.example: they told us")
	front.ok(t, "audit", "verify")

	home := newPerson(t)
	up := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	home.write(t, "entrepot.toml", fmt.Sprintf("[upstream.\"first.example\"]\nurl = %q\ntrust_first_key = true\nallow_private_addresses = true\n", up))
	home.ok(t, "init", "--config", "unused.toml")
	home.ok(t, "mirror", "sync")
	wantLines(t, home, "firstKey first.example")
	var e audit.Event
	for line := range strings.Lines(home.read(t, "entrepot-data/audit.log")) {
		if err := json.Unmarshal([]byte(line), &e); err == nil && e.Kind == audit.FirstKey {
			break
		}
	}
	if warg.KeyID(e.Key) != wargtest.Alice().Public().ID() {
		t.Errorf("the key that was trusted is %q", e.Key)
	}
}
