package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Kind says what was decided.
type Kind string

// The kinds of events.
const (
	// About the log itself.
	Begun     Kind = "begun"     // the log covers what is published from a length on
	Continued Kind = "continued" // in a new file, after a full one
	Repaired  Kind = "repaired"  // an unfinished write was cut off after a crash
	Damaged   Kind = "damaged"   // a file was not what was written, and was set aside
	Gap       Kind = "gap"       // records were published, and their lines are lost
	Rewound   Kind = "rewound"   // the registry was restored to a length below what is covered
	Signed    Kind = "signed"    // the operator's key signs for all lines before this one

	// About the server.
	Started Kind = "started"
	Stopped Kind = "stopped"

	// About our own registry.
	Published Kind = "published"
	Rejected  Kind = "rejected" // an accepted record, for good
	Cut       Kind = "cut"      // what a crash had left in the journal, signed for by nobody
	Fenced    Kind = "fenced"
	Unfenced  Kind = "unfenced"
	Adopted   Kind = "adopted" // a namespace, from another registry

	// About operators: asked before it is tried, then how it ended.
	Asked  Kind = "asked"
	Done   Kind = "done"
	Failed Kind = "failed"

	// About upstreams.
	FirstKey    Kind = "firstKey" // an operator key was believed because nothing was pinned
	Refused     Kind = "refused"  // what upstream said was not believed
	Quarantined Kind = "quarantined"
)

// Kinds returns all kinds of events.
func Kinds() []Kind {
	return []Kind{
		Begun, Continued, Repaired, Damaged, Gap, Rewound, Signed, Started, Stopped,
		Published, Rejected, Cut, Fenced, Unfenced, Adopted, Asked, Done, Failed, FirstKey, Refused, Quarantined,
	}
}

// covers reports whether events of a kind say what is covered of the registry's log.
func covers(k Kind) bool {
	switch k {
	case Begun, Continued, Gap, Rewound, Published:
		return true
	}
	return false
}

// Event is a decision. Which fields are set depends on its kind; empty ones are not
// written. The names in the log are those of the server's own log where it has them.
type Event struct {
	Kind Kind `json:"event"`

	Domain    string `json:"domain,omitempty"`   // of our own registry
	Upstream  string `json:"upstream,omitempty"` // another registry
	Namespace string `json:"namespace,omitempty"`
	Package   string `json:"package,omitempty"` // empty for a record of the operator log
	Record    string `json:"record,omitempty"`
	Key       string `json:"key_id,omitempty"`  // who signed, or of which key it is
	Entries   string `json:"entries,omitempty"` // what a record does

	Index   *uint64 `json:"index,omitempty"`  // of a record in the registry's log
	Length  *uint64 `json:"length,omitempty"` // of the registry's log
	Records uint64  `json:"records,omitempty"`

	Call  string `json:"call,omitempty"`  // what an operator asks for
	About string `json:"about,omitempty"` // with which arguments

	Class    string `json:"class,omitempty"` // of what was refused
	Doing    string `json:"doing,omitempty"`
	Fence    string `json:"kind,omitempty"`  // of a fence
	Times    uint64 `json:"times,omitempty"` // how often since the last such line, if more than once
	Evidence string `json:"evidence,omitempty"`
	Reason   string `json:"reason,omitempty"` // why, in words for people

	PublicKey string `json:"public_key,omitempty"` // that the signature is to be verified with
	Signature string `json:"signature,omitempty"`

	Version   string `json:"version,omitempty"`
	File      string `json:"file,omitempty"`
	Line      uint64 `json:"line,omitempty"` // of the file
	Bytes     int64  `json:"bytes,omitempty"`
	Recovered bool   `json:"recovered,omitempty"` // the line was added at the next start
}

// Number makes a value for Index and Length.
func Number(n uint64) *uint64 { return &n }

// Bounds of a line, in bytes. What registries and publishers chose is cut.
const (
	maxText = 1 << 10
	maxLine = 128 << 10
)

// bounded returns the event with texts that are not longer than maxText.
func (e Event) bounded() Event {
	for _, s := range []*string{
		&e.Domain, &e.Upstream, &e.Namespace, &e.Package, &e.Record, &e.Key, &e.Entries, &e.Call, &e.About,
		&e.Class, &e.Doing, &e.Fence, &e.Evidence, &e.Reason, &e.Version, &e.File, &e.PublicKey, &e.Signature,
	} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
		if len(*s) > maxText {
			*s = strings.ToValidUTF8((*s)[:maxText], "") + "…"
		}
	}
	return e
}

