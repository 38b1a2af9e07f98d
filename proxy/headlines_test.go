package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"pgregory.net/rapid"
)

// TestHeadLines: however a head arrives, it is stopped exactly where it has one field more
// than the gate lets pass, and nothing after a head counts.
func TestHeadLines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.IntRange(0, 2*maxFields).Draw(t, "fields")
		end := rapid.SampledFrom([]string{"\r\n", "\n"}).Draw(t, "end")
		text := strings.Repeat(end, rapid.IntRange(0, 2).Draw(t, "blank lines before"))
		head := text + "GET / HTTP/1.1" + end + strings.Repeat("X: yz"+end, fields)
		all := head + end + strings.Repeat("a\n", 300)
		want := len(all)
		if fields > maxFields {
			want = len(text) + len("GET / HTTP/1.1"+end) + (maxFields+1)*len("X: yz"+end)
		}
		var h headLines
		h.begin()
		got := 0
		for rest := all; rest != "" && !h.full; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "bytes at a time")
			got += h.see([]byte(rest[:n]))
			rest = rest[n:]
		}
		if got != want || h.full != (fields > maxFields) {
			t.Fatalf("%d fields: %d of %d bytes used, want %d; full %v", fields, got, len(all), want, h.full)
		}
	})
}

// TestManyFieldsCostLittle: a head that is full of fields is refused at the price of as
// many as are allowed.
func TestManyFieldsCostLittle(t *testing.T) {
	s := &fasthttp.Server{Handler: func(*fasthttp.RequestCtx) {}, ReadBufferSize: headBytes, ReadTimeout: time.Minute,
		ErrorHandler: func(ctx *fasthttp.RequestCtx, _ error) { ctx.Request.Header = fasthttp.RequestHeader{} }} // as forgetHead does
	fields := func(n int) float64 {
		head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: y\r\n", n)
		return testing.AllocsPerRun(20, func() {
			c, far := pair()
			go func() {
				_, _ = far.Write([]byte(head))
				_ = far.Close()
			}()
			_ = s.ServeConn(c)
		})
	}
	few, many := fields(maxFields-1), fields(2500)
	if many > few+100 {
		t.Errorf("%.0f allocations for 2500 fields, %.0f for %d", many, few, maxFields)
	}
}
