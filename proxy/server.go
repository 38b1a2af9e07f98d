package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// Server serves the registry over HTTP. Make one with [New].
type Server struct {
	federation  *Federation
	limits      Limits
	memory      *bodyMemory
	lanes       map[string]*lane // by domain, "" is our own
	lines       lineQuotas
	panicLines  lineQuota
	metrics     *metrics
	admin       *admin
	log         *slog.Logger
	now         func() time.Time
	readiness   func(context.Context) error
	quarantined func() []string
	alive       func() error
	uploads     Uploads
	version     string

	baseURL  string                 // without a trailing slash
	prefixes []string               // "", and the path of the base URL if it has one
	document []byte                 // /openapi.json
	page     atomic.Pointer[[]byte] // /

	router *router.Router
	http   *fasthttp.Server
	tls    *tls.Config // nil: plain HTTP

	base   context.Context // ends when a shutdown has waited long enough
	cancel context.CancelFunc
	signed timeText      // of checkpoints
	boot   string        // part of request ids that differs between runs
	serial atomic.Uint64 // of requests

	mu        sync.Mutex
	listeners []*listener
	stopped   bool // Shutdown was called
}

// route is an endpoint as the router serves it.
type route struct {
	endpoint
	index      int // in metrics
	paramNames []string
	limit      int64 // bytes of a request's body
	tooLarge   error // beyond them
}

// New returns a server that does nothing yet. Errors: options that contradict
// themselves.
func New(o Options) (*Server, error) {
	if o.Own == nil {
		return nil, errors.New("making the HTTP server: no registry of our own")
	}
	federation, err := NewFederation(o.Own, o.Upstreams, o.Namespaces)
	if err != nil {
		return nil, fmt.Errorf("making the HTTP server: %w", err)
	}
	base, path, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("making the HTTP server: %w", err)
	}
	s := &Server{
		federation: federation, limits: o.Limits.withDefaults(), log: o.Log, now: o.Now, readiness: o.Ready, quarantined: o.Quarantined, alive: o.Alive, uploads: o.Uploads, version: o.Version,
		baseURL: base, prefixes: []string{""}, boot: bootID(), tls: serverTLS(o.TLS),
	}
	if path != "" {
		s.prefixes = append(s.prefixes, path)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	s.memory = newBodyMemory(s.limits.BodyMemory, budgetWait)
	s.lanes = newLanes(federation)
	if err := s.renderPage(); err != nil {
		return nil, err
	}
	rows := endpoints()
	s.metrics = newMetrics(s, rows)
	s.lines = make(lineQuotas, len(rows)+1)
	s.document = openAPIDocument(rows, base, o.Version)
	s.router = s.newRouter(rows)
	s.http = s.newHTTP()
	s.admin = newAdmin(s, o.Admin)
	return s, nil
}

// bootID returns eight digits that differ between runs.
func bootID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// newRouter registers every row at the root and below the base URL's path. The
// router matches the path as it was sent; nothing is cleaned, redirected or
// guessed.
func (s *Server) newRouter(rows []endpoint) *router.Router {
	r := router.New()
	r.RedirectTrailingSlash = false
	r.RedirectFixedPath = false
	r.HandleOPTIONS = false
	r.NotFound = func(ctx *fasthttp.RequestCtx) { callOf(ctx).unknownPath() }
	r.MethodNotAllowed = func(ctx *fasthttp.RequestCtx) { callOf(ctx).wrongMethod() }
	for i := range rows {
		row := &route{endpoint: rows[i], index: i, paramNames: rows[i].params()}
		row.limit, row.tooLarge = s.limitOf(row.Op)
		serve := func(ctx *fasthttp.RequestCtx) { callOf(ctx).take(row) }
		for _, prefix := range s.prefixes {
			for _, method := range row.methods() {
				r.Handle(method, prefix+row.Template, serve)
			}
		}
	}
	return r
}

// isAPI reports whether clients of the protocol expect JSON below path.
func (s *Server) isAPI(path string) bool {
	for _, prefix := range s.prefixes {
		if rest, ok := strings.CutPrefix(path, prefix+"/v1/"); ok && rest != "" {
			return true
		}
	}
	return false
}

func (s *Server) newHTTP() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        s.serve,
		HeaderReceived: headerReceived,
		ExpectHandler:  s.expect,
		ErrorHandler:   s.unreadable,
		Logger:         httpLog{s.log},

		// One more than the listener ever lets in: it is the one that counts.
		Concurrency:        s.limits.Connections + 1,
		MaxRequestsPerConn: requestsPerConn,
		ReadBufferSize:     headBytes,
		WriteBufferSize:    writeBuffer,
		ReadTimeout:        s.limits.HeaderTimeout,
		IdleTimeout:        idleTimeout,

		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		SecureErrorLogMessage:        true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		CloseOnShutdown:              true,
	}
}

