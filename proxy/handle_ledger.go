package proxy

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// ledger answers OpLedger. Clients fetch the pages without a Warg-Registry header,
// so the URLs of another registry's pages name it.
func (c *call) ledger() error {
	v, err := c.latest()
	if err != nil {
		return err
	}
	path := api.PathLedgerRecords
	if c.upstream != nil {
		path = func(start uint64) string { return api.PathUpstreamLedgerRecords(c.domain, start) }
	}
	pages := api.LedgerPages(v.Checkpoint.LogLength, path)
	c.json(func(dst []byte) []byte { return api.AppendLedger(dst, pages) })
	return nil
}

// ledgerRecords answers OpLedgerRecords and OpUpstreamLedgerRecords.
func (c *call) ledgerRecords() error {
	ctx, cancel := c.context(answerTime)
	defer cancel()
	entries, err := c.registry.Ledger(ctx, c.first, warg.LedgerPageEntries)
	if err != nil {
		return err
	}
	cache := cacheNever
	if len(entries) == warg.LedgerPageEntries*warg.LedgerEntrySize {
		cache = cacheForever // the log only grows, so a full page is final
	}
	c.write(api.ContentTypeLedger, cache, func(dst []byte) []byte { return append(dst, entries...) })
	return nil
}
