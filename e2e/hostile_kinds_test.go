//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

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
	use  func(ctx context.Context, f *prey, c *net.TCPConn) string
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
		{"slammer", func(_ context.Context, _ *prey, c *net.TCPConn) string {
			_, _ = io.WriteString(c, "GET /v1/fetch/checkpoint HTTP/1.1\r\nHost: a\r\n\r\n")
			_ = c.SetLinger(0) // a reset
			return "reset"
		}},
	}
}

// dripping sends first, then more again and again, until an answer other than 200 or
// the end comes.
func dripping(first, more string) func(context.Context, *prey, *net.TCPConn) string {
	return func(ctx context.Context, _ *prey, c *net.TCPConn) string {
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

func slowReader(ctx context.Context, f *prey, c *net.TCPConn) string {
	_ = c.SetReadBuffer(2048)
	if _, err := io.WriteString(c, "GET "+f.Big+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
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

func deafPipeliner(ctx context.Context, f *prey, c *net.TCPConn) string {
	requests := strings.Repeat("GET "+f.Small+" HTTP/1.1\r\nHost: a\r\n\r\n", 100)
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
