package observer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Options say how hard a review looks.
type Options struct {
	// All looks at everything that was ever promised, not only at what is new since the
	// last review.
	All bool
	// Damaged says that somebody changed files: errors are answers, wrong answers are not.
	Damaged bool
	// Others says that there are clients whose records nobody told the observer of.
	Others bool
	// Settle is how long a record that has all it needs may take to be published;
	// 0 = 10 s.
	Settle time.Duration
	// Full says that the registry has no room: what it took in may wait, unpublished and
	// not served, until it has.
	Full bool
}

// review is one review under way.
type review struct {
	*Observer
	o       Options
	v       Verdict
	head    Checkpoint
	entries []entry
	at      map[string]uint64 // of every record, its place in the ledger
	until   int               // how many promises there were when this review looked first
}

// Review looks at everything that a registry ever said and promised. The error says
// that it could not be asked.
func (o *Observer) Review(ctx context.Context, options Options) (Verdict, error) {
	r := &review{Observer: o, o: options}
	head, v, err := o.Look(ctx)
	r.v, r.head = v, head
	if err != nil {
		if status, ok := refused(err); options.Damaged && ok && status != http.StatusNotFound {
			r.v.refuse(err)
			return r.v, nil
		}
		return r.v, err
	}
	if ok, err := r.ledger(ctx); !ok {
		return r.v, err
	}
	if err := r.records(ctx); err != nil {
		return r.v, err
	}
	if err := r.proofs(ctx); err != nil {
		return r.v, err
	}
	return r.v, r.promises(ctx)
}

// refuse counts an error as an answer where files are damaged. An answer that there is
// no such thing is none of those: it says something about what was signed.
func (r *review) refuse(err error) error {
	status, ok := refused(err)
	switch {
	case !ok:
		r.v.note(&r.v.Corrupt, "%v", err)
		return nil
	case r.o.Damaged && status != http.StatusNotFound:
		r.v.refuse(err)
		return nil
	case r.o.Damaged:
		r.v.note(&r.v.Lost, "%v", err)
		return nil
	}
	return err
}

