package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// outage is a way in which a registry fails, and the client that meets it.
type outage struct {
	name string
	make func(t *testing.T, s *served) *Client
}

// saying is a registry that answers everything in the same way.
func saying(status int, contentType, text string) func(*testing.T, *served) *Client {
	return func(t *testing.T, s *served) *Client {
		s.setAttack(always(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}))
		return s.client(t, func(o *ClientOptions) { o.Token = "has ended" })
	}
}

// hungUp is a registry whose connections end in the middle.
func hungUp(t *testing.T, s *served) *Client {
	s.setAttack(always(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"contents":`))
		panic(http.ErrAbortHandler)
	}))
	return s.client(t, nil)
}

// behindTLS is a registry behind a certificate, and a client that is to accept it or not.
func behindTLS(change func(cert *tls.Config)) func(*testing.T, *served) *Client {
	return func(t *testing.T, s *served) *Client {
		front := httptest.NewUnstartedServer(s.http.Config.Handler)
		front.Config.ErrorLog = log.New(io.Discard, "", 0) // what the client thinks of it is expected
		front.TLS = new(tls.Config)
		change(front.TLS)
		front.StartTLS()
		t.Cleanup(front.Close)
		return s.client(t, func(o *ClientOptions) { o.URL = front.URL })
	}
}

// outages are those after which what is held is served: of names, connections,
// certificates, time, our own credentials, too many requests, and servers.
func outages() []outage {
	const plain = "text/plain"
	return []outage{
		{"no such name", func(t *testing.T, s *served) *Client {
			nobody := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
				return nil, errors.New("no name server")
			}}
			return s.client(t, func(o *ClientOptions) {
				o.Resolver, o.URL = nobody, strings.Replace(o.URL, "127.0.0.1", "up.example", 1)
			})
		}},
		{"nobody listens", func(t *testing.T, s *served) *Client { s.http.Close(); return s.client(t, nil) }},
		{"unknown certificate", behindTLS(func(*tls.Config) {})},
		{"old TLS", behindTLS(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 })},
		{"no answer in time", func(t *testing.T, s *served) *Client {
			over := make(chan struct{})
			t.Cleanup(func() { close(over) }) // before the server is closed
			s.setAttack(always(func(http.ResponseWriter, *http.Request) { <-over }))
			return s.client(t, func(o *ClientOptions) { o.Timing.Head = 10 * time.Millisecond })
		}},
		{"connections that end", hungUp},
		{"our credentials are not accepted", saying(http.StatusUnauthorized, plain, "who are you")},
		{"our credentials are not enough", saying(http.StatusForbidden, "application/json", `{"status":403,"message":"no"}`)},
		{"not there any more", saying(http.StatusNotFound, plain, "404 page not found")},
		{"not there, in the protocol's words", saying(http.StatusNotFound, "application/json", `{"status":404,"message":"no"}`)},
		{"gone", saying(http.StatusGone, plain, "moved away")},
		{"too many requests", saying(http.StatusTooManyRequests, plain, "later")},
		{"broken", saying(http.StatusInternalServerError, "application/json", `{"status":500,"message":"oh"}`)},
		{"bad gateway", saying(http.StatusBadGateway, "text/html", "<html></html>")},
		{"in maintenance", saying(http.StatusServiceUnavailable, plain, "soon")},
		{"a page to sign in", saying(http.StatusOK, "text/html", "<html></html>")},
	}
}

// TestStaleIfError: whatever keeps a registry from answering, what was verified of it is
// served, and says that it may be old; what is needed and not held is never called
// missing; and when it answers again everything is as before.
func TestStaleIfError(t *testing.T) {
	for _, o := range outages() {
		t.Run(o.name, func(t *testing.T) {
			w := newWorld(t)
			content := w.publish("test:a", "1.0.0")
			w.publish("test:b", "1.0.0")
			w.refresh()
			if _, err := w.fetch("test:a"); err != nil {
				t.Fatal(err)
			}
			if _, err := w.replica.Stat(t.Context(), warg.Sum(content)); err != nil {
				t.Fatal(err)
			}
			// Whoever is answered may leave work behind, such as asking for a name, that ends
			// with the old transport and is to be noted at the old time.
			become := func(next Transport) {
				w.replica.currentShift().work.Wait()
				w.tap.Transport = next
				w.clock.advance(time.Hour)
			}
			honest := w.tap.Transport
			become(o.make(t, serve(t, w.up)))

			view, err := w.replica.Checkpoint(t.Context())
			if err != nil || view.Checkpoint.LogLength != 3 || view.Warning == "" {
				t.Errorf("checkpoint: %+v, %v", view, err)
			}
			log := wargtest.Name("test:a").LogID()
			page, err := w.replica.Logs(t.Context(), warg.LogsRequest{LogLength: 3, Packages: []warg.LogCursor{{LogID: log}}})
			if err != nil || len(page.Packages[0].Records) != 1 || len(page.Warnings) != 1 {
				t.Errorf("held log: %+v, %v", page, err)
			}
			if f, err := w.replica.Open(t.Context(), warg.Sum(content)); err != nil {
				t.Errorf("held content: %v", err)
			} else {
				f.Close()
			}
			w.clock.advance(time.Hour) // so that upstream is asked, and not only its last failure told
			_, err = w.fetch("test:b")
			if e, ok := asWarg(err); !ok || e.Kind != warg.KindUnavailable && e.Kind != warg.KindUpstreamTimeout && e.Kind != warg.KindUpstreamInvalid {
				t.Errorf("log that is not held: %v", err)
			}
			if s := w.replica.Status(); s.State != StateStale || s.LastError == "" {
				t.Errorf("status %+v", s)
			}

			become(honest)
			if view, err := w.replica.Checkpoint(t.Context()); err != nil || view.Warning != "" {
				t.Errorf("afterwards: %+v, %v", view, err)
			}
			if _, err := w.fetch("test:b"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
