package proxy

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

const (
	// answerTime bounds how long a registry may think about an answer. Only
	// upstreams ever need a noticeable part of it.
	answerTime = 60 * time.Second

	// contentTime is the same where content may have to be fetched first: the
	// largest content at 1 MiB a second.
	contentTime = 10 * time.Minute
)

// call is one request on its way through the server. It lives as long as the
// request and is used by one goroutine.
type call struct {
	s         *Server
	ctx       *fasthttp.RequestCtx
	row       *route    // nil: no endpoint took the request
	start     time.Time // when the request's head was read
	seen      fields    // of those that may occur once
	rehearsal bool      // only find out whether the body is welcome
	refused   bool      // by the gate, or unreadable
	failure   error     // what the request failed with, for the log
	requestID string    // see id

	target
	named  bool   // the Warg-Registry header was given
	domain string // of the upstream, from header or path

	log        warg.LogID
	recordID   warg.RecordID
	digest     warg.Digest
	capability string // as the path has it
	first      uint64 // index of a ledger page's first entry

	in     *body     // the request's body, once it was looked at
	memory *holding  // of a body that was read, nil if none was
	view   warg.View // what a federated answer rests on
	known  bool      // view is set
}

// callKey is where a request's call is kept.
type callKey struct{}

func callOf(ctx *fasthttp.RequestCtx) *call { return ctx.UserValue(callKey{}).(*call) }

// connOf returns the connection of a request, nil if it is none of ours.
func connOf(ctx *fasthttp.RequestCtx) *conn {
	if c, ok := ctx.Conn().(interface {
		net.Conn
		base() *conn
	}); ok {
		return c.base()
	}
	return nil
}

// take gives the request to a row of the route table. The router lets a parameter
// be empty; such a path is another one.
func (c *call) take(row *route) {
	for _, name := range row.paramNames {
		if raw, _ := c.ctx.UserValue(name).(string); raw == "" {
			c.unknownPath()
			return
		}
	}
	c.row = row
	c.run()
}

// run takes a routed request from its parameters to its answer. The order of the
// checks is part of the protocol: path, registry, content type, length, body.
func (c *call) run() {
	err := c.admit()
	if err == nil && !c.rehearsal {
		err = c.row.handle(c)
	}
	if err != nil {
		c.fail(err)
	}
}

// admit checks everything about a request but its body.
func (c *call) admit() error {
	if err := c.parsePath(); err != nil {
		return err
	}
	if err := c.selectRegistry(); err != nil {
		return err
	}
	if c.row.takesJSON() {
		if err := api.CheckContentType(string(c.ctx.Request.Header.ContentType())); err != nil {
			return err
		}
	}
	if c.row.request == "" {
		return nil
	}
	return c.body().check()
}

// parsePath decodes and parses each path parameter, once.
func (c *call) parsePath() (err error) {
	for _, name := range c.row.paramNames {
		raw, _ := c.ctx.UserValue(name).(string)
		switch name {
		case "log_id":
			c.log, err = api.SegmentLogID(raw)
		case "record_id":
			c.recordID, err = api.SegmentRecordID(raw)
		case "digest":
			c.digest, err = api.SegmentDigest(raw)
		case "capability":
			c.capability = raw
		case "start":
			c.first, err = api.SegmentStart(raw)
		case "domain":
			c.domain, err = api.SegmentDomain(raw)
			err = c.emptyIfContent(err)
		case "file":
			var ok bool
			if c.digest, ok = api.SegmentContent(raw); !ok {
				err = noSuchContent()
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// emptyIfContent replaces an error about a content URL by the plain 404 that a
// file server gives.
func (c *call) emptyIfContent(err error) error {
	if err != nil && c.row.Op == api.OpUpstreamContent {
		return noSuchContent()
	}
	return err
}

// selectRegistry finds the registry that the request is meant for. Where the path
// names it, clients send no header.
func (c *call) selectRegistry() (err error) {
	switch {
	case c.row.Header:
		if c.named = c.seen.has(fieldRegistry); c.named {
			c.domain = string(c.ctx.Request.Header.Peek(api.HeaderRegistry))
		}
		c.target, err = c.s.federation.find(c.domain, c.named)
	case c.domain != "":
		c.target, err = c.s.federation.find(c.domain, true)
		err = c.emptyIfContent(err)
	default:
		c.target, err = c.s.federation.find("", false)
	}
	return err
}

// body returns the request's body.
func (c *call) body() *body {
	if c.in == nil {
		c.in = newBody(c.ctx, c.row.limit, c.row.tooLarge)
	}
	return c.in
}

// text reads a JSON body. The memory is given back when the call is over.
func (c *call) text() ([]byte, error) {
	conn, peer := connOf(c.ctx), netip.Prefix{}
	if conn != nil {
		peer = conn.peer
	}
	c.memory = c.s.memory.hold(peer, conn.stopReading)
	return c.body().readJSON(c.memory)
}

// context returns the context for a question to the registry. Our own answers
// from this machine; only others may be waited for.
func (c *call) context(wait time.Duration) (context.Context, context.CancelFunc) {
	if c.upstream == nil {
		return c.s.base, func() {}
	}
	p := patient(c.s.base, wait)
	return p, p.end
}
