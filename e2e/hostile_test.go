//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// hostileDefault is how many hostile connections the short form holds; the long
	// form is HOSTILE=10000, by make hostile.
	hostileDefault = 400

	// residentLimit is what the server may hold in memory under any attack, in bytes.
	residentLimit = 512 << 20

	// memoryLimit is what the Go runtime is told: seven eighths of it.
	memoryLimit = "GOMEMLIMIT=448MiB"

	// bigContent is what slow readers download, in bytes: far beyond all socket buffers.
	bigContent = 32 << 20
)

// fort is a server of ours under attack, with something published.
type fort struct {
	t       *testing.T
	program string
	dir     string
	server  *server
	addr    string
	big     string // path of a large content
	small   string // path of a small one
	env     []string
	machine machine // that it is measured on
}

// newFort starts a server with what env says besides, and publishes to it. shell, if
// it is not empty, is what a shell does before the server.
func newFort(t *testing.T, shell string, env ...string) *fort {
	t.Helper()
	program, err := filepath.Abs(os.Getenv("ENTREPOT_BIN"))
	if err != nil || !executable(program) {
		t.Fatalf("the entrepot binary ENTREPOT_BIN=%s: run make build", os.Getenv("ENTREPOT_BIN"))
	}
	f := &fort{t: t, program: program, dir: t.TempDir()}
	if f.addr, err = freeAddress(); err != nil {
		t.Fatal(err)
	}
	f.env = append([]string{"PATH=" + systemPath, "HOME=" + f.dir, "XDG_STATE_HOME=" + f.dir, memoryLimit,
		"ENTREPOT_LISTEN=" + f.addr, "ENTREPOT_DATA=" + filepath.Join(f.dir, "data"), "ENTREPOT_CONTENT_POLICY=any"}, env...)
	cmd := exec.Command("/bin/sh", "-c", shell+` exec "$0" serve`, program)
	cmd.Dir, cmd.Env = f.dir, f.env
	if f.server, err = startServer("entrepot", filepath.Join(f.dir, "log"), cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%.4000s", f.server.tail())
		}
		f.server.end()
	})
	if _, err := f.server.awaitReady(readyWithin, func() (string, error) { return f.base(), answers(f.base() + "/readyz") }); err != nil {
		t.Fatal(err)
	}
	f.command("key", "new", "--out", "author.key")
	f.big, f.small = f.publish("local:big@1.0.0", bigContent), f.publish("local:small@1.0.0", 3000)
	return f
}

func (f *fort) base() string { return "http://" + f.addr }

