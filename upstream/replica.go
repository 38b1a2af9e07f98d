package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Options say what a replica is of and what may be believed.
type Options struct {
	Domain    string
	Transport Transport
	Store     Store

	Publishing Publishing // how records are published through us, nil = they are not
	Offers     Offers     // where uploads go then; needed with Publishing

	OperatorKey   warg.KeyID // the pin: signer of the first operator record, or of the checkpoint
	TrustFirstKey bool       // without a pin, pin the key that is seen first

	MaxAge      time.Duration // after which a checkpoint is asked for again, 0 = DefaultMaxAge
	MaxStale    time.Duration // 0 = stale answers are served for ever
	RefuseStale bool          // beyond MaxStale answer KindUnavailable, instead of with a warning
	Offline     bool          // never use the transport

	Dir         string     // what must survive: head and accepted lengths, upstreams/<domain>
	EvidenceDir string     // where proofs of misbehaviour are written
	TempDir     string     // for ledgers and uploads being verified, "" = os.TempDir
	FS          durable.FS // nil = the operating system's

	MaxContent int64            // bytes of one content, 0 = DefaultMaxContent
	MaxUpload  int64            // bytes of one content that is uploaded through us, 0 = MaxContent
	MaxLength  uint64           // leaves of the registry's log, 0 = DefaultMaxLength
	Now        func() time.Time // nil = time.Now
	Log        *slog.Logger     // nil = discarded
	Audit      *audit.Log       // what was decided; nil = that is not recorded
}

// Defaults of [Options].
const (
	DefaultMaxAge = time.Minute
	// DefaultMaxLength bounds the ledger that a registry may have: 64 bytes a leaf on
	// disk while it is verified, and about as much in the store several times over.
	DefaultMaxLength = 1 << 26
)

// How long things may take.
const (
	joinWait       = 2 * time.Second  // a reader waits so long for a refresh, then is answered stale
	coldWait       = 30 * time.Second // a reader waits so long while there is nothing to answer with
	refreshTimeout = 30 * time.Minute // the first copy of a large ledger over a slow line
	fetchTimeout   = 2 * time.Minute  // records or names
	contentTimeout = 30 * time.Minute
	refusedPause   = 10 * time.Second // before something that was refused is asked for again
	absentPause    = 30 * time.Second // before content that is not there is asked for again
	maxSkew        = 5 * time.Minute  // how far a checkpoint may be ahead of our clock
)

// Replica answers for one upstream registry from what it verified. It implements
// [warg.Registry] and is safe for concurrent use.
//
// What is needed, not held, and cannot be had is KindUnavailable with RetryAfter;
// what upstream did not answer in time is KindUpstreamTimeout; what was refused is
// KindUpstreamInvalid, see [ClassOf]. None of them ever looks like "not found". Content
// that upstream denies is refused if a held record releases it, with what upstream said
// in the error's chain; else it is not found.
type Replica struct {
	o       Options
	trusted *trusted
	view    atomic.Pointer[view] // nil until something can be served
	checked atomic.Int64         // when the view was last known to be the newest, Unix nanoseconds
	tally   tally
	counts  counts
	watch   stopwatch     // of the refresh under way: how long it verifies
	damaged atomic.Bool   // the store had an error of its own
	epoch   atomic.Uint64 // how often the store was emptied

	base   context.Context // of work that outlives its first reader
	stop   context.CancelFunc
	shifts sync.Mutex // guards shift
	shift  *shift

	resetting sync.Mutex // held during a reset

	refreshes   flights[struct{}]
	refreshed   atomic.Uint64 // how many refreshes ended well
	begun       atomic.Uint64 // how many refreshes were begun
	ended       atomic.Uint64 // which of those was the last to end
	refreshGate breaker       // after a refresh failed, for whatever reason
	newsAt      atomic.Int64  // when a sighting last began a refresh, Unix nanoseconds
	frozenTold  bool          // it was logged that nothing is signed any more; of the refresh under way
	heldBack    time.Time     // since when refused records keep a checkpoint back; of the refresh under way
	reach       breaker       // after upstream could not be reached
	retries     retryBudget   // of both
	logs        flights[warg.LogID]
	logsFailed  memo[warg.LogID]
	names       flights[warg.LogID]
	nameless    memo[warg.LogID]
	contents    flights[warg.Digest]
	missing     memo[warg.Digest]
	named       named // what upstream must have

	exchanges slots // about records, with upstream
	spools    slots // uploads being received
	sends     slots // uploads on their way to upstream
}

