package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// Publication is a record to be published.
type Publication struct {
	Name    warg.PackageName
	Key     warg.PrivateKey // signs the record
	Entries []pkglog.Entry  // without the init entry
	Begin   bool            // begin the log if the package does not exist
	// Content opens content that the registry may ask for, by digest.
	Content map[warg.Digest]func() (io.ReadCloser, error)
	// Step, if not nil, is told what is being done, for people.
	Step func(what string)
}

// Published is a record that is part of the registry, verified.
type Published struct {
	RecordID warg.RecordID
	Index    uint64
	Began    bool // it began the package's log
	Snapshot *Snapshot
}

// Retries of a publication: how often another record may come first, and how often
// the state of a record is asked for.
const (
	maxConflicts = 10
	firstPoll    = 20 * time.Millisecond
	longestPoll  = time.Second
)

// Publish publishes a record: it fetches the log, makes the record that follows,
// submits it, uploads content that is missing, waits until it is published, and
// verifies that a new checkpoint covers it. If somebody else's record comes first it
// begins anew.
//
//	KindLogNotFound  the package does not exist, and Begin is not set
//	KindConflict     the log does not allow the record, or others were always faster
//	KindRejected     the registry did not take it
//
// and what the registry answers.
func (s *Session) Publish(ctx context.Context, p Publication) (Published, error) {
	publisher, err := s.publisher()
	if err != nil {
		return Published{}, err
	}
	if p.Step == nil {
		p.Step = func(string) {}
	}
	for range maxConflicts {
		made, err := s.draft(ctx, p)
		if err != nil {
			return Published{}, err
		}
		p.Step("submitting the record")
		status, err := publisher.Publish(ctx, made.request)
		if errors.Is(err, &warg.Error{Kind: warg.KindRecordPending}) {
			p.Step("waiting for a record that comes first")
			if err := s.waitForOther(ctx, made.request.LogID, err); err != nil {
				return Published{}, err
			}
			continue
		}
		if err != nil {
			return Published{}, fmt.Errorf("submitting a record of `%s`: %w", p.Name, err)
		}
		return s.finish(ctx, p, made, status)
	}
	return Published{}, warg.Errorf(warg.KindConflict, "records of `%s` are published faster than this one could follow them", p.Name)
}

// draft is a signed record that is not submitted yet.
type draft struct {
	request warg.PublishRequest
	began   bool
}

// draft fetches the log and makes the record that follows its head.
func (s *Session) draft(ctx context.Context, p Publication) (draft, error) {
	p.Step("fetching the log")
	log := p.Name.LogID()
	state, entries, began := new(pkglog.State), p.Entries, false
	snap, err := s.Fetch(ctx, p.Name)
	switch {
	case err == nil:
		state = snap.Packages[0].State
	case errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound, ID: log.String()}) && p.Begin:
		began = true
		entries = append([]pkglog.Entry{pkglog.Init{Key: p.Key.Public()}}, entries...)
	default:
		return draft{}, err
	}
	rec := pkglog.Record{Time: warg.TimestampOf(s.o.Now()), Entries: entries}
	if head, at, ok := state.Head(); ok {
		prev := warg.Digest(head).AnyHash()
		rec.Prev = &prev
		if rec.Time.Compare(at) < 0 {
			rec.Time = at // our clock is behind the one of the last publisher
		}
	}
	env := rec.Sign(p.Key)
	if err := state.Clone().Validate(env); err != nil {
		return draft{}, &warg.Error{Kind: warg.KindConflict, Message: fmt.Sprintf("`%s` cannot take the record: %s", p.Name, err), Err: err}
	}
	return draft{warg.PublishRequest{LogID: log, Name: p.Name, Record: env}, began}, nil
}

// waitForOther waits until the record that a conflict names is published or
// rejected.
func (s *Session) waitForOther(ctx context.Context, log warg.LogID, conflict error) error {
	e, _ := asWarg(conflict)
	id, err := warg.ParseRecordID(e.ID)
	if err != nil {
		return refuse(ClassAnswer, "the record that comes first is named %q: %w", e.ID, err)
	}
	_, err = s.settled(ctx, log, id, func(warg.RecordStatus) error { return nil })
	return err
}

// settled asks for the state of a record until it is final. sourcing is told of a
// record that waits for content.
func (s *Session) settled(ctx context.Context, log warg.LogID, id warg.RecordID, sourcing func(warg.RecordStatus) error) (warg.RecordStatus, error) {
	for pause := firstPoll; ; pause = min(2*pause, longestPoll) {
		status, err := s.o.Registry.Record(ctx, log, id)
		switch {
		case err != nil:
			return status, fmt.Errorf("asking for the state of record `%s`: %w", id, err)
		case status.State == warg.StatePublished || status.State == warg.StateRejected:
			return status, nil
		case status.State == warg.StateSourcing:
			if err := sourcing(status); err != nil {
				return status, err
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return status, ctx.Err()
		}
	}
}

// finish uploads content, waits for the record and verifies that it is published.
func (s *Session) finish(ctx context.Context, p Publication, d draft, status warg.RecordStatus) (Published, error) {
	log, id := d.request.LogID, d.request.Record.PackageRecordID()
	if err := s.uploadMissing(ctx, p, log, status); err != nil {
		return Published{}, err
	}
	p.Step("waiting until it is published")
	status, err := s.settled(ctx, log, id, func(status warg.RecordStatus) error {
		return fmt.Errorf("registry `%s` still waits for content after it was uploaded: %v", s.Domain(), status.Missing)
	})
	if err != nil {
		return Published{}, err
	}
	if status.State == warg.StateRejected {
		return Published{}, warg.Errorf(warg.KindRejected, "registry `%s` rejected the record: %s", s.Domain(), status.Reason)
	}
	p.Step("verifying the new checkpoint")
	snap, err := s.Fetch(ctx, p.Name)
	if err != nil {
		return Published{}, fmt.Errorf("verifying that record `%s` is published: %w", id, err)
	}
	for _, r := range snap.Packages[0].Records {
		if r.PackageRecordID() == id && r.Index == status.Index {
			return Published{RecordID: id, Index: r.Index, Began: d.began, Snapshot: snap}, nil
		}
	}
	return Published{}, refuse(ClassAbsence, "registry `%s` says that record `%s` is published at %d, but its log does not have it there", s.Domain(), id, status.Index)
}

// siteUploader is a publisher that can send content where a record's status says.
type siteUploader interface {
	UploadTo(ctx context.Context, site warg.UploadSite, body io.Reader) error
}

func (s *Session) uploadMissing(ctx context.Context, p Publication, log warg.LogID, status warg.RecordStatus) error {
	for _, d := range status.Missing {
		open, ok := p.Content[d]
		if !ok {
			return refuse(ClassAnswer, "registry `%s` asks for content `%s`, which the record does not release", s.Domain(), d)
		}
		p.Step("uploading " + d.String())
		body, err := open()
		if err != nil {
			return fmt.Errorf("opening content `%s`: %w", d, err)
		}
		err = s.upload(ctx, log, status, d, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("uploading content `%s`: %w", d, err)
		}
	}
	return nil
}

func (s *Session) upload(ctx context.Context, log warg.LogID, status warg.RecordStatus, d warg.Digest, body io.Reader) error {
	publisher, err := s.publisher()
	if err != nil {
		return err
	}
	sites, u := status.Uploads[d], siteUploader(nil)
	if u, _ = publisher.(siteUploader); u != nil && len(sites) > 0 {
		return u.UploadTo(ctx, sites[0], body)
	}
	return publisher.Upload(ctx, log, status.RecordID, d, body)
}
