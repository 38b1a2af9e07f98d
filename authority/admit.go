package authority

import (
	"context"
	"errors"
	"time"

	"github.com/entrepot/entrepot/authority/pending"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// Publish implements [warg.Publisher]. Its checks, in order: the log id is that of
// the name; the record decodes and is of reasonable size; what is known of it is
// answered and nothing touched; namespace and policy; another record of the log
// that is being processed comes first; the key is known and the signature right;
// the record follows the head of its log; its time; quotas.
func (a *Authority) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	st, err := a.take(ctx, req)
	a.counts.submitted(err)
	return st, err
}

func (a *Authority) take(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	if err := a.writable(); err != nil {
		return warg.RecordStatus{}, err
	}
	s, err := a.parse(req)
	if err != nil {
		return warg.RecordStatus{}, err
	}
	if st, known, err := a.known(ctx, s.log, s.id); known || err != nil {
		return st, err
	}
	if err := a.admit(s); err != nil {
		return a.orKnown(ctx, s, err)
	}
	if s.missing, err = a.absent(s.contents); err != nil {
		return warg.RecordStatus{}, a.internal("looking for content", err)
	}
	switch held, err := a.pool.reserve(s); {
	case err != nil:
		return a.orKnown(ctx, s, err)
	case held != s: // the same record, by another request
		return a.orKnown(ctx, s, errDropped())
	}
	return a.accept(ctx, s)
}

// orKnown returns the state of a record that another request has submitted since
// it was looked up; the refusal may be because of that very record. If it is still
// unknown, the refusal stands.
func (a *Authority) orKnown(ctx context.Context, s *submission, refusal error) (warg.RecordStatus, error) {
	if st, known, err := a.known(ctx, s.log, s.id); known || err != nil {
		return st, err
	}
	return warg.RecordStatus{}, refusal
}

// errDropped is the answer for a record whose submission by another request came
// to nothing.
func errDropped() error { return unavailable("the record could not be stored; try again") }

// accept makes a reserved submission durable and hands it on.
func (a *Authority) accept(ctx context.Context, s *submission) (warg.RecordStatus, error) {
	// It may have been settled between the first look and its reservation; since
	// it is reserved that cannot happen any more.
	if st, known, err := a.knownIndex(s.log, s.id); known || err != nil {
		a.pool.drop(s, errSettled)
		return st, err
	}
	missing := a.pool.absent(s)
	still, err := a.absent(missing)
	if err != nil {
		a.pool.drop(s, err)
		return warg.RecordStatus{}, a.internal("looking for content", err)
	}
	if err := a.pending.Write(s.entry()); err != nil {
		a.pool.drop(s, err)
		return warg.RecordStatus{}, a.writeFailed(err)
	}
	// On disk now: the accepted record. From here on it is published or rejected,
	// whatever happens.
	a.counts.answers[AnswerAccepted].Add(1)
	a.pool.accepted(s, without(missing, still))
	a.poke()
	return a.pool.status(s), nil
}

// errSettled is why a submission was dropped that had been settled before.
var errSettled = errors.New("the record was settled meanwhile")

func without(list, remove []warg.Digest) (left []warg.Digest) {
	gone := map[warg.Digest]bool{}
	for _, d := range remove {
		gone[d] = true
	}
	for _, d := range list {
		if !gone[d] {
			left = append(left, d)
		}
	}
	return left
}

// writeFailed turns an error of the log of submissions into an answer. Only a lack
// of space can be gone the next time.
func (a *Authority) writeFailed(err error) error {
	if errors.Is(err, pending.ErrNoSpace) {
		return &warg.Error{Kind: warg.KindNoSpace, Message: "no space left on this registry", RetryAfter: retryAfter, Err: err}
	}
	if !errors.Is(err, pending.ErrClosed) {
		a.fail(err)
	}
	return unavailable("this registry is stopping")
}

// parse reads a request, without looking at anything else.
func (a *Authority) parse(req warg.PublishRequest) (*submission, error) {
	if derived := req.Name.LogID(); derived != req.LogID {
		return nil, warg.Errorf(warg.KindBadRequest,
			"package log identifier `%s` derived from `%s` does not match provided log identifier `%s`", derived, req.Name, req.LogID)
	}
	if n := len(req.Name.String()); n > warg.MaxNameBytes {
		return nil, warg.Errorf(warg.KindBadRequest, "package name has %d characters; at most %d are allowed", n, warg.MaxNameBytes)
	}
	if n := len(req.Record.Content); n > warg.MaxRecordBytes {
		return nil, warg.Errorf(warg.KindTooLarge, "record has %d bytes; at most %d are allowed", n, warg.MaxRecordBytes)
	}
	s, err := newSubmission(req.Name, req.Record, a.o.Now())
	if err != nil {
		return nil, warg.Errorf(warg.KindBadRequest, "%w", err)
	}
	if n := len(s.contents); n > warg.MaxMissingContents {
		return nil, warg.Errorf(warg.KindBadRequest, "record releases %d contents; at most %d are allowed", n, warg.MaxMissingContents)
	}
	return s, nil
}

