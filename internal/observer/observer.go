package observer

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Promise is something that a client was told is done.
type Promise struct {
	Kind      string `json:"kind"`                // one of the constants below
	Log       string `json:"log,omitempty"`       // id, as text
	Record    string `json:"record,omitempty"`    // id, as text
	Index     uint64 `json:"index,omitempty"`     // of a published record
	Content   string `json:"content,omitempty"`   // digest of what was uploaded
	Namespace string `json:"namespace,omitempty"` // that was defined
	Key       string `json:"key,omitempty"`       // id of the key that signed the record
	Signature string `json:"signature,omitempty"` // of the record
}

// Kinds of promises.
const (
	Sent      = "sent"      // no promise yet: a client sent this record
	Accepted  = "accepted"  // 202
	Uploaded  = "uploaded"  // 201, content
	Published = "published" // the state of a record
	Rejected  = "rejected"  // the state of a record
	Defined   = "defined"   // a namespace
)

// Verdict counts what was found wrong.
type Verdict struct {
	Lost, Forks, Corrupt int
	Proven               int      // proofs that hold: of a record in both trees, of one length that extends another
	Refused              int      // questions that were answered by an error, where that is allowed
	Reasons              []string // the first few
	Refusals             []string // the first few
}

// Bad reports whether a promise was broken.
func (v *Verdict) Bad() bool { return v.Lost+v.Forks+v.Corrupt > 0 }

// Add adds the counts of another verdict.
func (v *Verdict) Add(w Verdict) {
	v.Lost, v.Forks, v.Corrupt, v.Refused, v.Proven = v.Lost+w.Lost, v.Forks+w.Forks, v.Corrupt+w.Corrupt, v.Refused+w.Refused, v.Proven+w.Proven
	v.Reasons = append(v.Reasons, w.Reasons...)
}

const maxReasons = 20

func (v *Verdict) refuse(err error) {
	if v.Refused++; len(v.Refusals) < maxReasons {
		v.Refusals = append(v.Refusals, err.Error())
	}
}

func (v *Verdict) note(count *int, format string, args ...any) {
	if *count++; len(v.Reasons) < maxReasons {
		v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...))
	}
}

// shown is a checkpoint as the book keeps it.
type shown struct {
	LogRoot string `json:"logRoot"`
	MapRoot string `json:"mapRoot"`
}

// line is one line of the book.
type line struct {
	Checkpoint *Checkpoint `json:"checkpoint,omitempty"`
	Promise    *Promise    `json:"promise,omitempty"`
}

// Observer is the memory of one who watches a registry. It is safe for concurrent use.
type Observer struct {
	base     string // URL without a slash at its end
	registry string // domain of a registry behind the one that is asked, or ""
	client   *http.Client

	mu        sync.Mutex
	book      *os.File
	key       *ecdsa.PublicKey
	keyID     string
	roots     map[uint64]shown // of every length that was shown
	highest   Checkpoint       // newest that was shown
	past      Verdict          // what Look found
	entries   []entry          // as reviewed
	sightings map[hash]hash    // of every record, by id: what else of its envelope was served
	promises  []Promise
	sent      map[string]Promise // by record
	reviewed  int                // promises that were there at the last review

	consistentTo uint64 // length to which all that was shown was proven to be one log
}

// Open opens a book, which is made if there is none, for the registry at base; with a
// domain, for that registry behind it.
func Open(path, base, registry string) (*Observer, error) {
	book, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	o := &Observer{
		base: base, registry: registry, book: book, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}},
		roots: map[uint64]shown{}, sightings: map[hash]hash{}, sent: map[string]Promise{},
	}
	lines := bufio.NewReader(book)
	for {
		b, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return o, nil // a line without an end was never counted on
		}
		if err != nil {
			return nil, errors.Join(err, book.Close())
		}
		var l line
		if err := json.Unmarshal(b, &l); err != nil {
			return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), book.Close())
		}
		o.recall(l)
	}
}

func (o *Observer) recall(l line) {
	if c := l.Checkpoint; c != nil {
		o.keyID = c.KeyID
		o.roots[c.Contents.LogLength] = shown{c.Contents.LogRoot, c.Contents.MapRoot}
		o.highest = *c
	}
	if l.Promise != nil {
		o.remember(*l.Promise)
	}
}

