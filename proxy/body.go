package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

const (
	// bodySteps is how many times larger each step of a body's memory is than all before
	// it, so that a client pins memory only by sending, not by announcing.
	bodySteps = 4

	// drainBytes is how much of an upload that was refused early is read and
	// dropped, so that the client gets to read why.
	drainBytes = 16 << 20
)

// answerError is an error with an answer that has no kind in the protocol.
type answerError struct {
	status  int
	message string // "" = an empty body
	err     error
}

func (e *answerError) Error() string {
	if e.message == "" {
		return fmt.Sprintf("status %d", e.status)
	}
	return e.message
}

func (e *answerError) Unwrap() error { return e.err }

// body is the only way to a request's body. It ends in io.EOF only if all of the
// body arrived: the HTTP library reports a connection that broke in the middle of
// a body as its end.
type body struct {
	conn     *conn
	stream   io.Reader // nil: no body
	declared int64     // Content-Length, -1 if chunked
	limit    int64
	tooLarge error // what a body beyond limit is answered with
	read     int64
	failed   error // sticky, io.EOF included
}

// newBody returns the request's body with a limit in bytes.
func newBody(ctx *fasthttp.RequestCtx, limit int64, tooLarge error) *body {
	b := &body{limit: limit, tooLarge: tooLarge, declared: int64(ctx.Request.Header.ContentLength())}
	if b.declared == noBody {
		b.declared = 0
	}
	if b.declared != 0 {
		b.stream = ctx.RequestBodyStream()
		b.conn = connOf(ctx)
	}
	return b
}

// What the HTTP library reports as the content length of requests without one.
const (
	chunked = -1 // a chunked body
	noBody  = -2 // no framing, so no body
)

// check refuses a body whose announced length is beyond the limit, before any of
// it is read.
func (b *body) check() error {
	if b.declared > b.limit {
		b.failed = b.tooLarge
		return b.failed
	}
	return nil
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	if b.stream == nil {
		b.failed = b.atEOF()
		return 0, b.failed
	}
	n, err := b.stream.Read(p)
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		b.failed = b.tooLarge
		return max(n-int(b.read-b.limit), 0), b.failed
	case err == io.EOF:
		b.failed = b.atEOF()
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, fasthttp.ErrTimeout):
		b.failed = &answerError{http.StatusRequestTimeout, refusals[refusedSlow].message, err}
	case err != nil:
		b.failed = warg.Errorf(warg.KindBadRequest, "malformed request body")
	}
	return n, b.failed
}

// atEOF decides whether the end of the stream is the end of the body.
func (b *body) atEOF() error {
	cut := b.declared > b.read || b.declared < 0 && b.conn != nil && b.conn.ended
	if cut {
		return warg.Errorf(warg.KindBadRequest, "the request body ended early")
	}
	return io.EOF
}

// fault returns why the body could not be read to its end, or nil.
func (b *body) fault() error {
	if b.failed == nil || b.failed == io.EOF {
		return nil
	}
	return b.failed
}

// done reports whether all of the body was read.
func (b *body) done() bool { return b.failed == io.EOF || b.declared == b.read }

// drop reads and forgets what is left of a body that nobody wants any more.
func (b *body) drop() {
	_, _ = io.CopyN(io.Discard, b, drainBytes)
}

// readJSON reads the whole body into memory that it takes from the server's
// budget, step by step as it arrives. The caller gives the memory back, whatever the
// outcome.
func (b *body) readJSON(memory *holding) (text []byte, err error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	for size := int64(firstBodyStep); ; size *= bodySteps {
		if b.declared >= 0 {
			size = min(size, b.declared+1) // one more, to see the end
		}
		size = min(size, b.limit+1)
		if size > int64(cap(text)) {
			if !memory.grow(size) {
				return nil, b.crowdedOut(memory)
			}
			text = append(make([]byte, 0, size), text...)
		}
		n, err := b.fill(text[len(text):int(size)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF && memory.arrived():
			return text, nil
		case err != nil && !memory.arrived(): // which is why it ended
			return nil, b.crowdedOut(memory)
		case err != nil:
			return nil, err
		}
	}
}

// crowdedOut ends a body for which there is no memory. The connection of one that was
// told to leave can be read no more.
func (b *body) crowdedOut(memory *holding) error {
	err := &warg.Error{Kind: warg.KindUnavailable, Message: "too many request bodies at once", RetryAfter: 1}
	if !memory.arrived() {
		b.failed = err
	}
	return err
}

// fill reads until p is full or the body ends.
func (b *body) fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = b.Read(p[n:])
		n += m
	}
	return n, err
}

// tooLargeUpload is the answer to content beyond the limit.
func tooLargeUpload(limit int64) error {
	return warg.Errorf(warg.KindTooLarge, "content is larger than the %d bytes that are allowed", limit)
}

// limitOf returns the bound of an operation's body and the error beyond it.
func (s *Server) limitOf(op api.Op) (int64, error) {
	if op == api.OpUpload || op == api.OpUploadCapability {
		return s.limits.ContentSize, tooLargeUpload(s.limits.ContentSize)
	}
	return warg.MaxJSONBody, api.TooLargeBody()
}
