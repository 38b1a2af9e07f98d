package upstream

import (
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// maxHosts bounds the hosts that are remembered for not answering: a registry says
// where its content is, and could name any number of them.
const maxHosts = 64

// hostError is an error of another host than the registry's: of a content source, or of
// where a redirect or an upload leads. It says nothing about the registry itself.
type hostError struct{ error }

// Unwrap returns the error.
func (e *hostError) Unwrap() error { return e.error }

// elsewhere reports whether an error is of another host than the registry's.
func elsewhere(err error) bool {
	_, ok := errors.AsType[*hostError](err)
	return ok
}

// mark marks an error of an exchange with another host.
func (c *Client) mark(u *url.URL, err error) error {
	if err == nil || elsewhere(err) || c.places.isOrigin(u) {
		return err
	}
	return &hostError{err}
}

// heard notes how an exchange with whoever has content ended, and marks the error if it
// is of another host. u is where it was sent; if it was redirected and failed there, the
// error says where.
func (c *Client) heard(u *url.URL, err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		if last, parseErr := url.Parse(failed.URL); parseErr == nil && last.Host != "" {
			u = last
		}
	}
	if !elsewhere(err) && !c.places.isOrigin(u) {
		c.hosts.report(u, err, time.Now())
	}
	return c.mark(u, err)
}

// hosts are circuit breakers of other hosts than the registry's, by address, so that
// one of them that does not answer is not asked for every content anew, and keeps
// nobody from asking the registry.
type hosts struct {
	mu sync.Mutex
	m  map[string]*breaker // those that did not answer
}

// of returns the breaker of a host, which is nil for one that answers.
func (h *hosts) of(u *url.URL) *breaker {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[hostPort(u)]
}

// pass is closed for who will send a request if it returns nil.
func (h *hosts) pass(u *url.URL, now time.Time) error {
	b := h.of(u)
	if b == nil {
		return nil
	}
	if err := b.pass(now); err != nil {
		return &hostError{err}
	}
	b.budget.earn()
	return nil
}

// report notes how a request to a host ended.
func (h *hosts) report(u *url.URL, err error, now time.Time) {
	switch _, answered := asWarg(err); {
	case unanswered(err):
		b := h.remember(u)
		b.report(err, now)
		b.hold(pauseAsked(err), now)
	case err == nil || answered:
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.m, hostPort(u))
	} // else the reader has gone, which says nothing
}

// remember returns the breaker of a host that does not answer.
func (h *hosts) remember(u *url.URL) *breaker {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := hostPort(u)
	if b := h.m[name]; b != nil {
		return b
	}
	if h.m == nil {
		h.m = make(map[string]*breaker)
	}
	if len(h.m) >= maxHosts {
		for victim := range h.m { // any one
			delete(h.m, victim)
			break
		}
	}
	b := &breaker{budget: new(retryBudget)}
	h.m[name] = b
	return b
}

// unanswered reports whether an error says that a host does not answer, or wants a pause;
// that it does not give one content says nothing about another.
func unanswered(err error) bool {
	e, ok := asWarg(err)
	return ok && (e.Kind == warg.KindUnavailable || e.Kind == warg.KindUpstreamTimeout || e.Kind == warg.KindTooMany)
}
