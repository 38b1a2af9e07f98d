package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// VerifyOptions say which log to verify.
type VerifyOptions struct {
	Path  string       // of the newest file
	FS    durable.FS   // nil = the real one
	Known []Mark       // what was noted elsewhere
	Keys  []warg.KeyID // that may sign where the log stands; none: any may
}

// Mark is a line that was noted elsewhere, as the server says it in its own log.
type Mark struct {
	Line uint64      // its number in the log
	Hash warg.Digest // SHA-256 of it
}

// Finding is something that is not as it was written.
type Finding struct {
	File   string `json:"file"`
	Line   uint64 `json:"line,omitempty"` // of the file, from 1; 0 = the file as a whole
	Reason string `json:"reason"`
}

// Error describes the finding.
func (f Finding) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Reason)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Reason)
}

// Report says what a log consists of.
type Report struct {
	Files int       `json:"files"`
	Lines uint64    `json:"lines"`
	Last  uint64    `json:"last"`  // number of the last line
	Head  string    `json:"head"`  // its SHA-256, sha256:hex
	Since time.Time `json:"since"` // of the first line
	Until time.Time `json:"until"` // of the last line
	From  uint64    `json:"from"`  // the first record of the registry's log that is covered
	To    uint64    `json:"to"`    // one more than the last
	Torn  int64     `json:"torn"`  // bytes of an unfinished write at the end

	Signed   uint64     `json:"signed"`            // lines up to this one are signed for, 0 = none
	SignedAt time.Time  `json:"signedAt,omitzero"` // when
	SignedBy warg.KeyID `json:"signedBy,omitempty"`

	Events map[Kind]uint64 `json:"events"` // lines of each kind

	begun bool
}

// Covers reports whether the log says anything about what is published.
func (r Report) Covers() bool { return r.begun }

// Verify reads a log from its first line to its last, also while it is written. The
// findings are in the order of the log, at most one of the chain in each file; an error
// is one of reading.
func Verify(o VerifyOptions) (Report, []Finding, error) {
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	for {
		numbers, err := rotated(o.FS, o.Path)
		if err != nil {
			return Report{}, nil, err
		}
		v := &verifier{o: o, report: Report{Events: map[Kind]uint64{}}}
		if err := v.run(numbers); err != nil {
			return Report{}, nil, fmt.Errorf("verifying the audit log: %w", err)
		}
		again, err := rotated(o.FS, o.Path)
		if err != nil {
			return Report{}, nil, err
		}
		if slices.Equal(numbers, again) {
			return v.report, v.findings, nil
		}
		// The newest file became full meanwhile.
	}
}

type verifier struct {
	o        VerifyOptions
	place    place
	report   Report
	findings []Finding
}

func (v *verifier) find(file string, line uint64, format string, args ...any) {
	v.findings = append(v.findings, Finding{file, line, fmt.Sprintf(format, args...)})
}

func (v *verifier) run(numbers []uint64) error {
	for i, number := range numbers {
		if want := uint64(i + 1); number != want {
			v.find(rotatedName(v.o.Path, want), 0, "it is missing")
			break // one finding; the chain says the same
		}
	}
	anywhere := len(numbers) > 0 && numbers[0] != 1
	for _, number := range numbers {
		good, err := v.file(rotatedName(v.o.Path, number), anywhere, false)
		if err != nil {
			return err
		}
		anywhere = !good
	}
	_, err := v.file(v.o.Path, anywhere, true)
	if errors.Is(err, fs.ErrNotExist) && len(numbers) > 0 {
		err = nil // a crash came while it became full
	}
	if err != nil {
		return err
	}
	for _, m := range v.o.Known {
		if m.Line > v.place.n {
			v.find(v.o.Path, 0, "line %d of the log, which was noted elsewhere, is missing; the last is %d", m.Line, v.place.n)
		}
	}
	v.report.Last, v.report.Head = v.place.n, "sha256:"+v.place.hash.Hex()
	return nil
}

