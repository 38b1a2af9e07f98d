package main

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/archive"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// framed puts the length before what is read.
func framed(r io.Reader, size int64) io.Reader {
	return io.MultiReader(&prefix{binary.BigEndian.AppendUint64(nil, uint64(size))}, r)
}

// prefix reads some bytes.
type prefix struct{ left []byte }

func (p *prefix) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// post sends a body and returns the answer if it is a good one.
func (a *adminClient) post(ctx context.Context, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.base+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	answer, err := a.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("calling the server: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	problem, err := io.ReadAll(io.LimitReader(answer.Body, maxAdminAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	return nil, api.ParseError(api.FamilyOther, answer.StatusCode, problem)
}

// export has the server make an archive, which is cut into parts here. Of an older
// archive the server gets a stub.
func (a *adminClient) export(ctx context.Context, want proxy.ArchiveWanted, old *archive.Archive, out io.Writer) (done exported, err error) {
	text, err := json.Marshal(want)
	if err != nil {
		return done, err
	}
	text = append(binary.BigEndian.AppendUint64(nil, uint64(len(text))), text...)
	body := io.Reader(&prefix{text})
	if old != nil {
		size := counter(0)
		if err := old.WriteStub(&size); err != nil {
			return done, err
		}
		stub, w := io.Pipe()
		defer stub.Close()
		go func() { w.CloseWithError(old.WriteStub(w)) }()
		body = io.MultiReader(body, framed(stub, int64(size)))
	}
	answer, err := a.post(ctx, "/admin/archive/export", body)
	if err != nil {
		return done, err
	}
	defer answer.Body.Close()
	copied := archive.CopyStream(out, answer.Body)
	var end proxy.ArchiveEnd
	trailer, err := base64.StdEncoding.DecodeString(answer.Trailer.Get(proxy.TrailerArchive))
	if err != nil || len(trailer) == 0 {
		return done, exitf(exitTemporary, "the server ended the call before the archive was complete")
	}
	if err := json.Unmarshal(trailer, &end); err != nil {
		return done, fmt.Errorf("reading the server's answer: %w", err)
	}
	if end.Error != "" {
		return done, endError(end)
	}
	if copied != nil {
		return done, copied
	}
	return done, json.Unmarshal(end.Result, &done)
}

// counter counts the bytes that are written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// take has the server verify archives and store what they carry, unless they are only
// to be verified.
func (a *adminClient) take(ctx context.Context, verifyOnly bool, opened []*archive.Archive, progress func(proxy.MirrorProgress), into any) error {
	path := "/admin/archive/import"
	if verifyOnly {
		path = "/admin/archive/verify"
	}
	var bodies []io.Reader
	for _, one := range opened {
		bodies = append(bodies, framed(io.NewSectionReader(one, 0, one.Size()), one.Size()))
	}
	answer, err := a.post(ctx, path, io.MultiReader(bodies...))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for lines := json.NewDecoder(answer.Body); ; {
		var line struct {
			proxy.MirrorProgress
			End *proxy.ArchiveEnd `json:"end"`
		}
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return exitf(exitTemporary, "the server ended the call before it was done")
		case err != nil:
			return fmt.Errorf("reading the server's answer: %w", err)
		case line.End == nil:
			progress(line.MirrorProgress)
		case line.End.Error != "":
			return endError(*line.End)
		default:
			return json.Unmarshal(line.End.Result, into)
		}
	}
}

// endError returns the error that a call ended with.
func endError(end proxy.ArchiveEnd) error {
	err := answerOf(end.Code, end.Error)
	if len(end.Evidence) == 0 {
		return err
	}
	return &warg.Error{Kind: warg.KindUpstreamInvalid, Message: err.Error(), Err: &upstream.Refusal{Err: err, Evidence: end.Evidence}}
}

// archiveAnswer makes an error one that can be told to a caller: damage is no fault
// of the server, and evidence goes along.
func archiveAnswer(err error) error {
	var damage *archive.DamageError
	if errors.As(err, &damage) {
		return warg.Errorf(warg.KindUpstreamInvalid, "%w", err)
	}
	if text := upstream.EvidenceOf(err); len(text) > 0 {
		return proven{err, text}
	}
	return err
}

// proven is an error with evidence for the admin listener.
type proven struct {
	error
	text []byte
}

func (p proven) Unwrap() error        { return p.error }
func (p proven) EvidenceText() []byte { return p.text }

// archiveError gives an error the exit code that it has for archives: what cannot be
// believed, or not yet, is a failed verification; what the site lacks to believe it
// is configuration.
func archiveError(err error) error {
	var damage *archive.DamageError
	var answer *warg.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &damage):
		return exitf(exitVerification, "%w", err)
	case !errors.As(err, &answer):
		return err
	}
	switch answer.Kind {
	case warg.KindUpstreamInvalid, warg.KindNotFound, warg.KindBadRequest:
		return exitf(exitVerification, "%w", err)
	case warg.KindForbidden:
		return exitf(exitConfig, "%w", err)
	case warg.KindNoSpace:
		return exitf(exitIO, "%w", err)
	}
	return err
}