func (o *Observer) remember(p Promise) {
	if p.Kind == Sent {
		o.sent[p.Record] = p
		return
	}
	o.promises = append(o.promises, p)
}

// Close closes the book.
func (o *Observer) Close() error {
	o.client.CloseIdleConnections()
	return o.book.Close()
}

// At says where the registry is now: a restart may change its address.
func (o *Observer) At(base string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.client.CloseIdleConnections()
	o.base = base
}

// write appends a line to the book. It is called with the lock held, so that the order
// of the book is the order of events.
func (o *Observer) write(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	if _, err := o.book.Write(append(b, '\n')); err != nil {
		return err
	}
	return o.book.Sync()
}

// Promised notes what a client was told. It counts once this returns.
func (o *Observer) Promised(p Promise) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.remember(p)
	return o.write(line{Promise: &p})
}

// Promises returns how many acknowledgements were noted.
func (o *Observer) Promises() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.promises)
}

// Length returns the highest length that was shown.
func (o *Observer) Length() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.highest.Contents.LogLength
}

// Look asks for the checkpoint and judges it by all that were shown before. The error
// says that there was no answer; what is wrong with one is in the verdict.
func (o *Observer) Look(ctx context.Context) (Checkpoint, Verdict, error) {
	var c Checkpoint
	var v Verdict
	before := o.newest() // an answer may be older than one that comes in meanwhile
	if err := o.read(ctx, http.MethodGet, "/v1/fetch/checkpoint", nil, &c); err != nil {
		if _, ok := refused(err); !ok {
			v.note(&v.Corrupt, "the checkpoint is not one: %v", err)
		}
		return c, v, err
	}
	key, err := o.operator(ctx, c)
	if err != nil {
		return c, v, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := c.verify(key); err != nil {
		v.note(&v.Corrupt, "checkpoint of length %d: %v", c.Contents.LogLength, err)
		return c, v, nil
	}
	if c.KeyID != o.keyID {
		v.note(&v.Forks, "checkpoint of length %d is signed by %s, others by %s", c.Contents.LogLength, c.KeyID, o.keyID)
	}
	now := shown{c.Contents.LogRoot, c.Contents.MapRoot}
	old, known := o.roots[c.Contents.LogLength]
	if known && old != now {
		v.note(&v.Forks, "two checkpoints of length %d: %v and %v", c.Contents.LogLength, old, now)
	}
	if c.Contents.LogLength < before.Contents.LogLength {
		v.note(&v.Forks, "length %d after %d", c.Contents.LogLength, before.Contents.LogLength)
	}
	if c.Contents.Timestamp < before.Contents.Timestamp {
		v.note(&v.Forks, "time %d after %d", c.Contents.Timestamp, before.Contents.Timestamp)
	}
	o.past.Add(v)
	if known && c.Contents.Timestamp <= o.highest.Contents.Timestamp || v.Bad() {
		return c, v, nil
	}
	if c.Contents.LogLength >= o.highest.Contents.LogLength && c.Contents.Timestamp >= o.highest.Contents.Timestamp {
		o.highest = c
	}
	o.roots[c.Contents.LogLength] = now
	return c, v, o.write(line{Checkpoint: &c})
}

func (o *Observer) newest() Checkpoint {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.highest
}

// operator returns the key that signs checkpoints. At first sight it is taken from the
// operator log, where a key counts by its id; from then on it is the same one.
func (o *Observer) operator(ctx context.Context, c Checkpoint) (*ecdsa.PublicKey, error) {
	o.mu.Lock()
	key, pinned := o.key, o.keyID
	o.mu.Unlock()
	if key != nil {
		return key, nil
	}
	if pinned == "" {
		pinned = c.KeyID
	}
	logs, err := o.logs(ctx, c.Contents.LogLength, nil)
	if err != nil {
		return nil, err
	}
	for _, r := range logs[""] {
		if key, ok := keyOf(pinned, r.Content); ok {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.key, o.keyID = key, pinned
			return key, nil
		}
	}
	return nil, fmt.Errorf("no record of the operator log has the key %s", pinned)
}

// Watch looks again and again until the context ends. A verdict that is bad is reported.
func (o *Observer) Watch(ctx context.Context, every time.Duration, report func(Verdict)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, v, _ := o.Look(ctx); v.Bad() && ctx.Err() == nil {
			report(v)
		}
	}
}
