package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// What a look at a registry can come to.
const (
	StatusConsistent  = "consistent"  // a new checkpoint, and it fits all earlier ones
	StatusUnchanged   = "unchanged"   // what was known, perhaps signed anew
	StatusOld         = "old"         // a shorter checkpoint than is known, which fits
	StatusRefused     = "refused"     // not the registry's, or not true, but no proof against it
	StatusForked      = "forked"      // two signed statements cannot both be true; there is evidence
	StatusUnreachable = "unreachable" // no answer
)

// How a checkpoint was judged.
const (
	ByLedger = "ledger" // both roots were rebuilt
	ByProof  = "proof"  // the registry has no ledger; its map was not rebuilt
)

const (
	// maxConvictions bounds the evidence files of one registry. One is enough.
	maxConvictions = 100
	// maxAhead is how far a checkpoint's time may be ahead of ours unremarked.
	maxAhead = 5 * time.Minute
)

// Report is what one look at a registry came to.
type Report struct {
	Time     time.Time `json:"time"`
	Registry string    `json:"registry"`           // address
	OnBehalf string    `json:"onBehalf,omitempty"` // domain
	Status   string    `json:"status"`
	Message  string    `json:"message,omitempty"`

	// The checkpoint, if there was one. Unless the status is consistent, unchanged or
	// old, it is nothing but a claim.
	LogLength uint64     `json:"logLength,omitempty"`
	LogRoot   string     `json:"logRoot,omitempty"`
	MapRoot   string     `json:"mapRoot,omitempty"`
	Timestamp uint64     `json:"timestamp,omitempty"`
	KeyID     warg.KeyID `json:"keyId,omitempty"`
	By        string     `json:"by,omitempty"`
	Added     uint64     `json:"added,omitempty"` // leaves since the longest checkpoint before

	OperatorKey warg.KeyID `json:"operatorKey,omitempty"` // by whom the operator log was begun
	// Evidence is the path of the file that convicts the registry, if it was ever
	// convicted, now or earlier.
	Evidence string `json:"evidence,omitempty"`
}

// Look asks the registry for its checkpoint and judges it. What the report says is
// durable. The error is about our own files; the watcher must then be closed.
func (w *Watcher) Look(ctx context.Context) (Report, error) {
	r := Report{Time: w.o.Now().UTC(), Registry: w.peer.name(), OnBehalf: w.o.OnBehalf}
	before := w.state.longest()
	c, err := w.peer.checkpoint(ctx)
	if err == nil {
		r.LogLength, r.LogRoot, r.MapRoot = c.length, text(c.logRoot), text(c.mapRoot)
		r.Timestamp, r.KeyID = c.timestamp, c.signed.KeyID()
		if err = w.judge(ctx, c); err == nil {
			err = w.review(ctx)
		}
	}
	if err := w.conclude(&r, before, err); err != nil {
		return r, err
	}
	r, err = w.Compare(ctx, r)
	if err != nil {
		return r, err
	}
	r.OperatorKey = w.op.beganBy
	if n := len(w.state.convictions); r.Evidence == "" && n > 0 {
		r.Evidence = w.evidencePath(w.state.convictions[n-1])
		r.Message = join(r.Message, "the registry was convicted earlier: "+w.state.convictions[n-1].Reason)
	}
	return r, nil
}

// conclude turns the result of judging into a report.
func (w *Watcher) conclude(r *Report, before view, err error) error {
	var refused *refusedError
	var lost *troubleError
	var d *contradiction
	switch {
	case err == nil:
		w.describe(r, before)
		return nil
	case errors.As(err, &d):
		r.Status, r.Message = StatusForked, d.reason
		r.Evidence, err = w.convict(d)
		return err
	case errors.As(err, &refused):
		r.Status, r.Message = StatusRefused, err.Error()
		return nil
	case errors.As(err, &lost):
		r.Status, r.Message = StatusUnreachable, err.Error()
		return nil
	}
	return fmt.Errorf("watching %s: %w", w.peer.name(), err)
}

// describe fills a report about a checkpoint that fits.
func (w *Watcher) describe(r *Report, before view) {
	r.By = ByProof
	if v, ok := w.state.view(r.LogLength); ok && v.rebuilt {
		r.By = ByLedger
	}
	switch {
	case r.LogLength > before.length:
		r.Status, r.Added = StatusConsistent, r.LogLength-before.length
	case r.LogLength < before.length:
		r.Status = StatusOld
	default:
		r.Status = StatusUnchanged
	}
	if ahead := time.Unix(int64(min(r.Timestamp, 1<<40)), 0).Sub(r.Time); ahead > maxAhead {
		r.Message = join(r.Message, fmt.Sprintf("it was signed %s in the future", ahead.Round(time.Second)))
	}
	if r.LogLength > before.length && before.length > 0 && r.Timestamp < before.earliest {
		r.Message = join(r.Message, fmt.Sprintf("its time is %d seconds before that of a shorter one", before.earliest-r.Timestamp))
	}
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// convict writes evidence and remembers it. A contradiction that is known, or one too
// many, gets no new file.
func (w *Watcher) convict(d *contradiction) (string, error) {
	known := slices.IndexFunc(w.state.convictions, func(c conviction) bool { return c.ID == d.id() })
	if known < 0 && len(w.state.convictions) >= maxConvictions {
		known = len(w.state.convictions) - 1
	}
	if known >= 0 {
		return w.evidencePath(w.state.convictions[known]), nil
	}
	registry := w.peer.name()
	if w.o.OnBehalf != "" {
		registry = w.o.OnBehalf + " at " + registry
	}
	dir := filepath.Join(w.state.dir, evidenceDir)
	name, err := writeEvidence(w.state.fsys, dir, d, d.file(registry, w.o.Now()), w.state.ledger)
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(conviction{d.id(), d.class, d.reason, filepath.Base(name), api.AppendCheckpoint(nil, d.refused.signed)})
	if err != nil {
		return "", fmt.Errorf("encoding a conviction: %w", err)
	}
	return name, w.state.commit(line{kindForked, body})
}

func (w *Watcher) evidencePath(c conviction) string {
	return filepath.Join(w.state.dir, evidenceDir, filepath.Base(c.Evidence))
}