// ledger fetches the ledger and computes the roots of all lengths that were shown.
func (r *review) ledger(ctx context.Context) (bool, error) {
	length := r.head.Contents.LogLength
	entries, err := r.Observer.ledger(ctx, length)
	if err != nil {
		return false, r.refuse(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.at = entries, make(map[string]uint64, len(entries))
	for i, e := range entries {
		r.at[text(e.record[:])] = uint64(i)
		if i < len(r.Observer.entries) && r.Observer.entries[i] != e {
			r.v.note(&r.v.Forks, "place %d of the ledger was another one before", i)
		}
	}
	var t tree
	for _, e := range entries {
		t.add(e.leaf())
		root := t.root()
		if was, ok := r.roots[t.length]; ok && was.LogRoot != text(root[:]) {
			r.v.note(&r.v.Forks, "a checkpoint of length %d has another log root than the ledger", t.length)
		}
	}
	if root := mapRoot(entries); r.head.Contents.MapRoot != text(root[:]) {
		r.v.note(&r.v.Corrupt, "the checkpoint of length %d has another map root than the ledger", length)
	}
	for shown := range r.roots {
		// A checkpoint may have been shown to others since the head was asked for.
		if shown > length && shown > r.highest.Contents.LogLength {
			r.v.note(&r.v.Forks, "a checkpoint of length %d was shown, now there are %d", shown, length)
		}
	}
	if len(entries) > len(r.Observer.entries) && !r.v.Bad() {
		r.Observer.entries = entries
	}
	return true, nil
}

// records fetches the records of all logs and compares them with the ledger, with what
// clients sent, and with what was served before.
func (r *review) records(ctx context.Context) error {
	operator := sum([]byte("WARG-OPERATOR-LOG-ID-V0"))
	var ids []string
	wanted := map[string][]uint64{}
	for i, e := range r.entries {
		id := text(e.log[:])
		if e.log == operator {
			id = ""
		}
		if _, seen := wanted[id]; !seen && id != "" {
			ids = append(ids, id)
		}
		wanted[id] = append(wanted[id], uint64(i))
	}
	logs, err := r.logs(ctx, r.head.Contents.LogLength, ids)
	if err != nil {
		return r.refuse(err)
	}
	for id, places := range wanted {
		if len(logs[id]) != len(places) {
			r.v.note(&r.v.Corrupt, "log %q has %d records, the ledger has %d", id, len(logs[id]), len(places))
			continue
		}
		for i, place := range places {
			r.record(id, logs[id][i], place)
		}
	}
	for _, p := range r.Observer.defined() {
		if !r.holds(logs[""], p.Namespace) {
			r.v.note(&r.v.Lost, "namespace %s was defined and is not", p.Namespace)
		}
	}
	return nil
}

func (o *Observer) defined() (all []Promise) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.promises {
		if p.Kind == Defined {
			all = append(all, p)
		}
	}
	return all
}

// holds reports whether a record of the operator log defines a namespace: an entry of
// kind 4 with one string.
func (r *review) holds(operator []record, namespace string) bool {
	inner := string([]byte{0x0a, byte(len(namespace))}) + namespace
	entry := string([]byte{0x22, byte(len(inner))}) + inner
	for _, record := range operator {
		if strings.Contains(string(record.Content), entry) {
			return true
		}
	}
	return false
}

// record judges one record at its place.
func (r *review) record(log string, got record, place uint64) {
	prefix := "WARG-PACKAGE-LOG-RECORD-V0:"
	if log == "" {
		prefix = "WARG-OPERATOR-LOG-RECORD-V0:"
	}
	id := sum([]byte(prefix), got.Content)
	if id != r.entries[place].record || got.Index != place {
		r.v.note(&r.v.Corrupt, "place %d holds a record that says it is %d and is not the one of the ledger", place, got.Index)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	envelope := sum(str(got.KeyID), str(got.Signature))
	if before, ok := r.sightings[id]; ok && before != envelope {
		r.v.note(&r.v.Corrupt, "record %s has another key or signature than before", text(id[:]))
	}
	r.sightings[id] = envelope
	if log == "" || len(r.sent) == 0 {
		return
	}
	sent, ok := r.sent[text(id[:])]
	if !ok && r.o.Others {
		return
	}
	if !ok || sent.Key != got.KeyID || sent.Signature != got.Signature {
		r.v.note(&r.v.Corrupt, "record %s was never sent like that", text(id[:]))
	}
}

// promises looks for what was acknowledged.
func (r *review) promises(ctx context.Context) error {
	all := r.toReview()
	settled := map[string]bool{} // looked for already
	for _, p := range all {
		var err error
		switch p.Kind {
		case Published:
			at, ok := r.at[p.Record]
			if !ok || at != p.Index {
				r.v.note(&r.v.Lost, "record %s was published at %d, and is not there", p.Record, p.Index)
			}
		case Uploaded:
			if !settled[p.Content] {
				err = r.content(ctx, p)
			}
			settled[p.Content] = true
		case Accepted, Rejected:
			if _, there := r.at[p.Record]; !there && !settled[p.Record] {
				err = r.known(ctx, p)
			}
			settled[p.Record] = p.Kind == Accepted
		}
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.reviewed = r.until
	r.mu.Unlock()
	return nil
}

// toReview returns the promises that this review looks at: the same each time.
func (r *review) toReview() []Promise {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == 0 {
		r.until = len(r.Observer.promises)
	}
	from := r.reviewed
	if r.o.All {
		from = 0
	}
	return r.Observer.promises[from:r.until:r.until]
}

const (
	settleWithin = 10 * time.Second // unless an option says otherwise
	settlePoll   = 10 * time.Millisecond
)

// content demands the bytes that were uploaded. They are served once their record is
// published, which takes a moment after a start.
func (r *review) content(ctx context.Context, p Promise) error {
	below := "/content/"
	if r.registry != "" {
		below += r.registry + "/"
	}
	path := below + "sha256-" + strings.TrimPrefix(p.Content, "sha256:")
	within := r.o.Settle
	if within == 0 {
		within = settleWithin
	}
	for deadline := time.Now().Add(within); ; {
		body, err := r.ask(ctx, http.MethodGet, path, nil)
		if err == nil {
			if got := sha256.Sum256(body); text(got[:]) != p.Content {
				r.v.note(&r.v.Corrupt, "content %s has other bytes", p.Content)
			}
			return nil
		}
		status, _ := refused(err)
		if r.o.Damaged { // content that is gone can be uploaded again, by digest
			r.v.refuse(err)
			return nil
		}
		if status != http.StatusNotFound {
			return err
		}
		if r.o.Full {
			return nil
		}
		if time.Now().After(deadline) {
			r.v.note(&r.v.Lost, "content %s was taken in and is not there", p.Content)
			return nil
		}
		if err := pause(ctx, settlePoll); err != nil {
			return err
		}
	}
}

// known demands that the registry still knows a record that is not in its log.
func (r *review) known(ctx context.Context, p Promise) error {
	var state struct {
		Record string `json:"recordId"`
		State  string `json:"state"`
	}
	answer, err := r.ask(ctx, http.MethodGet, fmt.Sprintf("/v1/package/%s/record/%s", p.Log, p.Record), nil)
	if err != nil {
		if status, _ := refused(err); status == http.StatusNotFound {
			r.v.note(&r.v.Lost, "record %s was %s, and is not known", p.Record, p.Kind)
			return nil
		}
		return r.refuse(err)
	}
	if err := json.Unmarshal(answer, &state); err != nil || state.Record != p.Record {
		r.v.note(&r.v.Corrupt, "the state of record %s is %.100q", p.Record, answer)
	}
	if p.Kind == Rejected && state.State != Rejected {
		r.v.note(&r.v.Lost, "record %s was rejected, and now is %s", p.Record, state.State)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
