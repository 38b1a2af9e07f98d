package monitor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Bounds on one answer. An honest registry stays far below them.
const (
	maxCheckpointBody = 16 << 10
	maxLogsBody       = 32 << 20 // operatorPage records
	maxLedgerBody     = 4 << 20  // the list of pages: 150 bytes for each 1000 leaves
	maxProofBody      = 1 << 20
	maxErrorBody      = 16 << 10

	operatorPage = 100 // records asked for at a time

	answerTimeout = time.Minute     // for a JSON body
	pageTimeout   = 5 * time.Minute // for a page of the ledger
)

// troubleError says that a registry did not answer, or not with what was asked for:
// nothing was learnt, and asking again may help.
type troubleError struct{ err error }

func (e *troubleError) Error() string { return e.err.Error() }
func (e *troubleError) Unwrap() error { return e.err }

func trouble(format string, args ...any) error { return &troubleError{fmt.Errorf(format, args...)} }

// statusError is an answer that is not a success.
type statusError struct {
	status int
	said   error
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %v", e.status, e.said) }

// refusedError says that what a registry answered is not true, or not possible, but
// that this is no proof against it.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

func refuse(format string, args ...any) error { return &refusedError{fmt.Errorf(format, args...)} }

// errNoLedger says that the registry does not publish its ledger.
var errNoLedger = errors.New("the registry has no ledger")

// peer is the registry that is watched, over HTTP. What it answers is not believed.
type peer struct {
	base     *url.URL // ends in a slash
	onBehalf string
	http     *http.Client
}

// AddressError says that an address or a domain is not one of a registry.
type AddressError struct {
	Address string
	Err     error
}

// Error names the address.
func (e *AddressError) Error() string { return fmt.Sprintf("reading address %q: %v", e.Address, e.Err) }

// Unwrap returns what is wrong with it.
func (e *AddressError) Unwrap() error { return e.Err }

// newPeer reads the address of a registry.
func newPeer(address, onBehalf string, transport http.RoundTripper) (*peer, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, &AddressError{address, err}
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &AddressError{address, errors.New("it is not of the form http://host[:port][/path] or https://…")}
	}
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	if onBehalf != "" {
		if _, err := api.ParseDomain(onBehalf); err != nil {
			return nil, &AddressError{onBehalf, err}
		}
	}
	refuseRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &peer{u, onBehalf, &http.Client{Transport: transport, CheckRedirect: refuseRedirects}}, nil
}

// name is the address as it is shown and remembered.
func (p *peer) name() string { return strings.TrimSuffix(p.base.String(), "/") }

