package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/entrepot/entrepot/warg"
)

// Admin is what an operator may see and do through the admin listener. Parts that
// are nil answer 501.
type Admin struct {
	Namespaces NamespaceAdmin
	Operators  OperatorAdmin
	Mirrors    MirrorAdmin
	Archives   ArchiveAdmin
	Registry   RegistryAdmin
	Status     func() []RegistryStatus // of all registries, our own first
	Counts     Counts                  // for metrics
}

// NamespaceAdmin changes which namespaces are defined here. Each change appends a
// record to the operator log and returns when it is published.
type NamespaceAdmin interface {
	DefineNamespace(ctx context.Context, namespace string) error
	ImportNamespace(ctx context.Context, namespace, domain string) error
	Namespaces(ctx context.Context) ([]Namespace, error)
}

// Namespace is a namespace of the operator log.
type Namespace struct {
	Name     string `json:"namespace"`
	Registry string `json:"registry,omitempty"` // the registry it is imported from; empty: defined here
}

// OperatorAdmin changes which keys act for the registry. Permissions are those of
// operator logs, by their names on the wire.
type OperatorAdmin interface {
	GrantOperator(ctx context.Context, key warg.PublicKey, permissions []string) error
	RevokeOperator(ctx context.Context, key warg.KeyID, permissions []string) error
}

// MirrorAdmin fills replicas of upstreams.
type MirrorAdmin interface {
	// SyncMirrors fetches and verifies what is new, for the domains given or for
	// all. It reports what it does through progress, which it calls from one
	// goroutine at a time.
	SyncMirrors(ctx context.Context, domains []string, progress func(MirrorProgress)) error
	MirrorStatus(ctx context.Context) ([]MirrorStatus, error)
	// ResetMirror sets the replica of an upstream aside and begins a new one. It returns
	// a JSON object that says what was set aside, where, and why.
	ResetMirror(ctx context.Context, domain, reason string) (json.RawMessage, error)
}

// RegistryAdmin takes an operator's decisions about our own registry.
type RegistryAdmin interface {
	// AcceptClock says that the clock is right although it jumped.
	AcceptClock(ctx context.Context) error
	// Freeze ends the registry for good. That the domain is named keeps a call to the
	// wrong server from ending that one.
	Freeze(ctx context.Context, domain string) error
}

// MirrorProgress is a step of filling a replica.
type MirrorProgress struct {
	Domain string `json:"domain"`
	Stage  string `json:"stage"`           // what is being done, for people
	Done   int64  `json:"done"`            // of Total, in units of the stage
	Total  int64  `json:"total,omitempty"` // 0: not known
}

// MirrorStatus is what is held of an upstream.
type MirrorStatus struct {
	RegistryStatus
	Packages     int64 `json:"packages"`
	Records      int64 `json:"records"`
	Contents     int64 `json:"contents"`
	ContentBytes int64 `json:"contentBytes"`
	Pinned       int64 `json:"pinnedContents"` // of Contents: never evicted
	PinnedBytes  int64 `json:"pinnedBytes"`    // of those
	// Backup says that it is a full replica of a peer, who may have to be brought back
	// from it: the cache that holds it may not be deleted.
	Backup bool `json:"backup"`
}

const (
	adminHeaderTime = 10 * time.Second
	adminHeadBytes  = 16 << 10

	// adminBody bounds admin requests; they are a few names and keys.
	adminBody = 1 << 20
)

// admin is the server behind the admin listener. It uses net/http: it is not on
// the path of any client, pprof and metrics come for it, and what it shares with
// the public listener is nothing.
type admin struct {
	s    *Server
	ops  Admin
	http *http.Server
}

func newAdmin(s *Server, ops Admin) *admin {
	a := &admin{s: s, ops: ops}
	a.http = &http.Server{
		Handler:           a.guard(a.routes()),
		ReadHeaderTimeout: adminHeaderTime,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    adminHeadBytes,
		BaseContext:       func(net.Listener) context.Context { return s.base },
	}
	if ops.Status != nil {
		s.metrics.registry.MustRegister(newStatusCollector(ops.Status, s.now))
	}
	s.metrics.registry.MustRegister(newCountsCollector(ops.Counts))
	return a
}

// adminCall is one row of the admin listener's routes.
type adminCall struct {
	pattern string // method and path
	in, out string // bodies, for the reference page
	about   string
	serve   func(*admin) http.HandlerFunc
}

