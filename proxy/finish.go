package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// recover turns a panic of a handler into an answer. The state of the connection
// is unknown then, so it is closed.
func (c *call) recover() {
	v := recover()
	if v == nil {
		return
	}
	c.s.metrics.panics.Inc()
	if leftOut, ok := c.s.panicLines.take(c.start); ok {
		c.s.log.LogAttrs(context.Background(), slog.LevelError, "a request caused a panic",
			slog.String("request", c.id()), slog.Any("panic", v), slog.String("stack", string(debug.Stack())), slog.Uint64("left_out", leftOut))
	}
	c.ctx.Response.Reset()
	c.ctx.Response.Header.SetNoDefaultContentType(true)
	c.fail(&warg.Error{Kind: warg.KindInternal, Err: fmt.Errorf("panic: %v", v)})
	c.closeAfter()
}

// finish does what is the same for all answers: headers, memory, metrics, log.
func (c *call) finish() {
	if c.memory != nil {
		c.memory.give()
	}
	status := c.ctx.Response.StatusCode()
	setCommonHeaders(&c.ctx.Response.Header, c.row != nil && c.row.Header)
	if c.row != nil {
		c.setRegistryHeaders()
	}
	if status >= 500 {
		c.ctx.Response.Header.Set(headerRequestID, c.id())
	}
	took := time.Since(c.start)
	c.s.metrics.answered(c.row, status, took)
	c.writeLog(status, took)
	if c.refused {
		c.forgetHead()
	}
}

// forgetHead drops what a refused head was parsed into. The library parses all of a
// head before anybody can refuse it, thousands of fields if there are, and would keep
// that memory, fifteen times the head's size, for the connections to come.
func (c *call) forgetHead() {
	c.ctx.Response.SkipBody = c.ctx.IsHead()
	c.ctx.Request.Header = fasthttp.RequestHeader{}
}

// id returns an id for the request that no other has, made at first use.
func (c *call) id() string {
	if c.requestID == "" {
		c.requestID = c.s.boot + "-" + strconv.FormatUint(c.s.serial.Add(1), 10)
	}
	return c.requestID
}

// level returns how loud the log speaks of an answer: changes and faults of ours
// are worth a line, ordinary reads are not.
func (c *call) level(status int) slog.Level {
	switch {
	case len(c.ctx.Response.Header.Peek(api.HeaderHeld)) > 0: // an answer, not a fault
	case status >= 500 && status != 501:
		return slog.LevelError
	case c.row != nil && (c.row.Op == api.OpPublish || c.row.Op == api.OpUpload || c.row.Op == api.OpUploadCapability):
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// writeLog writes the request's line. It holds neither header fields nor the
// query, where tokens could stand, nor a path that is itself a right to upload. Lines
// about failures have a quota, or whoever can reach us could fill the disk.
func (c *call) writeLog(status int, took time.Duration) {
	level := c.level(status)
	if !c.s.log.Enabled(context.Background(), level) {
		return
	}
	leftOut := uint64(0)
	if level >= slog.LevelInfo && status >= 400 {
		ok := false
		if leftOut, ok = c.s.lines.of(c.row, status).take(c.start); !ok {
			return
		}
	}
	name, path := "none", ""
	switch raw := rawPath(c.ctx.Request.Header.RequestURI()); {
	case c.row == nil:
		path = quietPath(string(raw))
	case c.row.Op == api.OpUploadCapability:
		name, path = c.row.Name, c.row.Template
	default:
		name, path = c.row.Name, string(raw)
	}
	attrs := []slog.Attr{
		slog.String("request", c.id()), slog.String("op", name), slog.String("method", string(c.ctx.Method())),
		slog.String("path", path), slog.Int("status", status), slog.Duration("took", took),
	}
	if c.named {
		attrs = append(attrs, slog.String("registry", c.domain))
	}
	if c.failure != nil {
		attrs = append(attrs, slog.String("error", cause(c.failure)))
	}
	if leftOut > 0 {
		attrs = append(attrs, slog.Uint64("left_out", leftOut))
	}
	c.s.log.LogAttrs(context.Background(), level, "request", attrs...)
}

// quietPath returns a path that led nowhere as the log may say it. One that almost led
// to an upload, with a method or an ending that is not right, holds a right to upload.
func quietPath(path string) string {
	const upload = "/upload/"
	plain := path
	if p, err := url.PathUnescape(path); err == nil {
		plain = p
	}
	for end := len(upload); end <= len(plain); end++ {
		if strings.EqualFold(plain[end-len(upload):end], upload) {
			return plain[:end] + "…"
		}
	}
	return path
}

// cause returns what the log says about a failure: also what clients are not told.
func cause(err error) string {
	e := api.AsError(err)
	if e.Err == nil || strings.Contains(e.Error(), e.Err.Error()) {
		return err.Error()
	}
	return e.Error() + ": " + e.Err.Error()
}

// httpLog takes the library's rare remarks.
type httpLog struct{ log *slog.Logger }

// Printf implements the library's logger. What it is about is left out: the
// library's errors quote what clients sent.
func (l httpLog) Printf(format string, _ ...any) {
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "the HTTP library remarks", slog.String("form", format))
}