// send makes a request and returns the answer if it is a success.
func (p *peer) send(ctx context.Context, u *url.URL, body []byte) (*http.Response, error) {
	method := http.MethodGet
	if body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, trouble("asking %s: %w", u, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", api.ContentTypeJSON)
	}
	if p.onBehalf != "" {
		req.Header.Set(api.HeaderRegistry, p.onBehalf)
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "entrepot-monitor")
	resp, err := p.http.Do(req)
	if err != nil {
		var exchange *url.Error
		if errors.As(err, &exchange) {
			err = exchange.Err // without method and address, which come here
		}
		return nil, trouble("asking %s: %w", u, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // half an error is still one
		return nil, trouble("asking %s: %w", u, &statusError{resp.StatusCode, api.ParseError(api.FamilyOther, resp.StatusCode, said)})
	}
	return resp, nil
}

// ask makes a request to the API and returns the body of the answer.
func (p *peer) ask(ctx context.Context, path string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	u := p.base.JoinPath(path)
	resp, err := p.send(ctx, u, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != api.ContentTypeJSON {
		return nil, trouble("asking %s: the answer is of type %q and not JSON", u, resp.Header.Get("Content-Type"))
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, trouble("reading the answer of %s: %w", u, err)
	}
	if int64(len(answer)) > limit {
		return nil, refuse("the answer of %s is longer than %d bytes", u, limit)
	}
	return answer, nil
}

// checkpoint asks for the latest checkpoint.
func (p *peer) checkpoint(ctx context.Context) (checkpoint, error) {
	body, err := p.ask(ctx, api.PathCheckpoint, nil, maxCheckpointBody)
	if err != nil {
		return checkpoint{}, err
	}
	c, err := parseCheckpoint(body)
	if err != nil {
		return checkpoint{}, refuse("reading the checkpoint: %w", err)
	}
	return c, nil
}

// operatorRecords asks for the operator records below a length, those behind a
// token or all.
func (p *peer) operatorRecords(ctx context.Context, length uint64, token string) ([]warg.Record, error) {
	var records []warg.Record
	for {
		request := api.AppendLogsRequest(nil, warg.LogsRequest{LogLength: length, Limit: operatorPage, Operator: token})
		body, err := p.ask(ctx, api.PathLogs, request, maxLogsBody)
		if err != nil {
			return nil, err
		}
		page, err := api.ParseLogsPage(body)
		if err != nil {
			return nil, refuse("reading the operator log: %w", err)
		}
		for _, r := range page.Operator {
			n := len(records)
			if r.Index >= length || n > 0 && r.Index <= records[n-1].Index || n == maxOperatorRecords {
				return nil, refuse("the operator log has a record at index %d that is beyond the checkpoint of length %d, out of order, or one too many", r.Index, length)
			}
			records = append(records, r)
		}
		if len(page.Operator) < operatorPage {
			return records, nil
		}
		token = records[len(records)-1].Token
	}
}

// consistencyProof asks for the proof that one length extends another.
func (p *peer) consistencyProof(ctx context.Context, from, to uint64) ([]byte, error) {
	body, err := p.ask(ctx, api.PathConsistency, api.AppendConsistencyRequest(nil, from, to), maxProofBody)
	if err != nil {
		return nil, err
	}
	bundle, err := api.ParseConsistency(body)
	if err != nil {
		return nil, refuse("reading the proof that length %d extends length %d: %w", to, from, err)
	}
	return bundle, nil
}

// inclusionProof asks for the proof that a leaf is in the log, and the head of its
// log in the map, at a length.
func (p *peer) inclusionProof(ctx context.Context, index, length uint64) (warg.InclusionProof, error) {
	body, err := p.ask(ctx, api.PathInclusion, api.AppendInclusionRequest(nil, length, []uint64{index}), maxProofBody)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	proof, err := api.ParseInclusion(body)
	if err != nil {
		return proof, refuse("reading the proof that leaf %d is in the log: %w", index, err)
	}
	return proof, nil
}

// ledger asks for the packed leaves from an index up to a length and hands them on
// in chunks. The error is errNoLedger if the registry has none.
func (p *peer) ledger(ctx context.Context, from, length uint64, take func([]byte) error) error {
	body, err := p.ask(ctx, api.PathLedger, nil, maxLedgerBody)
	var answer *statusError
	if errors.As(err, &answer) {
		switch answer.status {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return errNoLedger
		}
	}
	if err != nil {
		return err
	}
	pages, err := api.ParseLedger(body)
	if err != nil {
		return refuse("reading the list of the ledger's pages: %w", err)
	}
	for _, page := range pages {
		if page.Last < from || page.First >= length {
			continue
		}
		if err := p.page(ctx, page, from, min(page.Last+1, length), take); err != nil {
			return err
		}
	}
	if n := len(pages); n == 0 || pages[n-1].Last+1 < length {
		return refuse("the ledger ends before length %d of the checkpoint", length)
	}
	return nil
}

// page fetches the leaves of a page from an index up to another.
func (p *peer) page(ctx context.Context, page api.LedgerSource, from, to uint64, take func([]byte) error) error {
	u, err := p.base.Parse(page.URL)
	if err != nil || u.Scheme != p.base.Scheme || u.Host != p.base.Host {
		return refuse("the ledger's page at %d is at %q, which is not a place of the registry", page.First, page.URL)
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	resp, err := p.send(ctx, u, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	chunk := make([]byte, ledgerChunk)
	for at := page.First; at < to; {
		part := chunk[:min(uint64(len(chunk)), (to-at)*leafSize)]
		if _, err := io.ReadFull(resp.Body, part); err != nil {
			return p.shortPage(page, err)
		}
		end := at + uint64(len(part)/leafSize)
		if end > from {
			if err := take(part[(max(from, at)-at)*leafSize:]); err != nil {
				return err
			}
		}
		at = end
	}
	return nil
}

// shortPage tells a page that ended too early from one that broke off.
func (p *peer) shortPage(page api.LedgerSource, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse("the ledger's page at %d has fewer leaves than announced", page.First)
	}
	return trouble("reading the ledger's page at %d: %w", page.First, err)
}
