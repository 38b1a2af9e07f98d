package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Values of Cache-Control. What a digest or a full ledger page names never
// changes; everything else may be different a millisecond later.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheNever   = "no-store"
)

const (
	headerAge          = "Age"
	headerAllow        = "Allow"
	headerCacheControl = "Cache-Control"
	headerRequestID    = "X-Request-Id"
	headerRetryAfter   = "Retry-After"
	headerVary         = "Vary"
)

// keptBody is the largest answer whose buffer is kept for the next one.
const keptBody = 1 << 20

// write answers with a body that build appends to a recycled buffer.
func (c *call) write(media, cache string, build func(dst []byte) []byte) {
	resp := &c.ctx.Response
	resp.SetStatusCode(c.row.Status)
	resp.Header.SetContentType(media)
	resp.Header.Set(headerCacheControl, cache)
	body := build(resp.SwapBody(nil)[:0])
	if cap(body) > keptBody {
		resp.SetBodyRaw(body)
		return
	}
	resp.SwapBody(body)
}

// json answers with a JSON body about something that may change.
func (c *call) json(build func(dst []byte) []byte) { c.write(api.ContentTypeJSON, cacheNever, build) }

// fail answers with an error. It is the only place that does, apart from the
// refusals of the gate.
func (c *call) fail(err error) {
	c.failure = err
	resp := &c.ctx.Response
	resp.ResetBody()
	c.closeIfUnread()
	if e, ok := errors.AsType[*answerError](err); ok {
		c.plain(e.status, e.message)
		return
	}
	resp.Header.Set(headerCacheControl, cacheNever)
	e := api.AsError(err)
	if e.RetryAfter == 0 && (e.Kind == warg.KindUnavailable || e.Kind == warg.KindTooMany) {
		resp.Header.Set(headerRetryAfter, "1")
	} else if e.RetryAfter > 0 {
		resp.Header.Set(headerRetryAfter, strconv.Itoa(e.RetryAfter))
	}
	resp.SetStatusCode(api.Status(e.Kind))
	resp.Header.SetContentType(api.ContentTypeJSON)
	resp.SwapBody(api.AppendError(resp.SwapBody(nil)[:0], e))
}

// closeIfUnread ends the connection after an answer that came before the end of a
// body, unless what is left of it is little and of known length.
func (c *call) closeIfUnread() {
	faulty := c.in != nil && c.in.fault() != nil
	unread := c.ctx.Request.Header.ContentLength() > maxSkipped && (c.in == nil || !c.in.done())
	if faulty || unread {
		c.closeAfter()
	}
}

// maxSkipped is how much of an unwanted body of known length is read over to keep
// the connection; the HTTP library closes it beyond that.
const maxSkipped = 256 << 10

// closeAfter ends the connection after this answer, in a way that lets the peer
// read it.
func (c *call) closeAfter() {
	c.ctx.SetConnectionClose()
	if conn := connOf(c.ctx); conn != nil {
		conn.linger()
	}
}

// plain answers with a status that has no kind: a message, or nothing at all.
func (c *call) plain(status int, message string) {
	resp := &c.ctx.Response
	resp.SetStatusCode(status)
	resp.Header.Set(headerCacheControl, cacheNever)
	if message == "" {
		resp.Header.SetContentLength(0) // for HEAD as well
		return
	}
	resp.Header.SetContentType(api.ContentTypeJSON)
	resp.SetBodyString(generic(status, message))
}

// generic returns the body of an error that every client reads. The message needs
// no escapes: it is one of ours.
func generic(status int, message string) string {
	return `{"status":` + strconv.Itoa(status) + `,"message":"` + message + `"}`
}

// refuse answers a request that did not pass the gate and closes the connection.
func (c *call) refuse(why refusal) {
	c.s.metrics.refused(why)
	c.refused = true
	c.failure = errors.New(refusals[why].message)
	c.plain(refusals[why].status, refusals[why].message)
	c.closeAfter()
}

// unknownPath answers a path that no row of the route table has.
func (c *call) unknownPath() {
	if c.s.isAPI(string(rawPath(c.ctx.Request.Header.RequestURI()))) {
		c.plain(http.StatusNotFound, "the requested resource was not found")
		return
	}
	c.plain(http.StatusNotFound, "")
}

// CORS: browsers may call everything that needs no cookies, and read what the
// answers say besides their bodies.
const (
	corsMethods = "GET,POST,PUT"
	corsHeaders = "content-type,accept,authorization,warg-registry"
	corsExposed = "warg-registry,warg-registry-hint,entrepot-checkpoint-time,age,etag,content-range,retry-after,x-request-id"
	corsVary    = "origin, access-control-request-method, access-control-request-headers"
	registryVar = corsVary + ", warg-registry"
)

// setCommonHeaders sets what every answer has.
func setCommonHeaders(h *fasthttp.ResponseHeader, byRegistry bool) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", corsExposed)
	vary := corsVary
	if byRegistry {
		vary = registryVar
	}
	h.Set(headerVary, vary)
}

// preflight answers any OPTIONS request.
func (c *call) preflight() {
	h := &c.ctx.Response.Header
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	c.ctx.SetStatusCode(http.StatusOK)
}

// timeText remembers how the last time was written: nearly all answers rest on the
// same few checkpoints.
type timeText struct{ last atomic.Pointer[writtenTime] }

type writtenTime struct {
	seconds uint64
	text    []byte
}

// text returns a time, in seconds since 1970, as text that nobody may change.
func (t *timeText) text(seconds uint64) []byte {
	last := t.last.Load()
	if last == nil || last.seconds != seconds {
		last = &writtenTime{seconds, time.Unix(int64(seconds), 0).UTC().AppendFormat(nil, time.RFC3339)}
		t.last.Store(last)
	}
	return last.text
}

// setRegistryHeaders says on whose behalf an answer was given and how old what it
// rests on is.
func (c *call) setRegistryHeaders() {
	h := &c.ctx.Response.Header
	if c.named && c.registry != nil {
		h.SetCanonical([]byte(api.HeaderRegistry), []byte(c.domain))
	}
	if c.upstream == nil {
		return
	}
	if !c.known {
		v, ok := c.upstream.(viewer)
		if !ok {
			return
		}
		if c.view, c.known = v.LastView(); !c.known {
			return
		}
	}
	h.SetCanonical([]byte(headerAge), strconv.AppendInt(nil, age(c.view, c.s.now()), 10))
	h.SetCanonical([]byte(api.HeaderCheckpointTime), c.s.signed.text(c.view.Checkpoint.Timestamp))
}