// newSubmission decodes a record. Content digests must have full length: nobody
// could ever upload what a shorter one names.
func newSubmission(name warg.PackageName, env warg.Envelope, at time.Time) (*submission, error) {
	rec, err := pkglog.Decode(env.Content)
	if err != nil {
		return nil, err
	}
	s := &submission{
		log: name.LogID(), id: env.PackageRecordID(), name: name, env: env, record: rec, at: at,
		durable: make(chan struct{}), settled: make(chan struct{}),
	}
	for _, e := range rec.Entries {
		if r, ok := e.(pkglog.Release); ok {
			if _, err := r.Content.Digest(); err != nil {
				return nil, err
			}
		}
	}
	s.contents = released(rec)
	return s, nil
}

// released returns the content digests that a record releases, each once.
func released(rec pkglog.Record) (list []warg.Digest) {
	seen := map[warg.Digest]bool{}
	for _, e := range rec.Entries {
		r, ok := e.(pkglog.Release)
		if !ok {
			continue
		}
		if d, err := r.Content.Digest(); err == nil && !seen[d] {
			seen[d] = true
			list = append(list, d)
		}
	}
	return list
}

// known returns the state of a record that was submitted before, in the log or
// elsewhere, which is an error. It waits until a submission that is just being
// accepted is durable.
func (a *Authority) known(ctx context.Context, log warg.LogID, id warg.RecordID) (st warg.RecordStatus, known bool, err error) {
	s := a.pool.find(id)
	if s == nil {
		return a.knownIndex(log, id)
	}
	if s.log != log {
		if st, known, err := a.knownIndex(log, id); known || err != nil {
			return st, known, err
		}
		return st, true, otherName(id)
	}
	select {
	case <-s.durable:
	case <-ctx.Done():
		return st, true, ctx.Err()
	}
	if s.dropped != nil {
		if st, known, err := a.knownIndex(log, id); known || err != nil {
			return st, known, err
		}
		return st, true, errDropped()
	}
	select {
	case <-s.settled:
		return s.outcome, true, nil
	default:
		return a.pool.status(s), true, nil
	}
}

func otherName(id warg.RecordID) error {
	return warg.Errorf(warg.KindConflict, "record `%s` is known under another name", id)
}

// knownIndex is known for what is settled.
func (a *Authority) knownIndex(log warg.LogID, id warg.RecordID) (st warg.RecordStatus, known bool, err error) {
	r, ok, elsewhere, err := a.index.Find(log, id)
	switch {
	case err != nil:
		return st, false, a.internal("looking up record", err)
	case elsewhere:
		return st, true, otherName(id)
	case !ok:
		return st, false, nil
	}
	return warg.RecordStatus{RecordID: id, State: r.State, Index: r.Index, Reason: r.Reason}, true, nil
}

// admit decides whether a new record may be accepted.
func (a *Authority) admit(s *submission) error {
	if err := a.ours(s.name.Namespace()); err != nil {
		return err
	}
	if err := a.o.Policy.check(s.name, s.env.KeyID, s.record.Entries); err != nil {
		return err
	}
	if id, busy := a.pool.busy(s.log); busy {
		return warg.NotFound(warg.KindRecordPending, id)
	}
	l, err := a.states.acquire(s.log)
	if err != nil {
		return a.internal("judging record", err)
	}
	defer a.states.release(l)
	key, err := signer(l, s)
	if err != nil {
		return err
	}
	// Outside of the log's lock: it takes longer than everything else here.
	if err := key.VerifyPackageRecord(s.env.Content, s.env.Signature); err != nil {
		return warg.Errorf(warg.KindUnauthorized, "%w", err)
	}
	s.verified = true
	if err := follows(l, s); err != nil {
		return err
	}
	limit := warg.TimestampOf(a.o.Now().Add(maxAhead))
	if s.record.Time.Compare(limit) > 0 {
		return warg.Errorf(warg.KindRejected, "record has timestamp %s, more than %s ahead of this registry's clock",
			s.record.Time.Time().Format(time.RFC3339), maxAhead)
	}
	return nil
}

// signer returns the key that must have signed a record: one that the log knows
// and that may still do something, or else the one that the record begins the log
// with. So nobody can add a record to a log by granting nothing to his own key.
func signer(l *logState, s *submission) (warg.PublicKey, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	_, _, begun := l.state.Head()
	if key, ok := l.state.Key(s.env.KeyID); ok {
		if len(l.state.Permissions(s.env.KeyID)) == 0 {
			return key, unauthorizedKey(s.name, s.env.KeyID)
		}
		return key, nil
	}
	if !begun && len(s.record.Entries) > 0 {
		if init, ok := s.record.Entries[0].(pkglog.Init); ok && init.Key.ID() == s.env.KeyID {
			return init.Key, nil
		}
	}
	return warg.PublicKey{}, warg.Errorf(warg.KindUnauthorized, "unknown key id `%s`", s.env.KeyID)
}

// follows returns an error that names the head if a record does not follow it. The
// publisher sees what the head says and makes a new record.
func follows(l *logState, s *submission) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	head, _, ok := l.state.Head()
	if ok && (s.record.Prev == nil || *s.record.Prev != warg.Digest(head).AnyHash()) {
		return warg.NotFound(warg.KindRecordPending, head)
	}
	return nil
}

// absent returns those of the contents that are not here.
func (a *Authority) absent(list []warg.Digest) (missing []warg.Digest, err error) {
	for _, d := range list {
		has, err := a.content.Has(d)
		if err != nil {
			return nil, err
		}
		if !has {
			missing = append(missing, d)
		}
	}
	return missing, nil
}
