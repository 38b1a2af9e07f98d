package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// sources asks where content can be fetched. URLs are judged when they are used.
func (c *Client) sources(ctx context.Context, digest warg.Digest) ([]api.Source, error) {
	x := exchange{op: api.OpSources, path: api.PathSources(digest), limit: maxSourcesBody}
	body, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	contents, err := api.ParseSources(body)
	if err != nil {
		return nil, x.malformed(err)
	}
	for _, d := range contents {
		if d.Digest == digest && len(d.Sources) > 0 {
			return d.Sources[:min(len(d.Sources), maxContentSources)], nil
		}
	}
	return nil, x.malformed(fmt.Errorf("it names no source for `%s`", digest))
}

// Stat implements [warg.Registry]. If upstream does not say the size, its content
// source is asked for it.
func (c *Client) Stat(ctx context.Context, digest warg.Digest) (warg.ContentInfo, error) {
	sources, err := c.sources(ctx, digest)
	if err != nil {
		return warg.ContentInfo{}, err
	}
	for _, s := range sources {
		if s.Size >= 0 {
			return warg.ContentInfo{Digest: digest, Size: s.Size}, nil
		}
	}
	var last error
	for _, s := range sources {
		resp, _, err := c.request(ctx, http.MethodHead, s.URL)
		if err != nil {
			last = err
			continue
		}
		resp.Body.Close()
		if resp.ContentLength >= 0 {
			return warg.ContentInfo{Digest: digest, Size: resp.ContentLength}, nil
		}
		last = refuse(ClassAnswer, "no source of `%s` says its size", digest)
	}
	return warg.ContentInfo{}, last
}

// request sends a request without body for content, which may be redirected and
// carries no credentials, and returns an answer of status 200. The context of the
// exchange ends with cancel.
func (c *Client) request(ctx context.Context, method, ref string) (*http.Response, context.CancelFunc, error) {
	u, err := url.Parse(ref)
	if err == nil && !u.IsAbs() {
		err = errors.New("it is not absolute")
	}
	if err != nil {
		return nil, nil, refuse(ClassAddress, "reading content URL %q: %w", ref, err)
	}
	if err := c.places.checkURL(u); err != nil {
		return nil, nil, err
	}
	if err := c.hosts.pass(u, time.Now()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(withRedirects(ctx))
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		cancel()
		return nil, nil, refuse(ClassAddress, "reading content URL %q: %w", ref, err)
	}
	resp, err := c.send(ctx, req)
	if err != nil {
		cancel()
		return nil, nil, c.heard(u, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		defer resp.Body.Close()
		return nil, nil, c.heard(resp.Request.URL, c.errorAnswer(resp, api.FamilyContent, cancel))
	}
	return resp, cancel, c.heard(resp.Request.URL, nil)
}

// Fetch implements [Transport]: it opens the sources of content one after another.
func (c *Client) Fetch(ctx context.Context, digest warg.Digest, keep func(body io.Reader, size int64) error) error {
	sources, err := c.sources(ctx, digest)
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err = c.fetchSource(ctx, s, keep); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (c *Client) fetchSource(ctx context.Context, s api.Source, keep func(io.Reader, int64) error) error {
	resp, cancel, err := c.request(ctx, http.MethodGet, s.URL)
	if err != nil {
		return err
	}
	size := resp.ContentLength
	b := bound(resp.Body, c.o.MaxContent, c.o.Timing, cancel)
	defer b.Close()
	switch {
	case max(size, s.Size) > c.o.MaxContent:
		return refuse(ClassEndless, "content of %d bytes is larger than the limit of %d", max(size, s.Size), c.o.MaxContent)
	case size >= 0 && s.Size >= 0 && size != s.Size:
		return refuse(ClassContent, "content was announced with %d bytes and comes with %d", s.Size, size)
	}
	return keep(&faultReader{b, c, ctx, resp.Request.URL}, max(size, s.Size))
}

// faultReader turns errors of the connection into errors of the registry.
type faultReader struct {
	r   io.Reader
	c   *Client
	ctx context.Context
	at  *url.URL
}

// Read implements [io.Reader].
func (f *faultReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		err = f.c.heard(f.at, f.c.networkError(f.ctx, err))
	}
	return n, err
}

// Open implements [warg.Registry]: it fetches the content into a temporary file
// that vanishes when it is closed, and checks the digest before it returns.
func (c *Client) Open(ctx context.Context, digest warg.Digest) (warg.Content, error) {
	f, err := os.CreateTemp(c.o.TempDir, "content-*")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file for content: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil { // the open file stays
		return nil, errors.Join(fmt.Errorf("unlinking temporary file: %w", err), f.Close())
	}
	err = c.Fetch(ctx, digest, func(body io.Reader, _ int64) error { return copyVerified(f, body, digest) })
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// copyVerified replaces what is in f by body, and fails unless it has the digest.
// f is left at its start.
func copyVerified(f *os.File, body io.Reader, digest warg.Digest) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), body); err != nil {
		return err
	}
	if got := warg.Digest(h.Sum(nil)); got != digest {
		return refuse(ClassContent, "content has digest `%s`; expected `%s`", got, digest)
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}
