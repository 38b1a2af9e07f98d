package proxy

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// ArchiveAdmin makes archives of what is held, and takes them. Results are JSON that
// only the caller needs to understand.
type ArchiveAdmin interface {
	// ExportArchive writes an archive to w. since, if not nil, reads a stub of the
	// archive that it is to build on.
	ExportArchive(ctx context.Context, want ArchiveWanted, since io.Reader, w io.Writer) (json.RawMessage, error)
	// TakeArchives verifies the archives that next returns, one after another until
	// io.EOF, and stores what they carry unless it is only to be verified. It reports
	// what it does through progress, which it calls from one goroutine at a time, and
	// not before it has read all archives. What contradicts itself is evidence: then the
	// error's chain has a method EvidenceText() []byte.
	TakeArchives(ctx context.Context, verifyOnly bool, next func() (body io.Reader, size int64, err error), progress func(MirrorProgress)) (json.RawMessage, error)
}

// ArchiveWanted says what goes into an archive.
type ArchiveWanted struct {
	Domains  []string `json:"domains"`  // upstreams; none: all of which anything is held
	Own      bool     `json:"own"`      // our own registry as well
	Packages []string `json:"packages"` // none: all
}

// evidential is an error that has evidence of misbehaviour.
type evidential interface{ EvidenceText() []byte }

// ArchiveEnd is how a call about archives ended.
type ArchiveEnd struct {
	Result   json.RawMessage `json:"result,omitempty"`
	Error    string          `json:"error,omitempty"`
	Code     int             `json:"code,omitempty"` // HTTP status that goes with the error
	Evidence []byte          `json:"evidence,omitempty"`
}

func archiveEnd(result json.RawMessage, err error) ArchiveEnd {
	if err == nil {
		return ArchiveEnd{Result: result}
	}
	end := ArchiveEnd{Error: err.Error(), Code: api.Status(api.AsError(err).Kind)}
	var e evidential
	if errors.As(err, &e) {
		end.Evidence = e.EvidenceText()
	}
	return end
}

// TrailerArchive has, after an archive, an [ArchiveEnd] as JSON in base64.
const TrailerArchive = "Entrepot-Archive"

// frames of the bodies of these calls: 8 bytes of length, big-endian, and so many
// bytes.
func readFrame(r io.Reader) (body *io.LimitedReader, err error) {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err // io.EOF at the end
	}
	n := binary.BigEndian.Uint64(size[:])
	if n > math.MaxInt64 {
		return nil, warg.Errorf(warg.KindBadRequest, "reading the request: a frame claims %d bytes", n)
	}
	return &io.LimitedReader{R: r, N: int64(n)}, nil
}

func (a *admin) archiving() http.HandlerFunc { return a.exportArchive }

// exportArchive streams an archive. What goes wrong on the way is told in the
// trailer.
func (a *admin) exportArchive(w http.ResponseWriter, r *http.Request) {
	want, since, err := a.archiveWanted(r)
	if err != nil {
		writeAdminError(w, err)
		return
	}
	w.Header().Set("Trailer", TrailerArchive)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(headerCacheControl, cacheNever)
	result, err := a.ops.Archives.ExportArchive(r.Context(), want, since, w)
	text, fault := json.Marshal(archiveEnd(result, err))
	if fault != nil {
		panic(http.ErrAbortHandler) // the client sees that the answer was cut
	}
	w.Header().Set(TrailerArchive, base64.StdEncoding.EncodeToString(text))
}

// archiveWanted reads the body: the request as JSON in one frame, and perhaps a stub
// in another.
func (a *admin) archiveWanted(r *http.Request) (want ArchiveWanted, since io.Reader, err error) {
	if a.ops.Archives == nil {
		return want, nil, missing("archives")
	}
	first, err := readFrame(r.Body)
	if err != nil || first.N > adminBody {
		return want, nil, warg.Errorf(warg.KindBadRequest, "reading the request: it does not begin with what is wanted")
	}
	text, err := io.ReadAll(first)
	if err != nil {
		return want, nil, fmt.Errorf("reading the request: %w", err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		return want, nil, warg.Errorf(warg.KindBadRequest, "reading the request: %w", err)
	}
	second, err := readFrame(r.Body)
	switch {
	case errors.Is(err, io.EOF):
		return want, nil, nil
	case err != nil:
		return want, nil, fmt.Errorf("reading the request: %w", err)
	}
	return want, second, nil
}

func taking(verifyOnly bool) func(*admin) http.HandlerFunc {
	return func(a *admin) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { a.takeArchives(w, r, verifyOnly) }
	}
}

// takeArchives verifies, and perhaps stores, the archives in the body, and streams
// what it does, one JSON object a line, when it has read them all. The last line says
// how it ended.
func (a *admin) takeArchives(w http.ResponseWriter, r *http.Request, verifyOnly bool) {
	if a.ops.Archives == nil {
		writeAdminError(w, missing("archives"))
		return
	}
	next := func() (io.Reader, int64, error) {
		f, err := readFrame(r.Body)
		if err != nil {
			return nil, 0, err
		}
		return f, f.N, nil
	}
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	say := func(line any) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set(headerCacheControl, cacheNever)
		_ = lines.Encode(line)
		_ = flush.Flush()
	}
	result, err := a.ops.Archives.TakeArchives(r.Context(), verifyOnly, next, func(p MirrorProgress) { say(p) })
	say(struct {
		End ArchiveEnd `json:"end"`
	}{archiveEnd(result, err)})
}