// file verifies one file, and reports whether the next must go on from its end.
func (v *verifier) file(name string, anywhere, newest bool) (good bool, err error) {
	f, err := v.o.FS.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if p, ok := beginning(f); anywhere && ok {
		v.place = p
	}
	v.report.Files++
	e, err := v.place.scan(f, func(number uint64, text []byte) error {
		v.line(name, number, text)
		return nil
	})
	switch {
	case err != nil:
		return false, err
	case e.bad != nil && newest && e.lines == 0 && endsAt(v.o.FS, name, v.place):
		v.report.Files-- // the file before it, which a crash left under both names
	case e.bad != nil:
		v.find(name, e.lines+1, "%v", e.bad)
		return false, nil
	case e.torn > 0 && !newest:
		v.find(name, e.lines+1, "%d bytes that are no line", e.torn)
		return false, nil
	}
	if e.bad == nil {
		v.report.Torn = e.torn
	}
	return true, nil
}

// line verifies what a line of a sound chain says.
func (v *verifier) line(file string, number uint64, text []byte) {
	for _, m := range v.o.Known {
		if m.Line == v.place.n && m.Hash != warg.Sum(text) {
			v.find(file, number, "line %d of the log is not the one that was noted elsewhere", m.Line)
		}
	}
	l, err := parseLine(text)
	if err != nil {
		v.find(file, number, "%v", err)
		return
	}
	if !slices.Contains(Kinds(), l.Kind) {
		v.find(file, number, "there are no events of kind `%s`", l.Kind)
	}
	at, _ := time.Parse(time.RFC3339Nano, l.Time) // parseLine did so
	if v.report.Lines == 0 {
		v.report.Since = at
	}
	v.report.Until = at
	v.report.Lines++
	v.report.Events[l.Kind]++
	v.coverage(file, number, l.Event)
	if l.Kind == Signed {
		v.signature(file, number, l, at)
	}
}

// signature verifies a line that signs for those before it.
func (v *verifier) signature(file string, number uint64, l line, at time.Time) {
	prev, err := warg.ParseDigest("sha256:" + l.Prev)
	if err != nil {
		v.find(file, number, "%v", err)
		return
	}
	by, err := l.signature(place{l.N - 1, prev})
	switch {
	case err != nil:
		v.find(file, number, "the signature for the lines before it does not hold: %v", err)
	case len(v.o.Keys) > 0 && !slices.Contains(v.o.Keys, by):
		v.find(file, number, "the lines before it are signed by key %s, which is none of this registry's that is known here", by)
	default:
		v.report.Signed, v.report.SignedAt, v.report.SignedBy = l.N-1, at, by
	}
}

// coverage compares the numbers of published records with what came before.
func (v *verifier) coverage(file string, number uint64, e Event) {
	r := &v.report
	switch {
	case !covers(e.Kind), e.Kind == Continued && e.Length == nil:
	case e.Kind == Published && e.Index == nil, e.Kind != Published && e.Length == nil:
		v.find(file, number, "it does not say which record it is about")
	case e.Kind == Published && !r.begun:
		v.find(file, number, "record %d was published before the log says what it covers", *e.Index)
		r.From, r.To, r.begun = *e.Index, *e.Index+1, true
	case e.Kind == Published:
		if *e.Index != r.To {
			v.find(file, number, "record %d comes after record %d", *e.Index, int64(r.To)-1)
		}
		r.To = *e.Index + 1
	case e.Kind == Begun && r.begun:
		v.find(file, number, "the log begins anew at record %d", *e.Length)
		r.To = *e.Length
	case !r.begun:
		r.From, r.To, r.begun = *e.Length, *e.Length, true
	case e.Kind == Continued && *e.Length != r.To:
		v.find(file, number, "it goes on at record %d, after record %d", *e.Length, int64(r.To)-1)
		r.To = *e.Length
	case e.Kind == Gap:
		v.find(file, number, "records %d to %d were published, and their lines are lost", r.To, int64(*e.Length)-1)
		r.To = *e.Length
	case e.Kind == Rewound:
		r.To = *e.Length
	}
}
