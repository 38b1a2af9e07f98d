//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDescriptors takes all connections that a process with few descriptors may have,
// and goes on asking for more. The server turns the surplus away, its stores never
// meet the limit, publishing goes on, and afterwards all is as before.
func TestDescriptors(t *testing.T) {
	for _, limit := range []int{64, 80, 128, 256} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			f := newFort(t, fmt.Sprintf("ulimit -n %d;", limit))
			keep := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxConnsPerHost: 1}}
			defer keep.CloseIdleConnections()
			if err := ask(keep, "GET", f.base()+"/v1/fetch/checkpoint", "", `"logLength"`); err != nil {
				t.Fatal(err)
			}
			held, refused := hoard(t, f, 2*limit)
			if kept := min(reserved, limit/2); held == 0 || held > limit-kept || refused == 0 {
				t.Errorf("%d connections held and %d turned away with %d descriptors, %d of them in reserve", held, refused, limit, kept)
			}
			// The connection that was there before goes on being served.
			if err := ask(keep, "GET", f.base()+"/v1/fetch/checkpoint", "", `"logLength"`); err != nil {
				t.Error(err)
			}
			keep.CloseIdleConnections()
			f.publish("local:small@1.2.0", 5000)
			h := newHonest(f)
			h.most = 2 // of two kinds: 64 descriptors leave hardly more, for files are opened as well
			if n := h.run(time.Second); len(n.failures) > 0 || len(n.took) == 0 {
				t.Errorf("afterwards: %v, %v", n, n.failures)
			}
		})
	}
}

// TestTooFewDescriptors: where nobody could be served, the server says so and does not start.
func TestTooFewDescriptors(t *testing.T) {
	program, err := filepath.Abs(os.Getenv("ENTREPOT_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `ulimit -n 48; exec "$0" serve`, program)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + systemPath, "HOME=" + cmd.Dir, "ENTREPOT_DATA=" + filepath.Join(cmd.Dir, "data")}
	out, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 78 || !strings.Contains(string(out), "ulimit -n") || strings.Count(string(out), "\n") != 1 {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "data")); err == nil {
		t.Error("it made its directory all the same")
	}
}

// reserved is how many descriptors the server leaves to its stores, or half of few.
const reserved = 64

// hoard opens n connections at one time, counts what became of them, and closes them.
func hoard(t *testing.T, f *fort, n int) (held, refused int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	release := make(chan struct{})
	var told sync.WaitGroup
	told.Add(n)
	for i := range n {
		wg.Go(func() {
			c, err := loopbackFrom(3, i).Dial("tcp", f.addr)
			if err != nil {
				told.Done()
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(8 * time.Second))
			_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
			buf := make([]byte, 512)
			got, _ := c.Read(buf)
			mu.Lock()
			switch statusOf(buf[:got]) {
			case "200":
				held++
			case "503":
				refused++
			}
			mu.Unlock()
			told.Done()
			<-release
		})
	}
	told.Wait()
	close(release)
	wg.Wait()
	return held, refused
}

// TestManyBodies sends 500 bodies of 2 MB but for their last byte, all at one time, and
// announces 200 uploads of 63 MiB. What does not fit the memory for bodies is told to
// come again; the rest of the server goes on.
func TestManyBodies(t *testing.T) {
	f := newFort(t, "", "ENTREPOT_LIMITS_BODY_MEMORY=16MiB")
	before := f.resident()
	text := `{"packages":["` + strings.Repeat("x", 2_000_000)
	var mu sync.Mutex
	var wg sync.WaitGroup
	answers := map[string]int{}
	highest := int64(0)
	send := func(i int, head, body string) {
		c, err := loopbackFrom(4, i).Dial("tcp", f.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(12 * time.Second))
		go func() { _, _ = io.WriteString(c, head+body) }()
		answer := firstAnswer(c)
		mu.Lock()
		defer mu.Unlock()
		answers[answer]++
		highest = max(highest, f.resident())
	}
	for i := range 500 {
		wg.Go(func() {
			send(i, fmt.Sprintf("POST /v1/fetch/names HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", len(text)+1), text)
		})
	}
	for i := range 200 {
		wg.Go(func() {
			send(i, "POST /v1/fetch/names HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 66060288\r\n\r\n", "xy")
		})
	}
	wg.Wait()
	t.Logf("answers %v; resident before %d MiB, at most %d MiB", answers, before>>20, highest>>20)
	if answers["413"] != 200 {
		t.Errorf("%d of 200 announced bodies were refused at once", answers["413"])
	}
	if answers["503 Retry-After"] == 0 || answers["503"] != 0 {
		t.Error("no body was told to come again, or one was not told when")
	}
	if highest > before+200<<20 {
		t.Errorf("memory grew from %d to %d MiB for a budget of 16 MiB", before>>20, highest>>20)
	}
	if n := newHonest(f).run(time.Second); len(n.failures) > 0 || len(n.took) == 0 {
		t.Errorf("afterwards: %v, %v", n, n.failures)
	}
}

// firstAnswer reads one answer and returns its status, and whether it says when to come
// again.
func firstAnswer(c net.Conn) string {
	buf := make([]byte, 4096)
	n, _ := c.Read(buf)
	head := string(buf[:n])
	if n == 0 {
		return "none"
	}
	status := statusOf(buf[:n])
	if strings.Contains(head, "\r\nRetry-After: ") {
		status += " Retry-After"
	}
	return status
}