var (
	_ warg.Registry  = (*Replica)(nil)
	_ warg.Publisher = (*Replica)(nil)
)

// view is a verified state of the registry. It does not change.
type view struct {
	signed warg.SignedCheckpoint
	cp     warg.Checkpoint
	op     *operator // replayed up to cp at least
	epoch  uint64    // of the store that it belongs to
}

// Open opens a replica: it reads what is remembered of the registry and, if the
// store has all that belongs to it, serves that at once. It does not wait for the
// registry. Close must be called.
func Open(_ context.Context, o Options) (*Replica, error) {
	if o.OperatorKey == "" && !o.TrustFirstKey {
		return nil, fmt.Errorf("upstream `%s` has neither a pinned operator key nor leave to trust the first one", o.Domain)
	}
	if o.Publishing != nil && o.Offers == nil {
		return nil, fmt.Errorf("upstream `%s` takes records through us, but there is nothing to upload their content to", o.Domain)
	}
	o = o.withDefaults()
	t, err := openTrusted(o.FS, o.Dir, o.Domain, o.Log)
	if err != nil {
		return nil, err
	}
	base, stop := context.WithCancel(context.Background())
	r := &Replica{
		o: o, trusted: t, base: base, stop: stop, shift: newShift(base),
		exchanges: make(slots, maxExchanges), spools: make(slots, maxSpools), sends: make(slots, maxSends),
	}
	r.named.most = maxNamed
	r.reach.budget, r.refreshGate.budget = &r.retries, &r.retries
	if o.Transport != nil {
		r.o.Transport = counted{o.Transport, &r.counts, &r.retries}
	}
	if o.Publishing != nil {
		r.o.Publishing = countedPublishing{o.Publishing, &r.counts, &r.retries}
	}
	if err := r.resume(); err != nil {
		stop()
		return nil, err
	}
	close(r.shift.ready)
	return r, nil
}

func (o Options) withDefaults() Options {
	if o.MaxAge <= 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.MaxContent <= 0 {
		o.MaxContent = DefaultMaxContent
	}
	if o.MaxUpload <= 0 {
		o.MaxUpload = o.MaxContent
	}
	if o.MaxLength == 0 {
		o.MaxLength = DefaultMaxLength
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// resume begins with the head of the last run, if the store still has its leaves
// and its operator log. If not, the head stands nevertheless: nothing older will
// be served, and the next refresh fetches what is missing.
func (r *Replica) resume() error {
	h := r.trusted.current()
	if h.Format == 0 {
		return r.o.Store.Reset() // what is there belongs to nothing we believe
	}
	op, err := heldOperator(r.o.Store, h.view.LogLength)
	if err == nil {
		err = r.matchesStore(h.view)
	}
	if err == nil {
		_, err = op.open(h.signed)
	}
	if err != nil {
		r.o.Log.Warn("replica must be fetched again", "upstream", r.o.Domain, "length", h.view.LogLength, "reason", err)
		return nil
	}
	if pin := r.o.OperatorKey; pin != "" && !op.hangsOn(pin, h.signed) {
		return fmt.Errorf("upstream `%s`: its replica hangs on operator key `%s`, but `%s` is pinned; reset the mirror if the new key is meant", r.o.Domain, op.signer, pin)
	}
	r.checked.Store(h.VerifiedAt.UnixNano())
	r.view.Store(&view{signed: h.signed, cp: h.view, op: op, epoch: r.epoch.Load()})
	return nil
}

// heldOperator replays the operator records that the store holds below a length;
// there must be all of them.
func heldOperator(store Store, length uint64) (*operator, error) {
	records, complete, err := heldRecords(store, warg.OperatorLogID, length)
	if err != nil {
		return nil, err
	}
	if !complete {
		return nil, errors.New("operator records are missing in the store")
	}
	for n, rec := range records {
		index, id, ok, err := store.Position(warg.OperatorLogID, uint64(n))
		if err != nil {
			return nil, err
		}
		if !ok || index != rec.Index || id != rec.OperatorRecordID() {
			return nil, errors.New("the store's operator records are not those of its ledger")
		}
	}
	return replayOperator(records)
}

// heldRecords returns the held records of a log below a length, and whether those
// are all there are.
func heldRecords(s Store, log warg.LogID, length uint64) (records []warg.Record, complete bool, err error) {
	_, held, err := s.Log(log)
	if err != nil {
		return nil, false, err
	}
	for n := uint64(0); n < held; {
		part, err := s.Records(log, n, warg.MaxFetchLimit)
		if err != nil {
			return nil, false, err
		}
		if len(part) == 0 {
			return records, false, nil
		}
		for _, rec := range part {
			if rec.Index >= length {
				return records, true, nil
			}
			records = append(records, rec)
		}
		n += uint64(len(part))
	}
	next, _, more, err := s.Position(log, held)
	return records, !more || next >= length, err
}

// matchesStore fails unless the store's trees can prove everything at a view.
func (r *Replica) matchesStore(cp warg.Checkpoint) error {
	trees := r.o.Store.Trees()
	switch {
	case trees.LogLength < cp.LogLength:
		return fmt.Errorf("the store has %d of %d leaves", trees.LogLength, cp.LogLength)
	case trees.LogLength == cp.LogLength && (trees.LogRoot != cp.LogRoot || trees.MapRoot != cp.MapRoot):
		return errors.New("the store's trees have other roots")
	}
	if ok, err := r.o.Store.HasLength(cp.LogLength); err != nil || !ok {
		return cmp.Or(err, fmt.Errorf("the store has no map of length %d", cp.LogLength))
	}
	edge, err := edgeAt(r.o.Store, cp.LogLength)
	if err == nil && edge.Root() != cp.LogRoot {
		err = errors.New("the store's log has another root")
	}
	return err
}

// Close stops work under way and waits for it.
func (r *Replica) Close() error {
	r.stop()
	r.resetting.Lock()
	defer r.resetting.Unlock()
	r.currentShift().end()
	r.auditRefused(true)
	return nil
}

// Domain implements [warg.Registry].
func (r *Replica) Domain() string { return r.o.Domain }

// mayAsk fails if upstream must not, or need not, be asked for anything now. If it
// does not fail the caller asks: it may be the one who finds out whether upstream
// answers again.
func (r *Replica) mayAsk() error {
	if r.o.Offline {
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline, Message: fmt.Sprintf("registry `%s` is offline here, and this is not held", r.o.Domain)}
	}
	if q := r.trusted.current().Quarantine; q != nil {
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retryOffline, Message: fmt.Sprintf("registry `%s` is quarantined (%s), and this is not held", r.o.Domain, q.Class)}
	}
	return r.reach.pass(r.o.Now())
}

