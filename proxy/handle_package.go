package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// publish answers OpPublish.
func (c *call) publish() error {
	text, err := c.text()
	if err != nil {
		return err
	}
	body, err := api.ParsePublishRequest(text)
	if err != nil {
		return err
	}
	if c.publisher == nil {
		return c.noPublisher()
	}
	if c.refusesSources(body) {
		return warg.Errorf(warg.KindUnsupported, "specifying content sources is not supported")
	}
	ctx, cancel := c.context(answerTime)
	defer cancel()
	status, err := c.publisher.Publish(ctx, body.Request(c.log))
	if err != nil {
		return c.s.federation.explain(err, c.target, body.Name)
	}
	c.json(func(dst []byte) []byte { return api.AppendRecordStatus(dst, c.log, status) })
	return nil
}

// refusesSources reports whether content sources are what is wrong with a request:
// a wrong log id or a record that does not decode comes before them.
func (c *call) refusesSources(body api.PublishBody) bool {
	if len(body.Sources) == 0 || body.Name.LogID() != c.log {
		return false
	}
	_, err := pkglog.Decode(body.Record.Content)
	return err == nil
}

// noPublisher is the answer of a registry that takes no records through us.
func (c *call) noPublisher() error {
	return warg.Errorf(warg.KindUnsupported, "publishing to registry `%s` through this server is not supported", c.registry.Domain())
}

// record answers OpRecord.
func (c *call) record() error {
	ctx, cancel := c.context(answerTime)
	defer cancel()
	status, err := c.registry.Record(ctx, c.log, c.recordID)
	if err != nil {
		return err
	}
	if status.State == warg.StateProcessing {
		status = c.settled(status)
	}
	c.json(func(dst []byte) []byte { return api.AppendRecordStatus(dst, c.log, status) })
	return nil
}

// settler is a registry that can say when it has decided about a record.
type settler interface {
	Settled(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error)
}

// settleTime is how long an answer that would be "processing" waits for the
// decision, which takes milliseconds: clients that read "processing" sleep for a
// second before they ask again.
const settleTime = 300 * time.Millisecond

// settled returns what becomes of a record within settleTime, else what it is now.
func (c *call) settled(now warg.RecordStatus) warg.RecordStatus {
	r, ok := c.registry.(settler)
	if !ok {
		return now
	}
	ctx, cancel := context.WithTimeout(c.s.base, settleTime)
	defer cancel()
	if later, err := r.Settled(ctx, c.log, c.recordID); err == nil {
		return later
	}
	return now
}

// upload answers OpUpload. The body goes to the publisher as it arrives.
func (c *call) upload() error {
	if c.publisher == nil {
		c.body().drop()
		return c.noPublisher()
	}
	ctx, cancel := c.context(contentTime)
	defer cancel()
	return c.stored(c.publisher.Upload(ctx, c.log, c.recordID, c.digest, c.body()))
}

// uploadCapability answers OpUploadCapability.
func (c *call) uploadCapability() error {
	if c.s.uploads == nil {
		c.body().drop()
		return warg.Errorf(warg.KindNotFound, "this upload address does not hold")
	}
	ctx, cancel := context.WithTimeout(c.s.base, contentTime)
	defer cancel()
	return c.stored(c.s.uploads.Upload(ctx, c.capability, c.body()))
}

// stored answers an upload that ended with err. A body that ended early was an error
// for who received it, never an end.
func (c *call) stored(err error) error {
	body := c.body()
	switch {
	case body.fault() != nil:
		return body.fault()
	case err != nil:
		body.drop() // a client that is still sending would miss the answer
		return err
	}
	c.ctx.SetStatusCode(http.StatusCreated)
	c.ctx.Response.Header.Set(headerCacheControl, cacheNever)
	return nil
}
