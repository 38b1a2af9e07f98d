package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

const (
	// budgetWait is how long a request waits for memory for its body. Longer would
	// only move the queue from the client, which can go elsewhere, to us.
	budgetWait = 5 * time.Second

	// firstBodyStep is the memory taken for a body before its first byte arrives;
	// most bodies fit. Each further step doubles it, so that a client pins memory
	// only by sending, not by announcing.
	firstBodyStep = 16 << 10

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
// budget. The caller gives back what taken says, whatever the outcome.
func (b *body) readJSON(memory *bodyMemory) (text []byte, taken int64, err error) {
	if err := b.check(); err != nil {
		return nil, 0, err
	}
	size := int64(firstBodyStep)
	for {
		if b.declared >= 0 {
			size = min(size, b.declared+1) // one more, to see the end
		}
		size = min(size, b.limit+1)
		if grow := size - int64(cap(text)); grow > 0 {
			if !memory.take(grow, taken) {
				return nil, taken, &warg.Error{Kind: warg.KindUnavailable, Message: "too many request bodies at once", RetryAfter: 1}
			}
			taken += grow
			text = append(make([]byte, 0, size), text...)
		}
		n, err := b.fill(text[len(text):int(size)])
		text = text[:len(text)+n]
		switch {
		case err == io.EOF:
			return text, taken, nil
		case err != nil:
			return nil, taken, err
		}
		size *= 2
	}
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
