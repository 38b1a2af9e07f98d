package authority

import (
	"context"
	"errors"
	"io"

	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/warg"
)

// Upload implements [warg.Publisher]. The bytes are hashed while they arrive; only
// if they have the right digest does the content policy have a say. Wrong bytes
// can be replaced by the right ones at any time; content that the policy refuses
// rejects its record for good.
func (a *Authority) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest, body io.Reader) error {
	if err := a.writable(); err != nil {
		return err
	}
	s, err := a.uploadTo(ctx, log, id, digest)
	if err != nil {
		return err
	}
	checks := cas.Checks{MaxSize: a.o.Limits.ContentSize}
	if c := a.o.Content.checker(); c != nil {
		checks.Tee = c
		checks.Accept = func() error {
			if err := c.Err(); err != nil {
				return &refusal{err}
			}
			return nil
		}
	}
	if _, err := a.content.Put(digest, body, checks); err != nil {
		return a.uploadFailed(s, digest, err)
	}
	// On disk now: the content, under its name. That its records are complete is
	// seen by looking.
	a.pool.uploaded(id, digest)
	if a.pool.arrived(digest) {
		a.poke()
	}
	return nil
}

// uploadTo returns the submission that waits for content; nil if it does so no
// longer, but the upload was asked for.
func (a *Authority) uploadTo(ctx context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest) (*submission, error) {
	s := a.pool.find(id)
	if s == nil || s.log != log {
		if _, err := a.Record(ctx, log, id); err != nil {
			return nil, err
		}
	} else {
		select {
		case <-s.durable:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		waits, wanted := a.pool.wants(s, digest)
		switch {
		case waits && wanted:
			return s, nil
		case waits && !a.pool.offered(id, digest):
			return nil, warg.Errorf(warg.KindBadRequest, "content digest `%s` is not required for package record `%s`", digest, id)
		}
	}
	if a.pool.offered(id, digest) {
		return nil, nil
	}
	return nil, &warg.Error{Kind: warg.KindNotSourcing}
}

// uploadFailed turns an error of the content store into an answer.
func (a *Authority) uploadFailed(s *submission, digest warg.Digest, err error) error {
	var refused *refusal
	var fault *cas.StoreError
	switch {
	case errors.As(err, &refused):
		return a.refuse(s, digest, refused)
	case errors.As(err, new(*cas.MismatchError)), errors.As(err, new(*cas.BodyError)):
		return warg.Errorf(warg.KindBadRequest, "%w", err)
	case errors.Is(err, cas.ErrTooLarge):
		return warg.Errorf(warg.KindTooLarge, "content has more than %d bytes", a.o.Limits.ContentSize)
	case errors.Is(err, cas.ErrNoSpace):
		return &warg.Error{Kind: warg.KindNoSpace, Message: "no space left on this registry", RetryAfter: retryAfter, Err: err}
	case errors.As(err, &fault):
		a.fail(fault)
		return unavailable("this registry is stopping")
	}
	a.fail(err) // a failpoint
	return unavailable("this registry is stopping")
}

// refuse rejects a record because of its content. That is answered once it is durable:
// whoever comes with the same content meanwhile waits for it.
func (a *Authority) refuse(s *submission, digest warg.Digest, why *refusal) error {
	answer := warg.Errorf(warg.KindRejected, "%w", why)
	if s == nil {
		return answer
	}
	s.refusing.Lock()
	defer s.refusing.Unlock()
	if !a.pool.beginReject(s) {
		select {
		case <-s.settled:
			return answer
		default: // it expires at this very moment
			return unavailable("this record is just being rejected")
		}
	}
	reason := why.reason(digest)
	err := a.noteRejected(EndContent, rejection{s, reason})
	if err == nil {
		err = a.reject(s, EndContent, reason)
	}
	if err != nil {
		a.pool.endReject(s)
		return a.writeFailed(err)
	}
	return answer
}