// adminCalls returns the routes of the admin listener.
func adminCalls() []adminCall {
	reply := func(f func(*admin, *http.Request) (any, error)) func(*admin) http.HandlerFunc {
		return func(a *admin) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				a.reply(w, r, func(r *http.Request) (any, error) { return f(a, r) })
			}
		}
	}
	plain := func(f http.HandlerFunc) func(*admin) http.HandlerFunc {
		return func(*admin) http.HandlerFunc { return f }
	}
	alive := func(a *admin, _ *http.Request) (any, error) { return okStatus{"ok"}, a.s.dead() }
	const ok, profile = `{"status":"ok"}`, "a profile"
	return []adminCall{
		{"GET /healthz", "", ok, "is the process alive; 503 and why, if it should be ended", reply(alive)},
		{"GET /readyz", "", ok, "can the server serve; 503 and why, if not", reply((*admin).ready)},
		{"GET /statusz", "", `{"version":"…","baseUrl":"…","registries":[{"domain":"…","logLength":1,"checkpointTime":"…","verifiedAt":"…","mode":"…","state":"ok","lastError":"…","lastErrorAt":"…","circuit":"closed","operatorKey":"sha256:…","pinned":"configuration","refused":{"signature":1},"evidence":["…"]}],"securityEvents":{"signature":1}}`,
			"how each registry is doing; states are ok, stale, quarantined, fenced; a quarantined one has `quarantine` with class, reason, since and evidence", reply((*admin).status)},
		{"GET /metrics", "", "Prometheus text", "counters, gauges and histograms, described in metrics.md", (*admin).metrics},
		{"GET /admin/namespaces", "", `{"namespaces":[{"namespace":"…","registry":"…"}]}`, "namespaces of the operator log; without `registry`: defined here", reply((*admin).listNamespaces)},
		{"POST /admin/namespaces", `{"namespace":"…"}`, `{"status":"defined"}`, "define a namespace; with `registry` as well: import it from there", reply((*admin).addNamespace)},
		{"POST /admin/operators/grant", `{"key":"ecdsa-p256:…","permissions":["commit"]}`, `{"status":"granted"}`, "let a key act for the registry", reply((*admin).grantOperator)},
		{"POST /admin/operators/revoke", `{"keyId":"sha256:…","permissions":["commit"]}`, `{"status":"revoked"}`, "take permissions from a key", reply((*admin).revokeOperator)},
		{"POST /admin/registry/accept-clock", `{}`, `{"status":"accepted"}`, "say that the clock is right although it jumped: the fence `clock jump` opens", reply((*admin).acceptClock)},
		{"POST /admin/registry/freeze", `{"domain":"…"}`, `{"status":"frozen"}`, "end our own registry for good; `domain` must be its own", reply((*admin).freeze)},
		{"GET /admin/mirrors", "", `{"mirrors":[{"domain":"…","packages":1,"records":1,"contents":1,"contentBytes":1,"pinnedContents":1,"pinnedBytes":1,"backup":false}]}`, "what is held of the upstreams, and their status", reply((*admin).mirrorStatus)},
		{"POST /admin/mirrors/sync", `{"domains":["…"]}`, `{"domain":"…","stage":"…","done":1,"total":2}`,
			"fill replicas, all if none is named; one JSON object a line while it works, the last `{\"status\":\"ok\"}` or `{\"error\":\"…\",\"code\":502}`", (*admin).syncing},
		{"POST /admin/mirrors/reset", `{"domain":"…","reason":"…"}`, `{"registry":"…","reason":"…","at":"…","length":1,"operatorKey":"sha256:…","directory":"…"}`,
			"set the replica of an upstream aside and begin a new one; `quarantine` and `damage` if there were any", reply((*admin).resetMirror)},
		{"POST /admin/archive/export", `{"domains":["…"],"own":false,"packages":["…"]} and a stub, framed`, "an archive; how it ended in the trailer " + TrailerArchive,
			"make an archive of what is held; for `entrepot archive export`", (*admin).archiving},
		{"POST /admin/archive/import", "archives, framed", `{"domain":"…","stage":"…","done":1,"total":2}`,
			"verify archives and store what they carry; one JSON object a line while it works, the last `{\"end\":{…}}`; for `entrepot archive import`", taking(false)},
		{"POST /admin/archive/verify", "archives, framed", `{"domain":"…","stage":"…","done":1,"total":2}`,
			"only verify them; for `entrepot archive verify`", taking(true)},
		{"GET /debug/pprof/", "", profile, "profiles of the Go runtime", plain(pprof.Index)},
		{"GET /debug/pprof/cmdline", "", profile, "the command line", plain(pprof.Cmdline)},
		{"GET /debug/pprof/profile", "", profile, "processor time", plain(pprof.Profile)},
		{"GET /debug/pprof/symbol", "", profile, "names of program counters", plain(pprof.Symbol)},
		{"GET /debug/pprof/trace", "", profile, "an execution trace", plain(pprof.Trace)},
	}
}

func (a *admin) routes() http.Handler {
	mux := http.NewServeMux()
	for _, c := range adminCalls() {
		mux.HandleFunc(c.pattern, c.serve(a))
	}
	return mux
}

func (a *admin) metrics() http.HandlerFunc {
	return promhttp.HandlerFor(a.s.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP
}

func (a *admin) syncing() http.HandlerFunc { return a.syncMirrors }

// guard keeps web pages out. A loopback port can be reached by any page that the
// operator has open; such requests carry an Origin, or a Host that is a name of
// the attacker's.
func (a *admin) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		_, tcp := local.(*net.TCPAddr)
		switch {
		case r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "":
			writeAdminError(w, warg.Errorf(warg.KindForbidden, "not for browsers"))
		case tcp && !isLoopbackHost(r.Host):
			writeAdminError(w, warg.Errorf(warg.KindForbidden, "the Host of an admin request must be a loopback address"))
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isLoopbackHost reports whether a Host field names this machine.
func isLoopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if name == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Unmap().IsLoopback()
}

// ServeAdmin serves metrics, status, profiles and admin calls until
// [Server.Shutdown], and then returns nil. The listener must be a Unix socket or a
// loopback port: who reaches it may do everything.
func (s *Server) ServeAdmin(ln net.Listener) error {
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		return fmt.Errorf("serving the admin listener on %s: it must be a Unix socket or a loopback address", ln.Addr())
	}
	if err := s.admin.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving the admin listener on %s: %w", ln.Addr(), err)
	}
	return nil
}

// shutdown ends the admin server.
func (a *admin) shutdown(ctx context.Context) error {
	if err := a.http.Shutdown(ctx); err != nil {
		_ = a.http.Close()
		return fmt.Errorf("ending admin calls: %w", err)
	}
	return nil
}
