package proxy

import (
	"context"
	"errors"
	"net/http"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// checkpoint answers OpCheckpoint.
func (c *call) checkpoint() error {
	if h, ok := c.upstream.(holder); ok && string(c.ctx.Request.Header.Peek(headerCacheControl)) == api.CacheOnly {
		return c.held(h)
	}
	v, err := c.latest()
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return api.AppendCheckpoint(dst, v.Signed) })
	return nil
}

// holder is an [Upstream] that can say what it accepted last, without asking anybody.
type holder interface {
	Held() (warg.SignedCheckpoint, bool)
}

// held answers with what is held of another registry, whatever its state: it is that
// registry itself that asks, after a start, and it answers nobody meanwhile.
func (c *call) held(h holder) error {
	signed, ok := h.Held()
	if !ok {
		c.ctx.Response.Header.Set(api.HeaderHeld, api.HeldNone)
		return &answerError{status: http.StatusGatewayTimeout, message: "nothing of this registry is held"}
	}
	c.json(func(dst []byte) []byte { return api.AppendCheckpoint(dst, signed) })
	return nil
}

// latest asks the registry for its newest checkpoint.
func (c *call) latest() (warg.View, error) {
	ctx, cancel := c.context(answerTime)
	defer cancel()
	v, err := c.registry.Checkpoint(ctx)
	if err == nil {
		c.view, c.known = v, true
	}
	return v, err
}

// logs answers OpLogs.
func (c *call) logs() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	req, err := api.ParseLogsRequest(text)
	if err != nil {
		return err
	}
	end, err := c.queue(len(req.Packages))
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := c.context(answerTime)
	defer cancel()
	page, err := c.registry.Logs(ctx, req)
	if err != nil {
		return c.hint(ctx, err)
	}
	c.json(func(dst []byte) []byte { return api.AppendLogsPage(dst, page) })
	return nil
}

// hint tells a client that asked for a log we do not know which registry the
// operator mapped the log's namespace to. A client that named a registry gets
// none: its answer is that registry's, and final. It returns the error to answer with:
// err, or that the log is another registry's which cannot be asked for its name now.
func (c *call) hint(ctx context.Context, err error) error {
	e, ok := errors.AsType[*warg.Error](err)
	if !ok || e.Kind != warg.KindLogNotFound || c.named {
		return err
	}
	log, bad := warg.ParseLogID(e.ID)
	if bad != nil {
		return err
	}
	hint, unnamed := c.s.federation.Hint(ctx, log)
	if unnamed != nil {
		return unnamed
	}
	if hint != "" {
		c.ctx.Response.Header.Set(api.HeaderHint, hint)
	}
	return err
}

// names answers OpNames.
func (c *call) names() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	ids, err := api.ParseNamesRequest(text)
	if err != nil {
		return err
	}
	end, err := c.queue(len(ids))
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := c.context(answerTime)
	defer cancel()
	names, err := c.registry.Names(ctx, ids)
	if err != nil {
		return err
	}
	c.json(func(dst []byte) []byte { return api.AppendNames(dst, ids, names) })
	return nil
}