// command runs our command line, which must succeed.
func (f *fort) command(args ...string) string {
	f.t.Helper()
	cmd := exec.Command(f.program, args...)
	cmd.Dir, cmd.Env = f.dir, f.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("entrepot %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// publish publishes size bytes and returns the path of the content.
func (f *fort) publish(release string, size int) string {
	f.t.Helper()
	file := filepath.Join(f.dir, "content")
	if err := os.WriteFile(file, []byte(strings.Repeat(release[6:8], size/2)), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.command("publish", "--registry", f.base(), "--key", "author.key", release, file)
	sum, err := exec.Command("sha256sum", file).Output()
	if err != nil {
		f.t.Fatal(err)
	}
	return "/content/sha256-" + string(sum[:64])
}

// resident returns the anonymous memory of the server's process, in bytes.
func (f *fort) resident() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", f.server.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "RssAnon:")
	kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
	return kib << 10
}

// cpuTime returns how much time of processors a process has used.
func cpuTime(pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if err != nil || !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // of Linux, whatever the kernel's own
	return time.Duration(user+system) * tick
}

// keepProfile writes what the server's memory is held by to the file that
// HOSTILE_PROFILE names, for go tool pprof.
func (f *fort) keepProfile() {
	file := os.Getenv("HOSTILE_PROFILE")
	if file == "" {
		return
	}
	socket := filepath.Join(f.dir, "data", "run", "admin.sock")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	answer, err := client.Get("http://localhost/debug/pprof/heap")
	if err != nil {
		f.t.Error(err)
		return
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		f.t.Error(err)
	}
}

// watchMemory samples until ctx ends and returns the highest value.
func (f *fort) watchMemory(ctx context.Context) func() int64 {
	var highest int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			highest = max(highest, f.resident())
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() int64 { <-done; return highest }
}

// hostileSize is how many hostile connections are held.
func hostileSize(t *testing.T) int {
	text := os.Getenv("HOSTILE")
	if text == "" {
		return hostileDefault
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < hostileDefault {
		t.Fatalf("HOSTILE=%s: want a number, at least %d", text, hostileDefault)
	}
	return n
}

// TestHostile holds hostile connections of many kinds, and more than an address may
// have, while honest clients go on. What it asserts are facts: all honest requests are
// answered, slow heads are cut, surplus connections turned away, memory stays bounded.
// Times are reported, and are facts only in the long form on a machine that can be made ours.
func TestHostile(t *testing.T) {
	n := hostileSize(t)
	idle, attacked, env := 3*time.Second, 8*time.Second, []string{"ENTREPOT_LIMITS_HEADER_TIMEOUT=2s"}
	if n > hostileDefault {
		idle, attacked, env = 20*time.Second, 75*time.Second, nil
	}
	var place machine
	if n > hostileDefault {
		place = takeMachine(t)
	}
	f := newFort(t, place.shell(ofServer), env...)
	f.machine = place
	inside := confine(t, f.server.cmd.Process.Pid, residentLimit)
	h := newHonest(f)
	before := h.run(idle)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	highest := f.watchMemory(ctx)
	army := raise(t, f, n*5/4, "") // one of five comes and goes
	army.awaitStrength(t)
	start, ours, theirs := time.Now(), cpuTime(f.server.cmd.Process.Pid), cpuTime(army.cmd.Process.Pid)
	under := h.run(attacked)
	took := time.Since(start)
	ours, theirs = cpuTime(f.server.cmd.Process.Pid)-ours, cpuTime(army.cmd.Process.Pid)-theirs
	f.publish("local:small@1.1.0", 4000)
	f.keepProfile()
	crowd(t, f)
	outcomes := army.disband(t)
	stop()
	memory := highest()

	t.Logf("%d hostile connections: %v", n, outcomes)
	t.Logf("honest, idle:         %v", before)
	t.Logf("honest, under attack: %v", under)
	usual, attackedUsual := before.steady(0.99, 5), under.steady(0.99, 15)
	times := float64(attackedUsual) / float64(usual)
	t.Logf("p99 of a usual stretch of 5 s: idle %v, under attack %v, %.2f times that; most resident memory %d MiB", usual, attackedUsual, times, memory>>20)
	if place.ours && times > 2 {
		t.Errorf("honest clients wait %.2f times as long as without attackers", times)
	}
	t.Logf("processors used under attack: %.2f by the server, %.2f by the attackers", ours.Seconds()/took.Seconds(), theirs.Seconds()/took.Seconds())
	for _, r := range []honestResult{before, under, h.run(time.Second)} {
		if len(r.failures) > 0 || len(r.took) == 0 {
			t.Errorf("%d of %d honest requests failed: %.2000v", len(r.failures), len(r.took)+len(r.failures), r.failures)
		}
	}
	if memory > residentLimit || memory == 0 {
		t.Errorf("%d MiB of resident memory; want at most %d", memory>>20, residentLimit>>20)
	}
	inside.check(t)
	if most := outcomes[connectedAtOneTime]; n > hostileDefault && most < n*9/10 {
		t.Errorf("at most %d hostile connections at one time", most)
	}
	for _, want := range []string{"slow head: 408", "huge head: 431", "empty: 408"} {
		if outcomes[want] == 0 {
			t.Errorf("no %q among the outcomes", want)
		}
	}
	for outcome := range outcomes {
		if strings.HasSuffix(outcome, ": 500") {
			t.Errorf("outcome %q", outcome)
		}
	}
}

// TestSlowReaders has half as many clients as TestHostile download a large content a byte
// at a time. It goes out of the file, so they hold sockets and hardly any memory.
func TestSlowReaders(t *testing.T) {
	n := hostileSize(t) / 2
	f := newFort(t, "")
	inside := confine(t, f.server.cmd.Process.Pid, residentLimit)
	before := f.resident()
	army := raise(t, f, n, "slow reader")
	army.awaitStrength(t)
	under := newHonest(f).run(5 * time.Second)
	after := f.resident()
	outcomes := army.disband(t)
	t.Logf("%d slow readers: %v; honest beside them: %v; %d KiB of resident memory each", n, outcomes, under, (after-before)>>10/int64(n))
	if len(under.failures) > 0 || len(under.took) == 0 {
		t.Errorf("%d honest requests failed: %.2000v", len(under.failures), under.failures)
	}
	const each = 64 << 10 // bytes
	if after > residentLimit || after-before > int64(n)*each {
		t.Errorf("resident memory grew from %d to %d MiB for %d readers", before>>20, after>>20, n)
	}
	inside.check(t)
}

// loopbackFrom returns a dialer from an address of 127.0.0.0/8, so that one machine is
// many clients.
func loopbackFrom(host byte, number int) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, host, byte(number>>8), byte(number)|1)}, Timeout: 10 * time.Second}
}
