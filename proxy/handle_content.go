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

// smallContent is the largest answer that is read into memory and sent together
// with its head. Larger ones go out by sendfile, which costs a system call of its
// own and saves the copies.
const smallContent = 64 << 10

// sources answers OpSources. Content of another registry is fetched through us as
// well, so its URL names the registry: the download carries no header.
func (c *call) sources() error {
	ctx, cancel := c.context(answerTime)
	defer cancel()
	content, err := c.registry.Stat(ctx, c.digest)
	if err != nil {
		return err
	}
	path := api.PathContent(c.digest)
	if c.upstream != nil {
		path = api.PathUpstreamContent(c.domain, c.digest)
	}
	c.json(func(dst []byte) []byte {
		return api.AppendSources(dst, []api.DigestSources{{
			Digest:  c.digest,
			Sources: []api.Source{{URL: c.s.baseURL + "/" + path, AcceptRanges: true, Size: content.Size}},
		}})
	})
	return nil
}

// noSuchContent is the answer to a content URL that names nothing: that of a file
// server.
func noSuchContent() error { return &answerError{status: http.StatusNotFound} }

// content answers OpContent and OpUpstreamContent.
func (c *call) content() error {
	ctx, cancel := c.context(contentTime)
	defer cancel()
	content, err := c.registry.Open(ctx, c.digest)
	if e, ok := errors.AsType[*warg.Error](err); ok && e.Kind == warg.KindContentNotFound {
		return noSuchContent() // the registry says so; that an upstream does is behind a refusal
	}
	if err != nil {
		return err
	}
	size, modified, err := measure(content)
	if err != nil {
		_ = content.Close()
		return fmt.Errorf("measuring content %s: %w", c.digest, err)
	}
	return c.sendContent(content, size, modified)
}

// measure returns the size of content, and when its file was written.
func measure(content warg.Content) (size int64, modified time.Time, err error) {
	f, ok := content.(*os.File)
	if !ok {
		size, err = content.Seek(0, io.SeekEnd)
		if m, ok := content.(interface{ ModTime() time.Time }); ok {
			modified = m.ModTime()
		}
		return size, modified, err
	}
	stat, err := f.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	return stat.Size(), stat.ModTime(), nil
}

// sendContent answers with as much of content as the request asks for, and closes
// it.
func (c *call) sendContent(content warg.Content, size int64, modified time.Time) error {
	h := &c.ctx.Response.Header
	tag := `"` + c.digest.String() + `"`
	h.Set("Etag", tag)
	h.Set(headerCacheControl, cacheForever)
	h.Set("Accept-Ranges", "bytes")
	if !modified.IsZero() {
		h.SetLastModified(modified)
	}
	switch outcome(&c.ctx.Request.Header, tag, modified) {
	case http.StatusNotModified:
		c.ctx.SetStatusCode(http.StatusNotModified)
		return content.Close()
	case http.StatusPreconditionFailed:
		_ = content.Close()
		return &answerError{status: http.StatusPreconditionFailed}
	}
	part, err := rangeOf(&c.ctx.Request.Header, size, tag, modified)
	if err != nil {
		_ = content.Close()
		return c.unsatisfiable(err, size)
	}
	c.ctx.SetStatusCode(http.StatusOK)
	if part.partial {
		c.ctx.SetStatusCode(http.StatusPartialContent)
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", part.first, part.first+part.length-1, size))
	}
	h.SetContentType(api.ContentTypeBytes)
	return c.sendPart(content, part)
}

// sendPart sends a part of content, from memory if it is small.
func (c *call) sendPart(content warg.Content, part section) error {
	resp := &c.ctx.Response
	if c.ctx.IsHead() {
		resp.SkipBody = true
		resp.Header.SetContentLength(int(part.length))
		return content.Close()
	}
	if part.length > smallContent {
		if _, err := content.Seek(part.first, io.SeekStart); err != nil {
			_ = content.Close()
			return fmt.Errorf("seeking in content %s: %w", c.digest, err)
		}
		resp.SetBodyStream(&contentStream{content, io.LimitedReader{R: content, N: part.length}}, int(part.length))
		return nil
	}
	defer content.Close()
	buf := resp.SwapBody(nil)
	if int64(cap(buf)) < part.length {
		buf = make([]byte, part.length)
	}
	buf = buf[:part.length]
	if n, err := content.ReadAt(buf, part.first); int64(n) < part.length {
		return fmt.Errorf("reading content %s: %w", c.digest, err)
	}
	resp.SwapBody(buf)
	return nil
}

// contentStream is a part of content on its way to a client.
type contentStream struct {
	content warg.Content
	part    io.LimitedReader
}

// Read implements [io.Reader].
func (s *contentStream) Read(p []byte) (int, error) { return s.part.Read(p) }

// Close implements [io.Closer]; the HTTP library calls it after the last byte.
func (s *contentStream) Close() error { return s.content.Close() }

// SupportsBodyWriteTo makes the HTTP library call WriteTo.
func (s *contentStream) SupportsBodyWriteTo() bool { return true }

// WriteTo hands the file itself to the connection, which is what sendfile needs.
func (s *contentStream) WriteTo(w io.Writer) (int64, error) {
	if to, ok := w.(io.ReaderFrom); ok {
		return to.ReadFrom(&s.part)
	}
	return io.Copy(w, &s.part)
}

var _ fasthttp.BodyWriterTo = (*contentStream)(nil)

// unsatisfiable answers a range that cannot be served.
func (c *call) unsatisfiable(err error, size int64) error {
	c.ctx.Response.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
	status := http.StatusRequestedRangeNotSatisfiable
	if errors.Is(err, errSeveralRanges) {
		c.ctx.SetStatusCode(status)
		c.ctx.Response.Header.SetContentType("text/plain; charset=utf-8")
		c.ctx.Response.Header.Set(headerCacheControl, cacheNever)
		c.ctx.SetBodyString(errSeveralRanges.Error())
		return nil
	}
	return &answerError{status: status}
}