// retryOffline is told to clients when only an operator can help, in seconds.
const retryOffline = 3600

// asked judges an error of the transport and notes whether upstream could be
// reached, and the pause that it asks for. Whatever the protocol does not foresee there
// is KindUnavailable.
func (r *Replica) asked(ctx context.Context, doing string, err error) error {
	return r.heard(ctx, doing, err, pauseAsked(err))
}

// heard is asked, with the pause that is to be kept in any case if err says that
// upstream cannot be reached.
func (r *Replica) heard(ctx context.Context, doing string, err error, pause time.Duration) error {
	if err == nil {
		r.reach.report(nil, r.o.Now())
		return nil
	}
	e, ok := asWarg(err)
	switch {
	case ctx.Err() != nil && r.base.Err() == nil:
		e = &warg.Error{Kind: warg.KindUpstreamTimeout, Message: fmt.Sprintf("registry `%s` did not answer in time", r.o.Domain), Err: err}
	case !ok:
		e = &warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: fmt.Sprintf("registry `%s` cannot be asked now", r.o.Domain), Err: err}
	case e.Kind == warg.KindUpstreamInvalid:
		r.reach.report(nil, r.o.Now())
		return fmt.Errorf("%s: %w", doing, err)
	case e.Kind != warg.KindUnavailable && e.Kind != warg.KindUpstreamTimeout:
		retry := max(e.RetryAfter, 1)
		e = &warg.Error{Kind: warg.KindUnavailable, RetryAfter: retry, Message: fmt.Sprintf("registry `%s` answered with an error: %s", r.o.Domain, e.Error()), Err: err}
	}
	now := r.o.Now()
	if elsewhere(err) {
		r.reach.report(nil, now)
		e = &warg.Error{Kind: e.Kind, RetryAfter: max(e.RetryAfter, 1), Message: fmt.Sprintf("another host, where registry `%s` has this, does not answer or refuses", r.o.Domain), Err: err}
		return fmt.Errorf("%s: %w", doing, e)
	}
	r.reach.report(e, now)
	r.reach.hold(pause, now)
	return fmt.Errorf("%s: %w", doing, e)
}

func asWarg(err error) (*warg.Error, bool) { return errors.AsType[*warg.Error](err) }
