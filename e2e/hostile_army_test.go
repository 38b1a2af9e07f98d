//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// prey is what a hostile process is told about the server: JSON in HOSTILE_PREY.
type prey struct {
	Addr  string // to connect to
	Big   string // path of a large content
	Small string // path of a small one
	Size  int    // how many connections to hold
	Only  string // the kind of all of them; "": all kinds
}

// strong is the line that the hostile process writes when it has its connections.
const strong = "strong"

// hostileProcess is an army in a process of its own, of less priority than the server: it
// stands for many machines, and the time of processors that it needs on this one must not
// be counted as the server's delay.
type hostileProcess struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// raise starts a hostile process with n connections of all kinds, or of only one.
func raise(t *testing.T, f *fort, n int, only string) *hostileProcess {
	t.Helper()
	about, err := json.Marshal(prey{f.addr, f.big, f.small, n, only})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHostileArmy$")
	if before := f.machine.before(ofAttackers); before != nil {
		cmd = exec.Command(before[0], append(before[1:], cmd.Args...)...)
	}
	cmd.Env = append(os.Environ(), "HOSTILE_PREY="+string(about))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &hostileProcess{cmd, stdin, bufio.NewScanner(stdout)}
}

// awaitStrength waits until three fifths are connected at one time; some kinds come
// and go. The hostile process gives up by itself.
func (p *hostileProcess) awaitStrength(t *testing.T) {
	t.Helper()
	if !p.lines.Scan() || p.lines.Text() != strong {
		t.Fatalf("the hostile process says %q, %v", p.lines.Text(), p.lines.Err())
	}
}

// disband ends the hostile process and returns what became of its connections.
func (p *hostileProcess) disband(t *testing.T) (outcomes map[string]int) {
	t.Helper()
	_ = p.stdin.Close()
	if !p.lines.Scan() {
		t.Fatalf("the hostile process ended: %v", p.lines.Err())
	}
	if err := json.Unmarshal(p.lines.Bytes(), &outcomes); err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// TestHostileArmy is the hostile process of TestHostile, not a test of its own. It attacks
// until its standard input ends.
func TestHostileArmy(t *testing.T) {
	about := os.Getenv("HOSTILE_PREY")
	if about == "" {
		t.Skip("not started by TestHostile")
	}
	var f prey
	if err := json.Unmarshal([]byte(about), &f); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	a := newArmy(&f, f.Size)
	a.start(ctx)
	select {
	case <-a.strength:
		fmt.Println(strong)
	case <-time.After(2 * time.Minute):
		t.Fatalf("only %d of %d hostile connections are open: %v", a.open.Load(), a.size, a.outcomes())
	}
	a.wg.Wait()
	text, err := json.Marshal(a.outcomes())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(string(text))
}

// army is a number of hostile connections, each begun anew when it has ended.
type army struct {
	f        *prey
	size     int
	open     atomic.Int64
	wg       sync.WaitGroup
	mu       sync.Mutex
	outcome  map[string]int
	strength chan struct{} // closed when most have a connection at one time
	once     sync.Once
}

func newArmy(f *prey, size int) *army {
	return &army{f: f, size: size, outcome: map[string]int{}, strength: make(chan struct{})}
}

// ramp is the pause between the first connections of two attackers. What is shown is that
// many connections can be held; their arrival at one moment would be that other attack.
const ramp = time.Millisecond

// perSoldiersAddress is how many connections come from one address.
const perSoldiersAddress = 400

func (a *army) start(ctx context.Context) {
	kinds := hostiles()
	if a.f.Only != "" {
		kinds = slices.DeleteFunc(kinds, func(h hostile) bool { return h.name != a.f.Only })
	}
	for i := range a.size {
		a.wg.Go(func() {
			dialer, kind := loopbackFrom(2, 2*(i/perSoldiersAddress)), kinds[i%len(kinds)]
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(i) * ramp):
			}
			for ctx.Err() == nil {
				a.attack(ctx, dialer, kind)
				select {
				case <-ctx.Done():
				case <-time.After(again):
				}
			}
		})
	}
}

func (a *army) attack(ctx context.Context, dialer *net.Dialer, kind hostile) {
	c, err := dialer.DialContext(ctx, "tcp", a.f.Addr)
	if err != nil {
		a.note(kind.name + ": not connected")
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	open := a.open.Add(1)
	a.noteMost(int(open))
	if open >= int64(a.size)*3/5 {
		a.once.Do(func() { close(a.strength) })
	}
	defer a.open.Add(-1)
	outcome := kind.use(ctx, a.f, c.(*net.TCPConn))
	if ctx.Err() != nil {
		outcome = "held" // to the end of the attack
	}
	a.note(kind.name + ": " + outcome)
}

func (a *army) note(outcome string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcome[outcome]++
}

// connectedAtOneTime stands among the outcomes.
const connectedAtOneTime = "connected at one time"

// noteMost remembers how many were connected at one time.
func (a *army) noteMost(open int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.outcome[connectedAtOneTime] = max(a.outcome[connectedAtOneTime], open)
}

func (a *army) outcomes() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.outcome)
}

// perAddress is the default of connections_per_address.
const perAddress = 1024

// crowd opens more connections from one address than one may have, and checks that the
// surplus is told so.
func crowd(t *testing.T, f *fort) {
	t.Helper()
	dialer, refused, kept := loopbackFrom(9, 1), 0, []net.Conn(nil)
	for range perAddress + 200 {
		c, err := dialer.Dial("tcp", f.addr)
		if err != nil {
			t.Fatalf("connection %d of one address: %v", len(kept), err)
		}
		kept = append(kept, c)
	}
	for _, c := range kept[perAddress:] {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 512)
		if n, _ := c.Read(buf); statusOf(buf[:n]) == "429" {
			refused++
		}
	}
	for _, c := range kept {
		_ = c.Close()
	}
	if refused == 0 {
		t.Errorf("none of %d connections of one address was turned away", len(kept))
	}
	t.Logf("crowd of %d from one address: %d turned away", len(kept), refused)
}
