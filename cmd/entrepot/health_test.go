package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestHealth: what a look finds is the state until the next; looks that do not come back
// are found as well; and only good ones are signs of life.
func TestHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("the index does not answer")
		var found error
		hang := make(chan struct{})
		h := newHealth(time.Now, supervisor{watchdog: 6 * time.Second}, func(ctx context.Context) error {
			if found == nil || !errors.Is(found, context.Canceled) {
				return found
			}
			<-hang // whatever the context says
			return nil
		})
		if h.every != 2*time.Second {
			t.Errorf("it looks every %s", h.every)
		}
		signs := 0
		ctx, stop := context.WithCancel(t.Context())
		go h.watch(ctx, func() { signs++ })
		step := func(d time.Duration) { time.Sleep(d); synctest.Wait() }

		step(time.Second)
		if signs != 1 || h.state() != nil {
			t.Errorf("at first %d signs of life, %v", signs, h.state())
		}
		found = broken
		step(4 * time.Second)
		if signs != 1 || !errors.Is(h.state(), broken) {
			t.Errorf("broken: %d signs of life, %v", signs, h.state())
		}
		found = nil
		step(2 * time.Second)
		if signs != 2 || h.state() != nil {
			t.Errorf("well again: %d signs of life, %v", signs, h.state())
		}
		found = context.Canceled
		step(healthLate*h.every + healthWait + 3*time.Second)
		if signs != 2 || h.state() == nil {
			t.Errorf("hanging: %d signs of life, %v", signs, h.state())
		}
		close(hang)
		stop()
		synctest.Wait()
	})
}

// TestAccepts tells a port whose connections nobody takes from one that answers, refuses
// or cuts them.
func TestAccepts(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	look := func(address string, limit time.Duration) error {
		ctx, stop := context.WithTimeout(t.Context(), limit)
		defer stop()
		return accepts(address)(ctx)
	}
	server := listen()
	go func() { _ = http.Serve(server, http.NotFoundHandler()) }()
	if err := look(server.Addr().String(), 30*time.Second); err != nil {
		t.Errorf("one that answers: %v", err)
	}
	cutter := listen()
	go func() {
		for {
			c, err := cutter.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	if err := look(cutter.Addr().String(), 30*time.Second); err != nil {
		t.Errorf("one that is full: %v", err)
	}
	if err := look(listen().Addr().String(), 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "nobody accepts") {
		t.Errorf("one that does not accept: %v", err)
	}
	closed := listen()
	_ = closed.Close()
	if err := look(closed.Addr().String(), 30*time.Second); err == nil {
		t.Error("one that is closed is accepting")
	}
}

// TestServiceManagerIsTold runs a server as systemd would.
func TestServiceManagerIsTold(t *testing.T) {
	u := newPerson(t)
	socket := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0", "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=30000")
	s := u.serve(t)
	heard := func() string {
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 4<<10)
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if first := heard(); first != "READY=1\nSTATUS=serving "+s.url {
		t.Errorf("first it is told %q", first)
	}
	for range 3 {
		if sign := heard(); sign != "WATCHDOG=1" {
			t.Errorf("then %q", sign)
		}
	}
	s.stop()
	for last := heard(); last != "STOPPING=1"; last = heard() {
		if last != "WATCHDOG=1" {
			t.Fatalf("in the end %q", last)
		}
	}
}

// TestHealthIsRed: a registry that stopped is not alive, and the process ends with the
// code of a disk.
func TestHealthIsRed(t *testing.T) {
	u := newPerson(t)
	u.env = append(u.env, "ENTREPOT_LISTEN=127.0.0.1:0")
	s := u.serve(t)
	if code, body := get(t, s.url+"/healthz"); code != http.StatusOK {
		t.Errorf("at first %d %s", code, body)
	}
	s.end(t)

	p := u.process(nil, nil)
	p.stderr = &strings.Builder{}
	conf, err := p.config("", nil)
	if err != nil {
		t.Fatal(err)
	}
	site, err := p.openSite(t.Context(), conf, siteOptions{create: true, log: newLogger(p.stderr, "text", "error")})
	if err != nil {
		t.Fatal(err)
	}
	defer site.close()
	site.health = newHealth(time.Now, supervisor{})
	if err := site.healthy(); err != nil {
		t.Errorf("healthy: %v", err)
	}
	if err := site.authority.Close(); err != nil {
		t.Fatal(err)
	}
	if err := site.authority.Alive(t.Context()); err == nil {
		t.Error("a closed authority is alive")
	}
	if err := site.audit.Close(); err != nil {
		t.Fatal(err)
	}
	if err := site.healthy(); err == nil {
		t.Error("without its audit log it is healthy")
	}
}

// panicVariable tells the process that TestBackgroundPanic starts in which function, and
// so in which goroutine, the clock is to panic.
const panicVariable = "ENTREPOT_TEST_PANIC"

// background are the goroutines of a server that work for nobody in particular, by a
// function on their stack that reads the clock.
func background() []string {
	return []string{"authority.(*Authority).sequence", "upstream.(*Replica).startRefresh", "(*health).watch"}
}

// TestBackgroundPanic: when something that works in the background dies, the process
// does not go on without it.
func TestBackgroundPanic(t *testing.T) {
	if where := os.Getenv(panicVariable); where != "" {
		panicIn(t, where)
		return
	}
	for _, where := range background() {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestBackgroundPanic$")
			cmd.Env = append(os.Environ(), panicVariable+"="+where)
			out, err := cmd.CombinedOutput()
			var ended *exec.ExitError
			if !errors.As(err, &ended) || ended.ExitCode() <= 0 || !strings.Contains(string(out), "panic: in the background") || strings.Contains(string(out), "FAIL: Test") {
				t.Errorf("it ended with %v:\n%s", err, out)
			}
		})
	}
}

// panicIn runs a server whose clock panics in one goroutine.
func panicIn(t *testing.T, where string) {
	u := newPerson(t)
	up := served(t, wargtest.NewMemory(wargtest.MemoryOptions()), nil)
	u.write(t, "entrepot.toml", fmt.Sprintf(`listen = "127.0.0.1:0"
[upstream."up.example"]
url = %q
trust_first_key = true
allow_private_addresses = true
mirror = "full"
`, up))
	p := u.process(nil, nil)
	p.stderr = io.Discard
	p.now = func() time.Time {
		pcs := make([]uintptr, 64)
		frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
		for more := true; more; {
			var f runtime.Frame
			if f, more = frames.Next(); strings.Contains(f.Function, where) {
				panic("in the background")
			}
		}
		return time.Now()
	}
	p.env = slices.Concat(u.env, []string{"WATCHDOG_USEC=30000"})
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	code := run(ctx, []string{"serve"}, p)
	t.Fatalf("the server went on, and ended with %d", code)
}
