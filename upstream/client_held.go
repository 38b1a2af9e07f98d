package upstream

import (
	"context"
	"fmt"
	"net/http"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// On returns a client of the same server, over the same connections, for what that
// answers on behalf of another registry. The token goes along, as it is the server's.
func (c *Client) On(registry string) *Client {
	o := c.o
	o.OnBehalf = registry
	return &Client{o, c.places, c.http, c.line, c.hosts}
}

// Held returns the newest checkpoint that the server holds of the registry that it
// answers on behalf of. A server that knows the question does not ask that registry
// itself, which may be waiting for this very answer. ok is false if it says that it
// holds none.
func (c *Client) Held(ctx context.Context) (s warg.SignedCheckpoint, ok bool, err error) {
	x := exchange{op: api.OpCheckpoint, path: api.PathCheckpoint, limit: maxCheckpointBody}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(x.path), nil)
	if err != nil {
		return s, false, fmt.Errorf("asking for %s: %w", x.path, err)
	}
	c.authorize(req)
	req.Header.Set("Cache-Control", api.CacheOnly)
	resp, err := c.send(ctx, req)
	if err != nil {
		return s, false, err
	}
	switch {
	case resp.StatusCode == http.StatusGatewayTimeout && resp.Header.Get(api.HeaderHeld) == api.HeldNone:
		resp.Body.Close()
		return s, false, nil
	case resp.StatusCode != http.StatusOK:
		defer resp.Body.Close()
		return s, false, c.errorAnswer(resp, x.op.Family(), cancel)
	case !onlyType(resp, api.ContentTypeJSON):
		resp.Body.Close()
		return s, false, refuse(ClassAnswer, "%s answered with content type %q", x.path, resp.Header.Values("Content-Type"))
	}
	body, err := c.readAll(resp, x.limit, cancel)
	if err != nil {
		return s, false, err
	}
	if s, err = api.ParseCheckpoint(body); err != nil {
		return s, false, x.malformed(err)
	}
	return s, true, nil
}
