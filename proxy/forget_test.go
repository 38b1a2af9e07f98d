package proxy

import (
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestRefusedHeadsAreForgotten: the memory that a head of thousands of fields was
// parsed into does not stay with the connections that come after.
func TestRefusedHeadsAreForgotten(t *testing.T) {
	s, err := New(Options{Own: newCanned(t, ownDomain), BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD"} {
		for fields, keep := range map[int]bool{99: true, 3000: false} {
			var ctx fasthttp.RequestCtx
			ctx.Init(&fasthttp.Request{}, nil, nil)
			raw := method + " /healthz HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A:b\r\n", fields) + "\r\n"
			if err := ctx.Request.Header.Read(newReader([]byte(raw))); err != nil {
				t.Fatal(err)
			}
			s.serve(&ctx)
			if kept := ctx.Request.Header.Len() > 0; kept != keep {
				t.Errorf("%s with %d fields: the head is kept: %v", method, fields, kept)
			}
			if want := map[bool]int{true: 200, false: 431}[keep]; ctx.Response.StatusCode() != want {
				t.Errorf("%s with %d fields: status %d", method, fields, ctx.Response.StatusCode())
			}
			if !keep && ctx.Response.SkipBody != (method == "HEAD") {
				t.Errorf("%s: the answer has a body: %v", method, !ctx.Response.SkipBody)
			}
		}
	}
}