// line is an event in its place.
type line struct {
	Prev string `json:"prev"` // SHA-256 of the line before, hex
	N    uint64 `json:"n"`    // from 1
	Time string `json:"time"`
	Event
}

// place is where a chain stands: behind its n-th line.
type place struct {
	n    uint64
	hash warg.Digest // of that line; zero before the first
}

// appendLine appends the next line, with its line feed, and moves the place behind it.
func (p *place) appendLine(dst []byte, at time.Time, e Event) ([]byte, error) {
	text, err := line{Prev: p.hash.Hex(), N: p.n + 1, Time: stamp(at), Event: e.bounded()}.text()
	if err != nil {
		return dst, fmt.Errorf("encoding an event: %w", err)
	}
	p.n, p.hash = p.n+1, warg.Sum(text)
	return append(append(dst, text...), '\n'), nil
}

// stamp is how a time stands in a line.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// text returns the line without its line feed.
func (l line) text() ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, err
	}
	text = text[:len(text)-len("}")]
	return append(append(append(text, sumBefore...), sumOf(text)...), sumAfter...), nil
}

// sumOf returns the check of a line, over what stands before it. Without it a change of
// the last line, which no other line follows, would not be seen.
func sumOf(text []byte) string { return warg.Sum(text).Hex()[:sumDigits] }

// parseLine reads a line without its line feed. What it accepts is written byte for
// byte as appendLine writes it.
func parseLine(text []byte) (line, error) {
	var l line
	bare, err := withoutSum(text)
	if err != nil {
		return l, err
	}
	d := json.NewDecoder(bytes.NewReader(append(slices.Clone(bare), '}')))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return l, fmt.Errorf("it is not a line of the log: %w", err)
	}
	again, err := l.text()
	if err != nil {
		return l, err
	}
	if !bytes.Equal(again, text) {
		return l, errors.New("it is not written as the log writes it")
	}
	if _, err := time.Parse(time.RFC3339Nano, l.Time); err != nil {
		return l, fmt.Errorf("its time is none: %w", err)
	}
	return l, nil
}

// The fixed parts of every line.
const (
	linkBefore = `{"prev":"`
	linkAfter  = `","n":`
	linkSize   = len(linkBefore) + 2*warg.DigestSize + len(linkAfter)

	sumBefore = `,"sum":"`
	sumAfter  = `"}`
	sumDigits = 16
	sumSize   = len(sumBefore) + sumDigits + len(sumAfter)
)

var errNoLine = errors.New("it is not a line of the log")

// withoutSum returns what stands before a line's check, which must be right.
func withoutSum(text []byte) ([]byte, error) {
	at := len(text) - sumSize
	if at < linkSize {
		return nil, errNoLine
	}
	bare, sum := text[:at], text[at:]
	if !bytes.HasPrefix(sum, []byte(sumBefore)) || !bytes.HasSuffix(sum, []byte(sumAfter)) {
		return nil, errNoLine
	}
	if string(sum[len(sumBefore):len(sumBefore)+sumDigits]) != sumOf(bare) {
		return nil, errors.New("its check does not match what it says")
	}
	return bare, nil
}

// follows moves the place behind a line without its line feed, if it is the next one.
// It looks at the chain alone.
func (p *place) follows(text []byte) error {
	if _, err := withoutSum(text); err != nil {
		return err
	}
	if string(text[:len(linkBefore)]) != linkBefore || string(text[linkSize-len(linkAfter):linkSize]) != linkAfter {
		return errNoLine
	}
	if string(text[len(linkBefore):linkSize-len(linkAfter)]) != p.hash.Hex() {
		return fmt.Errorf("it does not follow line %d of the log", p.n)
	}
	if !bytes.HasPrefix(text[linkSize:], fmt.Appendf(nil, "%d,", p.n+1)) {
		return fmt.Errorf("it does not have the number %d", p.n+1)
	}
	p.n, p.hash = p.n+1, warg.Sum(text)
	return nil
}

// kindOf returns the kind of a line of the log. Within a text every quotation mark is
// escaped, so what is looked for can only be the name.
func kindOf(text []byte) Kind {
	_, after, _ := bytes.Cut(text, []byte(`,"event":"`))
	kind, _, _ := bytes.Cut(after, []byte(`"`))
	return Kind(kind)
}
