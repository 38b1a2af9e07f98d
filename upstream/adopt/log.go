package adopt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// adopt brings one log up to date with the registry of a length.
func (k *Keeper) adopt(ctx context.Context, id warg.LogID, l *openLog, length uint64) error {
	head, begun, err := k.o.Own.Head(id)
	if err != nil {
		return err
	}
	token, operator := "", ""
	if begun && !l.full {
		token = head.String() // replicas take record ids; of a log without this one all is looked at
	}
	for {
		req := warg.LogsRequest{LogLength: length, Limit: warg.MaxFetchLimit, Operator: operator, Packages: []warg.LogCursor{{LogID: id, Token: token}}}
		page, err := k.o.Source.Logs(ctx, req)
		if token != "" && errors.Is(err, &warg.Error{Kind: warg.KindFetchTokenUnknown}) {
			token = ""
			continue
		}
		if err != nil {
			return err
		}
		records := page.Packages[0].Records
		if err := k.append(ctx, l.name, records); err != nil {
			return err
		}
		if len(records) < warg.MaxFetchLimit {
			return nil
		}
		token = records[len(records)-1].Token
		if n := len(page.Operator); n > 0 {
			operator = page.Operator[n-1].Token
		}
	}
}

// append adopts records, after the content that they release.
func (k *Keeper) append(ctx context.Context, name warg.PackageName, records []warg.Record) error {
	envelopes := make([]warg.Envelope, len(records))
	for i, rec := range records {
		envelopes[i] = rec.Envelope
		if err := k.contents(ctx, rec); err != nil {
			// What comes before can be adopted all the same.
			return errors.Join(err, k.o.Own.Adopt(ctx, name, envelopes[:i]))
		}
	}
	return k.o.Own.Adopt(ctx, name, envelopes)
}

// contents sees to it that what a record releases is here, as far as the registry has
// it.
func (k *Keeper) contents(ctx context.Context, rec warg.Record) error {
	decoded, err := pkglog.Decode(rec.Content)
	if err != nil {
		return fmt.Errorf("decoding record `%s`: %w", rec.PackageRecordID(), err)
	}
	for _, e := range decoded.Entries {
		release, ok := e.(pkglog.Release)
		if !ok {
			continue
		}
		digest, err := release.Content.Digest()
		if err != nil {
			continue // a hash of another length names no content that anybody can have
		}
		if err := k.content(ctx, digest); err != nil {
			return fmt.Errorf("content of release %s: %w", release.Version, err)
		}
	}
	return nil
}

// content fetches one content unless it is here. That the registry does not have it is
// no error: it is asked again later.
func (k *Keeper) content(ctx context.Context, digest warg.Digest) error {
	if has, err := k.o.Own.HasContent(digest); has || err != nil {
		return err
	}
	info, err := k.o.Source.Stat(ctx, digest)
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.absent[digest] = struct{}{}
		return nil
	}
	if err != nil {
		return err
	}
	body, err := k.o.Source.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer body.Close()
	return k.o.Own.KeepContent(digest, body, info.Size)
}

// retry tries again, now and then, what was not there.
func (k *Keeper) retry(ctx context.Context) error {
	now := k.o.Now()
	if k.retried.IsZero() {
		k.retried = now
	}
	if now.Sub(k.retried) < retryAbsent {
		return nil
	}
	k.retried = now
	k.mu.Lock()
	nameless, absent := slices.Collect(maps.Keys(k.nameless)), slices.Collect(maps.Keys(k.absent))
	clear(k.absent)
	k.mu.Unlock()
	k.name(ctx, nameless)
	var failed failures
	for _, digest := range absent {
		if err := k.content(ctx, digest); err != nil {
			failed.add(fmt.Errorf("content `%s`: %w", digest, err))
			k.mu.Lock()
			k.absent[digest] = struct{}{}
			k.mu.Unlock()
		}
	}
	return failed.joined()
}
