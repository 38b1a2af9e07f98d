package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/warg"
)

// Stat implements [warg.Registry]. Content that is not held is fetched first, so
// that what is reported here can be opened.
func (r *Replica) Stat(ctx context.Context, digest warg.Digest) (warg.ContentInfo, error) {
	stat, err := r.o.Store.StatContent(digest)
	missing := errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound})
	r.counts.looked(HoldingContent, !missing)
	if !missing {
		return stat, err
	}
	if err := r.fetchContent(ctx, digest); err != nil {
		return warg.ContentInfo{}, err
	}
	return r.o.Store.StatContent(digest)
}

// Open implements [warg.Registry]. Content that is not held is fetched first; its
// digest has been verified before the first byte is returned.
func (r *Replica) Open(ctx context.Context, digest warg.Digest) (warg.Content, error) {
	content, err := r.o.Store.OpenContent(digest)
	missing := errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound})
	r.counts.looked(HoldingContent, !missing)
	if !missing {
		return content, err
	}
	if err := r.fetchContent(ctx, digest); err != nil {
		return nil, err
	}
	return r.o.Store.OpenContent(digest)
}

// fetchContent fetches content into the store, once however many want it.
func (r *Replica) fetchContent(ctx context.Context, digest warg.Digest) error {
	if err := r.missing.get(digest, r.o.Now()); err != nil {
		return err
	}
	if err := r.mayAsk(); err != nil {
		return err
	}
	mine, all := r.contents.join([]warg.Digest{digest})
	r.counts.wait(HoldingContent, len(mine) < len(all))
	if len(mine) > 0 {
		r.detach(contentTimeout, func(ctx context.Context) {
			err := r.keepContent(ctx, digest)
			r.note("fetching content "+digest.String(), err)
			r.contents.land(digest, err)
		})
	}
	return wait(ctx, all)
}

// keepContent lets the store take the content from one of upstream's sources after
// another until one has the right bytes.
func (r *Replica) keepContent(ctx context.Context, digest warg.Digest) error {
	if _, err := r.o.Store.StatContent(digest); err == nil {
		return nil // somebody was faster
	}
	var own error // an error of our store, which another source does not cure
	err := r.o.Transport.Fetch(ctx, digest, func(body io.Reader, size int64) error {
		err := r.keepBody(ctx, digest, body, size)
		if e, ok := asWarg(err); ok && e.Kind == warg.KindNoSpace {
			own = err
		}
		return err
	})
	switch {
	case own != nil:
		return own
	case errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}):
		r.reach.report(nil, r.o.Now())
		err = r.denied(ctx, digest, warg.NotFound(warg.KindContentNotFound, digest))
		r.missing.put(digest, err, r.o.Now().Add(absentPause))
		return err
	}
	err = r.asked(ctx, fmt.Sprintf("fetching content of registry `%s`", r.o.Domain), err)
	if ClassOf(err) != ClassNone {
		r.missing.put(digest, err, r.o.Now().Add(refusedPause))
	}
	return err
}

// keepBody puts one body into the store.
func (r *Replica) keepBody(ctx context.Context, digest warg.Digest, body io.Reader, size int64) error {
	if size > r.o.MaxContent {
		return refuse(ClassEndless, "content of %d bytes is larger than the limit of %d", size, r.o.MaxContent)
	}
	counted := &countingReader{r: body}
	err := r.o.Store.PutContent(ctx, digest, counted, r.o.MaxContent)
	e, _ := asWarg(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}) && size >= 0 && counted.n != size:
		return refuse(ClassContent, "content `%s` was announced with %d bytes, %d came: %w", digest, size, counted.n, err)
	case errors.Is(err, &warg.Error{Kind: warg.KindBadRequest}):
		return refuse(ClassContent, "verifying content: %w", err)
	case e != nil && e.Kind == warg.KindTooLarge:
		return refuse(ClassEndless, "content `%s`: %w", digest, err)
	}
	return err
}

// countingReader counts what was read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements [io.Reader].
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
