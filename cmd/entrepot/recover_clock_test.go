package main

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestAcceptClock: a clock that jumped is accepted through a server and without one, and
// is not asked about again; in every other state the command is refused and changes
// nothing.
func TestAcceptClock(t *testing.T) {
	const jump = 2 * 366 * 24 * time.Hour
	u := newPerson(t)
	u.write(t, "entrepot.toml", lonelyRegistry)
	if r := u.run(t, "recover", "--accept-clock"); r.code != exitConfig {
		t.Errorf("without a registry: %+v", r)
	}
	s := u.serve(t)
	refused := func(state, says string) {
		t.Helper()
		r := u.run(t, "recover", "--accept-clock")
		if r.code != exitConfig || !strings.Contains(r.stderr, says) || strings.Count(strings.TrimSpace(r.stderr), "\n") > 0 {
			t.Errorf("%s: %+v", state, r)
		}
	}
	refused("with a server that is well", "the clock is not what fences this registry")
	s.end(t)
	refused("without a server", "the clock is not what fences this registry")
	for _, args := range [][]string{{"--accept", "1:sha256:00"}, {"--from", "http://127.0.0.1:1"}} {
		if r := u.run(t, append([]string{"recover", "--accept-clock"}, args...)...); r.code != exitUsage {
			t.Errorf("with %s: %+v", args[0], r)
		}
	}

	u.ahead = jump
	s = u.serve(t)
	if r := u.run(t, "namespace", "define", "acme"); r.code != exitConfig || !strings.Contains(r.stderr, "clock jump") {
		t.Errorf("signing with a clock that jumped: %+v", r)
	}
	if got := strings.TrimSpace(u.ok(t, "recover", "--accept-clock", "--json")); got != `{"status":"accepted"}` && !strings.Contains(got, `"status": "accepted"`) {
		t.Errorf("accepted: %s", got)
	}
	u.ok(t, "namespace", "define", "acme")
	refused("accepted already", "the clock is not what fences this registry")
	s.end(t)
	u.ok(t, "namespace", "define", "later") // a start does not ask again

	u.ahead = 2 * jump
	u.ok(t, "recover", "--accept-clock")
	u.ok(t, "namespace", "define", "latest")
	u.ahead = 2*jump - time.Hour
	refused("clock behind", "the clock is not what fences this registry")
	u.ahead = 2 * jump
	u.ok(t, "freeze", "own.example")
	refused("frozen", "the clock is not what fences this registry")
	copyAuthority(t, u)
	u.ahead = 4 * jump
	refused("behind", "the clock is not what fences this registry")
	s = u.serve(t)
	if code, _ := get(t, s.url+"/v1/fetch/checkpoint"); code != http.StatusServiceUnavailable {
		t.Errorf("the clock opened another fence: %d", code)
	}
	s.end(t)
	lines := auditLines(t, u)
	if done, asked := count(lines, "done accept clock"), count(lines, "failed accept clock"); done != 2 || asked < 5 {
		t.Errorf("the audit log has %d that were accepted and %d that were not", done, asked)
	}
}

func count(lines []string, prefix string) (n int) {
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}
