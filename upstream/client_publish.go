package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Publish implements [warg.Publisher].
func (c *Client) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	return c.recordStatus(ctx, req.Record.PackageRecordID(), exchange{
		op: api.OpPublish, path: api.PathPublish(req.LogID),
		body:  api.AppendPublishRequest(nil, api.PublishBody{Name: req.Name, Record: req.Record}),
		limit: maxRecordBody,
	})
}

// Upload implements [warg.Publisher]: it sends content to the record's own path.
// Use UploadTo for the sites that the registry named.
func (c *Client) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest, body io.Reader) error {
	return c.UploadTo(ctx, warg.UploadSite{Method: http.MethodPost, URL: api.PathUpload(log, id, digest)}, body)
}

// UploadTo sends content to an upload site of a record's status. Like all clients
// it sends neither token nor registry with it: the right to upload is in the URL. An
// [*io.SectionReader] goes with its length, anything else in chunks.
func (c *Client) UploadTo(ctx context.Context, site warg.UploadSite, body io.Reader) error {
	if site.Method != http.MethodPost && site.Method != http.MethodPut {
		return refuse(ClassAnswer, "upload with method %q is not supported", site.Method)
	}
	u, err := c.resolve(site.URL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := watch(body, c.o.Timing, cancel)
	defer w.stop()
	req, err := http.NewRequestWithContext(ctx, site.Method, u.String(), w)
	if err != nil {
		return refuse(ClassAddress, "reading upload URL %q: %w", site.URL, err)
	}
	if section, ok := body.(*io.SectionReader); ok {
		if req.ContentLength = section.Size(); req.ContentLength == 0 {
			req.Body = http.NoBody // else a length of 0 means that it is not known
		}
	}
	req.Header.Set("Content-Type", api.ContentTypeBytes)
	resp, err := c.send(ctx, req)
	if err != nil && w.stuck.Load() {
		return c.mark(u, &warg.Error{
			Kind:    warg.KindUpstreamTimeout,
			Message: fmt.Sprintf("registry `%s` takes the upload too slowly", c.o.Domain),
			Err:     &Refusal{Class: ClassSlow, Err: err},
		})
	}
	if err != nil {
		return c.mark(u, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.mark(u, c.errorAnswer(resp, api.FamilyPackage, cancel))
	}
	return nil
}

// watchedBody notices when nobody takes bytes from it any more.
type watchedBody struct {
	body  io.Reader
	timer *time.Timer
	moved atomic.Bool
	ended atomic.Bool // all was taken; from here on the answer's head is waited for
	stuck atomic.Bool
}

func watch(body io.Reader, t Timing, cancel context.CancelFunc) *watchedBody {
	w := &watchedBody{body: body}
	w.timer = time.AfterFunc(t.Window, func() {
		switch {
		case w.ended.Load():
		case w.moved.Swap(false):
			w.timer.Reset(t.Window)
		default:
			w.stuck.Store(true)
			cancel()
		}
	})
	return w
}

func (w *watchedBody) stop() { w.timer.Stop() }

// Read implements [io.Reader].
func (w *watchedBody) Read(p []byte) (int, error) {
	n, err := w.body.Read(p)
	w.moved.Store(true)
	if err != nil {
		w.ended.Store(true)
	}
	return n, err
}
