package upstream

import (
	"context"
	"net/http"
	"net/url"

	"golang.org/x/sync/errgroup"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// maxPagesPerCall bounds how many pages one call of Ledger fetches.
const maxPagesPerCall = 64

// pagesAtATime is how many pages are fetched side by side: half of the connections
// that there are by default.
const pagesAtATime = 4

// Ledger implements [warg.Registry]: it fetches the pages that hold the range. For
// the reference registry that is one request for each 1000 entries, besides the
// list of pages.
func (c *Client) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	x := exchange{op: api.OpLedger, path: api.PathLedger, limit: maxLedgerBody}
	body, err := c.do(ctx, x)
	if err != nil {
		return nil, err
	}
	all, err := api.ParseLedger(body)
	if err != nil {
		return nil, x.malformed(err)
	}
	wanted := pagesOf(all, start, start+uint64(max))
	pages := make([][]byte, len(wanted))
	g, fetching := errgroup.WithContext(ctx)
	g.SetLimit(pagesAtATime)
	for i, p := range wanted {
		g.Go(func() (err error) {
			pages[i], err = c.ledgerPage(fetching, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var entries []byte
	for i, p := range wanted {
		next := start + uint64(len(entries)/warg.LedgerEntrySize)
		if p.First > next {
			break // the page before was short
		}
		// The page begins at p.First, which may be before what we need, and may end
		// beyond p.Last: records that no checkpoint covers yet.
		page := pages[i][:min(uint64(len(pages[i])), (p.Last-p.First+1)*warg.LedgerEntrySize)]
		skip := (next - p.First) * warg.LedgerEntrySize
		if uint64(len(page)) <= skip {
			break
		}
		entries = append(entries, page[skip:]...)
	}
	return entries[:min(len(entries), max*warg.LedgerEntrySize)], nil
}

// pagesOf returns the pages that hold entries from start to before end, as far as
// they follow each other.
func pagesOf(all []api.LedgerSource, start, end uint64) (wanted []api.LedgerSource) {
	for _, p := range all {
		if p.Last < start {
			continue
		}
		if p.First > start || start >= end || len(wanted) == maxPagesPerCall {
			break
		}
		wanted = append(wanted, p)
		start = p.Last + 1
	}
	return wanted
}

// ledgerPage fetches one page of packed entries.
func (c *Client) ledgerPage(ctx context.Context, p api.LedgerSource) ([]byte, error) {
	// The reference's last page may be longer than announced, up to the full size.
	entries := max(p.Last-p.First+1, warg.LedgerPageEntries)
	if p.ContentType != api.ContentTypeLedger || entries > maxLedgerPage {
		return nil, refuse(ClassAnswer, "ledger page at %d has type %q and %d entries, which is not supported", p.First, p.ContentType, entries)
	}
	body, err := c.fetchURL(ctx, p.URL, api.ContentTypeLedger, int64(entries*warg.LedgerEntrySize))
	if err != nil {
		return nil, err
	}
	if len(body)%warg.LedgerEntrySize != 0 {
		return nil, refuse(ClassLedger, "ledger page at %d has %d bytes, which is not a multiple of %d", p.First, len(body), warg.LedgerEntrySize)
	}
	return body, nil
}

// fetchURL fetches what upstream said is at a URL, absolute or relative to the
// base. API headers go along only to the origin itself.
func (c *Client) fetchURL(ctx context.Context, ref, contentType string, limit int64) ([]byte, error) {
	u, err := c.resolve(ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, refuse(ClassAddress, "reading URL %q: %w", ref, err)
	}
	if c.places.isOrigin(u) {
		c.authorize(req)
	}
	resp, err := c.send(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, c.errorAnswer(resp, api.FamilyLedger, cancel)
	}
	if !onlyType(resp, contentType) {
		resp.Body.Close()
		return nil, refuse(ClassAnswer, "%s answered with content type %q; want exactly %q", u.Redacted(), c.contentType(resp), contentType)
	}
	return c.readAll(resp, limit, cancel)
}

// resolve reads a URL that upstream gave and judges it.
func (c *Client) resolve(ref string) (*url.URL, error) {
	u, err := c.places.origin.Parse(ref)
	if err != nil {
		return nil, refuse(ClassAddress, "reading URL %q: %w", ref, err)
	}
	if err := c.places.checkURL(u); err != nil {
		return nil, err
	}
	return u, nil
}
