package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// exchange is one request to the API and what its answer must be like.
type exchange struct {
	op    api.Op
	path  string
	body  []byte // JSON; nil makes it a GET
	limit int64  // bytes of the answer
}

// do performs an exchange and returns the whole body of a successful answer.
func (c *Client) do(ctx context.Context, x exchange) ([]byte, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if x.body != nil {
		method, body = http.MethodPost, bytes.NewReader(x.body)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.url(x.path), body)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", x.path, err)
	}
	if x.body != nil {
		req.Header.Set("Content-Type", api.ContentTypeJSON)
	}
	c.authorize(req)
	resp, err := c.send(ctx, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, c.errorAnswer(resp, x.op.Family(), cancel)
	}
	if want := x.op.Route().Type; want != "" && !onlyType(resp, want) {
		resp.Body.Close()
		return nil, refuse(ClassAnswer, "%s answered with content type %q; want exactly %q", x.path, c.contentType(resp), want)
	}
	data, err := c.readAll(resp, x.limit, cancel)
	if err == nil && c.tells(data) {
		return nil, refuse(ClassAnswer, "%s answered with the token that it was asked with", x.path)
	}
	return data, err
}

// authorize adds the headers of API calls.
func (c *Client) authorize(req *http.Request) {
	if c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	if c.o.OnBehalf != "" {
		req.Header.Set(api.HeaderRegistry, c.o.OnBehalf)
	}
}

// send sends a request and returns the answer's head. Encoded bodies are refused:
// we asked for none, and they could unpack to anything.
func (c *Client) send(ctx context.Context, req *http.Request) (*http.Response, error) {
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "entrepot")
	resp, err := c.http.Do(req)
	if err != nil {
		if resp != nil {
			resp.Body.Close()
		}
		return nil, c.networkError(ctx, err)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") || resp.Uncompressed {
		resp.Body.Close()
		return nil, refuse(ClassAnswer, "answered with content encoding %q, which was not asked for", c.hush([]byte(e)))
	}
	resp.Body = c.line.throttle(ctx, resp.Body)
	return resp, nil
}

// onlyType reports whether the answer has exactly one content type, and that one.
func onlyType(resp *http.Response, want string) bool {
	got := resp.Header.Values("Content-Type")
	return len(got) == 1 && got[0] == want
}

// readAll reads and closes a body of at most limit bytes.
func (c *Client) readAll(resp *http.Response, limit int64, cancel context.CancelFunc) ([]byte, error) {
	if resp.ContentLength > limit {
		resp.Body.Close()
		return nil, refuse(ClassEndless, "announced %d bytes; at most %d are sane", resp.ContentLength, limit)
	}
	b := bound(resp.Body, limit, c.o.Timing, cancel)
	defer b.Close()
	data, err := io.ReadAll(b)
	if err != nil {
		return nil, c.networkError(resp.Request.Context(), err)
	}
	return data, nil
}

// errorAnswer reads an answer that is not a success. Only a JSON body is looked at.
func (c *Client) errorAnswer(resp *http.Response, family api.Family, cancel context.CancelFunc) error {
	var body []byte
	if onlyType(resp, api.ContentTypeJSON) {
		b := bound(resp.Body, maxErrorBody, c.o.Timing, cancel)
		body, _ = io.ReadAll(b) // half an error is still an error: its status says enough
		b.Close()
	}
	e := api.ParseError(family, resp.StatusCode, c.hush(body))
	e.Message, e.ID = printable(e.Message), printable(e.ID)
	pause := retryAfter(resp.Header, time.Now())
	if pause <= 0 {
		return e
	}
	e.RetryAfter = int((pause + time.Second - 1) / time.Second)
	return &askedPause{e, pause}
}

// networkError says what kind of failure kept an exchange from ending. A refusal
// in err's chain, from the dialer or a redirect, is the answer itself.
func (c *Client) networkError(ctx context.Context, err error) error {
	var known *warg.Error
	var network net.Error
	switch {
	case elsewhere(err):
		return err
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.Canceled) && errors.Is(err, context.Canceled):
		return fmt.Errorf("asking registry `%s`: %w", c.o.Domain, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return &warg.Error{
			Kind:    warg.KindUpstreamTimeout,
			Message: fmt.Sprintf("registry `%s` did not answer in time", c.o.Domain),
			Err:     err,
		}
	}
	const soon = 5 // seconds
	return &warg.Error{
		Kind:       warg.KindUnavailable,
		Message:    fmt.Sprintf("registry `%s` cannot be reached", c.o.Domain),
		RetryAfter: soon,
		Err:        err,
	}
}
