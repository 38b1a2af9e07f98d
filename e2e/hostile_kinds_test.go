//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ask sends a request and checks that it is answered with 200 and a text in the body.
func ask(c *http.Client, method, url, body, has string) error {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(all), has) {
		return fmt.Errorf("%s %s: %s %.200q, %w", method, url, answer.Status, all, err)
	}
	return nil
}

const (
	// drip is the pause of those who send or read a byte at a time.
	drip = 2 * time.Second

	// again is the pause before a connection that ended is replaced. A flood of new
	// connections is another attack, which only the kernel or a firewall can stop.
	again = 5 * time.Second
)

// hostile is a way to misuse a connection. It returns how that ended.
type hostile struct {
	name string
	use  func(ctx context.Context, f *fort, c *net.TCPConn) string
}

func hostiles() []hostile {
	post := "POST /v1/fetch/logs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
	nobody := "sha256:" + strings.Repeat("00", 32)
	return []hostile{
		{"slow head", dripping("GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ", "x")},
		{"empty", dripping("", "")},
		{"slow body", dripping(post+"Content-Length: 1000000\r\n\r\n{", " ")},
		{"slow chunks", dripping(post+"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "1\r\n \r\n")},
		{"idle", dripping("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "")},
		{"announcer", dripping("POST /v1/package/"+nobody+"/record/"+nobody+"/content/"+nobody+" HTTP/1.1\r\nHost: a\r\nContent-Length: 66060288\r\n\r\nxy", "")},
		{"huge head", dripping("GET /healthz HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("X-Y: z\r\n", 4000), "")},
		{"slow reader", slowReader},
		{"deaf pipeliner", deafPipeliner},
		{"slammer", func(_ context.Context, _ *fort, c *net.TCPConn) string {
			_, _ = io.WriteString(c, "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n")
			_ = c.SetLinger(0) // a reset
			return "reset"
		}},
	}
}

// dripping sends first, then more again and again, until an answer other than 200 or
// the end comes.
func dripping(first, more string) func(context.Context, *fort, *net.TCPConn) string {
	return func(ctx context.Context, _ *fort, c *net.TCPConn) string {
		if _, err := io.WriteString(c, first); err != nil {
			return "cut"
		}
		buf := make([]byte, 2048)
		for ctx.Err() == nil {
			_ = c.SetReadDeadline(time.Now().Add(drip))
			n, err := c.Read(buf)
			var timeout net.Error
			switch {
			case n > 0:
				if status := statusOf(buf[:n]); status != "200" {
					return status
				}
				continue
			case errors.As(err, &timeout) && timeout.Timeout():
			default:
				return "cut"
			}
			if _, err := io.WriteString(c, more); err != nil {
				return "cut"
			}
		}
		return "held"
	}
}

func statusOf(answer []byte) string {
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(answer))), nil)
	if err != nil {
		return "no answer"
	}
	return strconv.Itoa(resp.StatusCode)
}

func slowReader(ctx context.Context, f *fort, c *net.TCPConn) string {
	_ = c.SetReadBuffer(2048)
	if _, err := io.WriteString(c, "GET "+f.big+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return "cut"
	}
	one := make([]byte, 1)
	for ctx.Err() == nil {
		if _, err := c.Read(one); err != nil {
			return "cut"
		}
		select {
		case <-ctx.Done():
		case <-time.After(drip):
		}
	}
	return "held"
}

func deafPipeliner(ctx context.Context, f *fort, c *net.TCPConn) string {
	requests := strings.Repeat("GET "+f.small+" HTTP/1.1\r\nHost: a\r\n\r\n", 100)
	for ctx.Err() == nil {
		_ = c.SetWriteDeadline(time.Now().Add(drip))
		if _, err := io.WriteString(c, requests); err != nil {
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				return "cut"
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(drip):
		}
	}
	return "held"
}

// army is a number of hostile connections, each begun anew when it has ended.
type army struct {
	f        *fort
	size     int
	open     atomic.Int64
	wg       sync.WaitGroup
	mu       sync.Mutex
	outcome  map[string]int
	strength chan struct{} // closed when all have had a connection at one time
	once     sync.Once
}

func newArmy(f *fort, size int) *army {
	return &army{f: f, size: size, outcome: map[string]int{}, strength: make(chan struct{})}
}

// perSoldiersAddress is how many connections come from one address.
const perSoldiersAddress = 400

func (a *army) start(ctx context.Context) {
	kinds := hostiles()
	for i := range a.size {
		a.wg.Go(func() {
			dialer, kind := loopbackFrom(2, 2*(i/perSoldiersAddress)), kinds[i%len(kinds)]
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
	c, err := dialer.DialContext(ctx, "tcp", a.f.addr)
	if err != nil {
		a.note(kind.name + ": not connected")
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
	if a.open.Add(1) >= int64(a.size)*3/4 {
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

func (a *army) outcomes() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.outcome)
}

// awaitStrength waits until three quarters are connected at one time; some kinds come
// and go.
func (a *army) awaitStrength(t *testing.T) {
	t.Helper()
	select {
	case <-a.strength:
	case <-time.After(2 * time.Minute):
		t.Fatalf("only %d of %d hostile connections are open: %v", a.open.Load(), a.size, a.outcomes())
	}
}

func (a *army) wait() { a.wg.Wait() }

// perAddress is the default of connections_per_address.
const perAddress = 1024

// crowd opens more connections from one address than one may have, and checks that the
// surplus is told so.
func (a *army) crowd(t *testing.T) {
	t.Helper()
	dialer, refused, kept := loopbackFrom(9, 1), 0, []net.Conn(nil)
	for range perAddress + 200 {
		c, err := dialer.Dial("tcp", a.f.addr)
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
	a.note(fmt.Sprintf("crowd of %d from one address: %d turned away", len(kept), refused))
}
