package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Publishing is how records and content reach a registry through us. A [Client] is
// one. The registry judges; nothing is decided here.
type Publishing interface {
	warg.Publisher
	// Record returns the state of a record.
	Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error)
	// UploadTo sends content to an upload site of a record's status, with its length
	// if it is an [*io.SectionReader].
	UploadTo(ctx context.Context, site warg.UploadSite, body io.Reader) error
}

// UploadTarget is content that a registry waits for, and where it takes it.
type UploadTarget struct {
	Registry string // domain
	LogID    warg.LogID
	RecordID warg.RecordID
	Digest   warg.Digest
	Site     warg.UploadSite // as the registry named it; not judged yet
}

// Offers hands out upload sites of our own that stand for those of other registries.
// Whoever uploads to one of them is to end in [Replica.UploadTo].
type Offers interface {
	Offer(t UploadTarget) (warg.UploadSite, error)
}

// Publish implements [warg.Publisher]: it hands the record on as it was signed, with
// our own credentials, and answers what the registry answers. Upload sites become our
// own. What the registry calls published is published here when a verified checkpoint
// covers it, so that whoever was told so finds it with the next request; until then
// it is being processed.
//
//	KindUnsupported  the registry takes no records through us
func (r *Replica) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	return r.forward(ctx, "publishing to", func(ctx context.Context, p Publishing) (warg.RecordStatus, error) {
		return p.Publish(ctx, req)
	}, req.LogID)
}

// forward asks the registry something whose answer is the state of a record.
func (r *Replica) forward(ctx context.Context, doing string, ask func(context.Context, Publishing) (warg.RecordStatus, error), log warg.LogID) (warg.RecordStatus, error) {
	if err := r.mayForward(); err != nil {
		return warg.RecordStatus{}, err
	}
	leave, err := r.exchanges.enter(ctx)
	if err != nil {
		return warg.RecordStatus{}, err
	}
	status, err := ask(ctx, r.o.Publishing)
	leave()
	err = r.verdict(ctx, fmt.Sprintf("%s registry `%s`", doing, r.o.Domain), err)
	if err == nil {
		status, err = r.settle(ctx, log, status)
	}
	if ClassOf(err) != ClassNone {
		r.note(doing, err)
	}
	if err != nil {
		return warg.RecordStatus{}, err
	}
	return status, nil
}

// mayForward fails if nothing can be sent to the registry now.
func (r *Replica) mayForward() error {
	if r.o.Publishing == nil {
		return warg.Errorf(warg.KindUnsupported, "publishing to registry `%s` through this server is not supported", r.o.Domain)
	}
	if r.o.Offline {
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline, Message: fmt.Sprintf("registry `%s` is offline here; nothing can be sent to it", r.o.Domain)}
	}
	return r.mayAsk()
}

// verdict lets an answer of the registry about a record pass as it is; any other
// error is judged like those of reading.
func (r *Replica) verdict(ctx context.Context, doing string, err error) error {
	e, ok := asWarg(err)
	if !ok || !aboutRecords(e.Kind) {
		return r.heard(ctx, doing, err, 0) // a registry that takes no records for a while may answer readers
	}
	r.reach.report(nil, r.o.Now())
	return err
}

// aboutRecords reports whether an error of a kind tells publishers something about
// their record, and not about the registry.
func aboutRecords(k warg.Kind) bool {
	switch k {
	case warg.KindBadRequest, warg.KindUnauthorized, warg.KindForbidden,
		warg.KindLogNotFound, warg.KindRecordNotFound, warg.KindNamespaceNotFound,
		warg.KindNamespaceImported, warg.KindRecordPending, warg.KindConflict,
		warg.KindNotSourcing, warg.KindTooLarge, warg.KindUnprocessable, warg.KindRejected,
		warg.KindTooMany, warg.KindUnsupported, warg.KindNoSpace:
		return true
	}
	return false
}

// settle turns the state that the registry gives a record into the one that holds
// here.
func (r *Replica) settle(ctx context.Context, log warg.LogID, s warg.RecordStatus) (warg.RecordStatus, error) {
	switch s.State {
	case warg.StateSourcing:
		return r.offer(log, s)
	case warg.StatePublished:
		return r.covered(ctx, log, s)
	case warg.StateRejected:
		// Most often because it followed a head that is not the head any more: what
		// the publisher reads next must not be as old.
		r.renew(ctx)
	}
	return s, nil
}

