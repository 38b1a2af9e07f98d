package upstream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Upload implements [warg.Publisher] for a client that says which record it uploads
// for. The registry is asked where it takes the content.
func (r *Replica) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest, body io.Reader) error {
	if err := r.mayForward(); err != nil {
		return err
	}
	leave, err := r.exchanges.enter(ctx)
	if err != nil {
		return err
	}
	status, err := r.o.Publishing.Record(ctx, log, id)
	leave()
	if err := r.verdict(ctx, fmt.Sprintf("asking for the state of a record of registry `%s`", r.o.Domain), err); err != nil {
		return err
	}
	site, ok := uploadSite(log, status, digest)
	if !ok {
		return warg.Errorf(warg.KindUnsupported, "registry `%s` takes the content in no way that is known here", r.o.Domain)
	}
	return r.pass(ctx, UploadTarget{r.o.Domain, log, id, digest, site}, body)
}

// UploadTo receives content that was promised an upload site by [Offers], and hands it
// on. Content that arrived before, and is not waited for any more because of that, is
// no error: the answer to the first upload may have been lost.
//
//	KindBadRequest  the bytes have another digest, or the body cannot be read
//	KindTooLarge    there are more than MaxUpload
//	KindNoSpace     there is no room here while they are checked
//
// and what the registry answers.
func (r *Replica) UploadTo(ctx context.Context, t UploadTarget, body io.Reader) error {
	if err := r.mayForward(); err != nil {
		return err
	}
	err := r.pass(ctx, t, body)
	if !errors.Is(err, &warg.Error{Kind: warg.KindNotSourcing}) {
		return err
	}
	status, again := r.Record(ctx, t.LogID, t.RecordID)
	if again == nil && (status.State == warg.StateProcessing || status.State == warg.StatePublished) {
		return nil
	}
	return err
}

// pass receives a whole content, verifies its digest, and only then sends it on, with
// its length: no registry gets to see bytes that it did not ask for.
func (r *Replica) pass(ctx context.Context, t UploadTarget, body io.Reader) error {
	leave, err := r.spools.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	f, size, err := r.receive(t.Digest, body)
	if err != nil {
		return err
	}
	defer f.Close()
	sent, err := r.sends.enter(ctx)
	if err != nil {
		return err
	}
	defer sent()
	err = r.o.Publishing.UploadTo(ctx, t.Site, io.NewSectionReader(f, 0, size))
	err = r.verdict(ctx, fmt.Sprintf("uploading to registry `%s`", r.o.Domain), err)
	if ClassOf(err) != ClassNone {
		r.note("uploading content "+t.Digest.String(), err)
	}
	if err == nil {
		r.keepUploaded(ctx, t.Digest, io.NewSectionReader(f, 0, size))
	}
	return err
}

// keepUploaded keeps content that the registry took, so that whoever downloads it next
// does not have to wait for it to come back. It has its digest. What cannot be kept is
// fetched like any other.
func (r *Replica) keepUploaded(ctx context.Context, digest warg.Digest, body io.Reader) {
	if err := r.o.Store.PutContent(ctx, digest, body, r.o.MaxContent); err != nil {
		r.o.Log.Debug("uploaded content is not kept", "upstream", r.o.Domain, "digest", digest.String(), "error", err)
	}
}

// receive keeps a body in a temporary file that vanishes when it is closed.
func (r *Replica) receive(digest warg.Digest, body io.Reader) (_ *os.File, size int64, err error) {
	f, err := os.CreateTemp(r.o.TempDir, "upload-*")
	if err != nil {
		return nil, 0, spoolError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := os.Remove(f.Name()); err != nil { // the open file stays
		return nil, 0, spoolError(err)
	}
	h := sha256.New()
	source := &sourceReader{r: body}
	size, err = io.Copy(io.MultiWriter(f, h), io.LimitReader(source, r.o.MaxUpload+1))
	switch got := warg.Digest(h.Sum(nil)); {
	case source.err != nil:
		return nil, 0, warg.Errorf(warg.KindBadRequest, "reading content: %w", source.err)
	case err != nil:
		return nil, 0, spoolError(err)
	case size > r.o.MaxUpload:
		return nil, 0, warg.Errorf(warg.KindTooLarge, "content has more than %d bytes", r.o.MaxUpload)
	case got != digest:
		return nil, 0, warg.Errorf(warg.KindBadRequest, "content digest `%s` does not match expected digest `%s`", got, digest)
	}
	return f, size, nil
}

// spoolError says that an upload could not be kept while it is verified.
func spoolError(err error) error {
	if durable.IsNoSpace(err) {
		const soon = 5 // seconds
		return &warg.Error{Kind: warg.KindNoSpace, Message: "no space left on this server", RetryAfter: soon, Err: err}
	}
	return fmt.Errorf("keeping an upload while it is verified: %w", err)
}

// sourceReader remembers an error of the reader, to tell it from one of the writer.
type sourceReader struct {
	r   io.Reader
	err error
}

// Read implements [io.Reader].
func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