// headerReceived makes the library hand over every body at its first byte,
// whatever length was announced, and replaces the deadline of the head by the
// progress rule where a body follows.
func headerReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	config := fasthttp.RequestConfig{MaxRequestBodySize: 1}
	if n := h.ContentLength(); n > 0 || n == chunked {
		config.ReadTimeout = unhurried
	}
	return config
}

// serve answers a request. Nothing escapes it.
func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	c := &call{s: s, ctx: ctx}
	s.metrics.inFlight.Add(1)
	defer s.metrics.inFlight.Add(-1)
	defer c.finish()
	defer c.recover()
	c.dispatch()
}

// expect decides whether the body of a request with Expect: 100-continue is
// welcome. If it is not, the answer is written here and is final.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	c := &call{s: s, ctx: ctx, rehearsal: true}
	func() {
		defer c.recover()
		c.dispatch()
	}()
	if c.row != nil && c.failure == nil {
		return http.StatusContinue
	}
	c.closeAfter()
	c.finish()
	return ctx.Response.StatusCode()
}

// dispatch brings a request to the handler that is responsible for it.
func (c *call) dispatch() {
	c.start = time.Now()
	header := &c.ctx.Request.Header
	seen, why := inspect(header)
	if why == accepted && !c.rehearsal && hasOtherExpectation(header) {
		why = refusedExpectation
	}
	c.seen = seen
	switch {
	case why != accepted:
		c.refuse(why)
	case header.IsOptions():
		c.preflight()
	case !bytes.Equal(rawPath(header.RequestURI()), c.ctx.URI().PathOriginal()):
		c.unknownPath() // the library reads another path than was sent
	default:
		c.ctx.SetUserValue(callKey{}, c)
		c.s.router.Handler(c.ctx)
	}
}

// hasOtherExpectation reports whether the client expects something that we do not
// know. HTTP/1.0 has no expectations.
func hasOtherExpectation(h *fasthttp.RequestHeader) bool {
	v := h.Peek("Expect")
	return len(v) > 0 && h.IsHTTP11() && !sameFold(v, "100-continue")
}

// wrongMethod answers a known path with a method it does not take. The router has
// set Allow, in its own spelling.
func (c *call) wrongMethod() {
	h := &c.ctx.Response.Header
	var allow []string
	for method := range strings.SplitSeq(string(h.Peek(headerAllow)), ", ") {
		if method != http.MethodOptions {
			allow = append(allow, method)
		}
	}
	h.Set(headerAllow, strings.Join(allow, ","))
	c.plain(http.StatusMethodNotAllowed, "")
}

// unreadable answers what the library could not read as a request.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	c := &call{s: s, ctx: ctx, start: time.Now()}
	why := refusedSyntax
	var small *fasthttp.ErrSmallBuffer
	switch {
	case errors.As(err, &small):
		why = refusedHead
	case errors.Is(err, errManyLines):
		why = refusedFields
	case errors.Is(err, os.ErrDeadlineExceeded):
		why = refusedSlow
	}
	c.refuse(why)
	c.finish()
}

// Serve accepts connections until [Server.Shutdown], and then returns nil. It
// closes ln.
func (s *Server) Serve(ln net.Listener) error {
	files, known := openFileLimit()
	l := newListener(ln, s.limits.caps(files, known), s.tls, s.log, s.metrics.turnedAway)
	l.spread = func() float64 { return maxSpread * mathrand.Float64() }
	if !s.enlist(l) {
		return l.Close()
	}
	if err := s.http.Serve(l); err != nil {
		return fmt.Errorf("serving HTTP on %s: %w", ln.Addr(), err)
	}
	return nil
}

// enlist remembers l for Shutdown, and reports whether that was not called yet.
func (s *Server) enlist(l *listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.listeners = append(s.listeners, l)
	}
	return !s.stopped
}

// lastWait is how long handlers get to notice that their connection was cut.
const lastWait = time.Second

// Shutdown stops accepting and waits until running requests are answered. When
// ctx ends first, it cuts what is left and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	listeners := s.listeners
	s.mu.Unlock()
	for _, l := range listeners {
		_ = l.Close() // also those that the library does not know yet
	}
	adminErr := s.admin.shutdown(ctx)
	err := s.http.ShutdownWithContext(ctx)
	s.cancel()
	if err == nil {
		return adminErr
	}
	for _, l := range listeners {
		l.cut()
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastWait)
	defer stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.connections() > 0 && last.Err() == nil {
		<-tick.C
	}
	return fmt.Errorf("waiting for running requests: %w", err)
}

// connections returns the number of open connections.
func (s *Server) connections() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		n += l.count()
	}
	return n
}