// offer puts our own upload sites in the place of the registry's. Clients use the
// first; where there is none that we know how to use there is none here.
func (r *Replica) offer(log warg.LogID, s warg.RecordStatus) (warg.RecordStatus, error) {
	ours := make(map[warg.Digest][]warg.UploadSite, len(s.Missing))
	for _, d := range s.Missing {
		ours[d] = []warg.UploadSite{}
		site, ok := uploadSite(log, s, d)
		if !ok {
			continue
		}
		own, err := r.o.Offers.Offer(UploadTarget{r.o.Domain, log, s.RecordID, d, site})
		if err != nil {
			return s, err
		}
		ours[d] = []warg.UploadSite{own}
	}
	s.Uploads = ours
	return s, nil
}

// uploadSite returns where a registry takes content: where it said, or else at the
// record's own path.
func uploadSite(log warg.LogID, s warg.RecordStatus, d warg.Digest) (site warg.UploadSite, ok bool) {
	sites, named := s.Uploads[d]
	switch {
	case !named:
		return warg.UploadSite{Method: http.MethodPost, URL: api.PathUpload(log, s.RecordID, d)}, true
	case len(sites) == 0:
		return warg.UploadSite{}, false
	}
	return sites[0], true
}

// covered answers for a record that the registry says is published: so it is, once a
// checkpoint that we verified covers it, and then the record must stand where the
// registry says.
func (r *Replica) covered(ctx context.Context, log warg.LogID, s warg.RecordStatus) (warg.RecordStatus, error) {
	if v := r.view.Load(); v == nil || v.cp.LogLength <= s.Index {
		r.renew(ctx)
	}
	v := r.view.Load()
	if v == nil || v.cp.LogLength <= s.Index {
		return warg.RecordStatus{RecordID: s.RecordID, State: warg.StateProcessing}, nil
	}
	index, err := r.find(v, log, s.RecordID)
	switch err := r.sound(v, err); {
	case isUnknown(err):
		return s, refuse(ClassAbsence, "registry `%s` says that record `%s` is published at %d, but that is not in its ledger", r.o.Domain, s.RecordID, s.Index)
	case err != nil:
		return s, err
	case index != s.Index:
		return s, refuse(ClassLedger, "registry `%s` says that record `%s` is published at %d, but its ledger has it at %d", r.o.Domain, s.RecordID, s.Index, index)
	}
	r.missing.clear() // what upstream did not have a moment ago it may have now
	return s, nil
}

// isUnknown reports whether an error says that there is no such record.
func isUnknown(err error) bool {
	return errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) || errors.Is(err, &warg.Error{Kind: warg.KindRecordNotFound})
}

// renew waits a moment for a checkpoint that was asked for from now on. If there is
// none in time the one that is served stays.
func (r *Replica) renew(ctx context.Context) {
	if r.refreshGate.closed(r.o.Now()) != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, joinWait)
	defer cancel()
	if err := r.Renew(ctx); err != nil && ctx.Err() == nil {
		r.o.Log.Debug("no newer checkpoint after a publish", "upstream", r.o.Domain, "error", err)
	}
}

// Record implements [warg.Registry]. What the ledger has is published. Of anything
// else only the registry knows whether it is on its way, so it is asked each time, if
// records may be published through us.
func (r *Replica) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	if r.o.Publishing == nil {
		v, err := r.fresh(ctx)
		if err != nil {
			return warg.RecordStatus{}, err
		}
		return r.heldRecord(v, log, id)
	}
	if v := r.view.Load(); v != nil { // an old one is as good: records stay published
		status, err := r.heldRecord(v, log, id)
		if !isUnknown(err) {
			return status, err
		}
	}
	return r.forward(ctx, "asking for the state of a record of", func(ctx context.Context, p Publishing) (warg.RecordStatus, error) {
		return p.Record(ctx, log, id)
	}, log)
}

// heldRecord looks a record up in the ledger.
func (r *Replica) heldRecord(v *view, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	index, err := r.find(v, log, id)
	if err := r.sound(v, err); err != nil {
		return warg.RecordStatus{}, err
	}
	return warg.RecordStatus{RecordID: id, State: warg.StatePublished, Index: index}, nil
}
