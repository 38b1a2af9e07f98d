//go:build e2e

package e2e

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestSlowHTTP lets slowhttptest, which is not ours, do its four attacks with a thousand
// connections each, while honest clients go on.
func TestSlowHTTP(t *testing.T) {
	if _, err := exec.LookPath("slowhttptest"); err != nil {
		t.Fatalf("slowhttptest, of the package of that name: %v", err)
	}
	f := newFort(t, "")
	modes := map[string][]string{
		"heads that never end":  {"-H", "-u", f.base() + "/v1/fetch/checkpoint"},
		"bodies that never end": {"-B", "-s", "8192", "-t", "POST", "-u", f.base() + "/v1/fetch/logs"},
		"thousands of ranges":   {"-R", "-t", "HEAD", "-a", "10", "-b", "3000", "-u", f.base() + f.big},
		"readers that hardly":   {"-X", "-w", "1", "-y", "10", "-n", "5", "-z", "32", "-u", f.base() + f.big},
	}
	for name, args := range modes {
		t.Run(name, func(t *testing.T) {
			attack := exec.Command("slowhttptest", append(args, "-c", "1000", "-r", "500", "-l", "6", "-i", "2", "-p", "3")...)
			done := make(chan error, 1)
			var out strings.Builder
			attack.Stdout = &out
			if err := attack.Start(); err != nil {
				t.Fatal(err)
			}
			go func() { done <- attack.Wait() }()
			h := newHonest(f)
			if r := h.run(5 * time.Second); len(r.failures) > 0 || len(r.took) == 0 {
				t.Errorf("%d honest requests failed: %.1000v", len(r.failures), r.failures)
			}
			select {
			case <-done: // its exit status says only how its own end came about
			case <-time.After(30 * time.Second):
				_ = attack.Process.Kill()
				<-done
			}
			// Whether the service is available is for our own requests to judge: its own
			// give up after three seconds, whatever else this machine does.
			if !strings.Contains(out.String(), "service available") {
				t.Errorf("it did not attack:\n%.2000s", out.String())
			}
			if err := ask(http.DefaultClient, "GET", f.base()+"/v1/fetch/checkpoint", "", `"logLength"`); err != nil {
				t.Error(err)
			}
		})
	}
	if m := f.resident(); m > residentLimit/4 {
		t.Errorf("%d MiB of resident memory", m>>20)
	}
}
