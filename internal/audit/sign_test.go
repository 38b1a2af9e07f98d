package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// days is a clock that is set by hand, and options over it.
func days(fsys durable.FS) (*time.Time, Options) {
	at := time.Date(2026, 11, 26, 23, 59, 0, 0, time.UTC)
	return &at, Options{Path: path, FS: fsys, Now: func() time.Time { return at }}
}

func signer() Signer { return Signer{Domain: "own.example", Key: wargtest.Alice()} }

func verifyKeys(t *testing.T, fsys durable.FS, keys ...warg.KeyID) (Report, []Finding) {
	t.Helper()
	r, findings, err := Verify(VerifyOptions{Path: path, FS: fsys, Keys: keys})
	must(t, err)
	return r, findings
}

// TestDailyHeadIsSigned: the first line and then one a day is signed for, in the same
// write, across restarts, and at the end of a day with nothing after it.
func TestDailyHeadIsSigned(t *testing.T) {
	m := newMemory(t)
	at, o := days(m)
	l := open(t, o)
	must(t, l.Daily()) // nobody signs, and there is nothing
	l.SignWith(signer())
	must(t, l.Daily())
	must(t, l.Record(Event{Kind: Started}, Event{Kind: Begun, Length: Number(0)})) // lines 1, 2, signed by 3
	if n := l.Syncs(); n != 2 {
		t.Errorf("%d syncs, want one of the file and one of its folder", n)
	}
	must(t, l.Record(published(0))) // line 4
	must(t, l.Daily())
	if r, findings := verifyKeys(t, m, wargtest.Alice().Public().ID()); r.Signed != 2 || r.Last != 4 || len(findings) > 0 {
		t.Errorf("on the first day: %+v, %v", r, findings)
	}
	must(t, l.Close())
	l = open(t, o) // on the same day
	l.SignWith(signer())
	must(t, l.Record(published(1))) // line 5
	*at = at.Add(2 * time.Minute)   // the next day
	must(t, l.Daily())              // line 6
	*at = at.Add(24 * time.Hour)
	must(t, l.Daily()) // nothing was recorded since
	if r, findings := verifyKeys(t, m, wargtest.Alice().Public().ID()); r.Signed != 5 || r.Last != 6 || len(findings) > 0 || r.Events[Signed] != 2 {
		t.Errorf("on the second day: %+v, %v", r, findings)
	}
	must(t, l.Record(published(2))) // line 7, signed by 8
	r, findings := verifyKeys(t, m, wargtest.Bob().Public().ID(), wargtest.Alice().Public().ID())
	if r.Signed != 7 || r.SignedBy != wargtest.Alice().Public().ID() || !r.SignedAt.Equal(*at) || len(findings) > 0 {
		t.Errorf("on the third day: %+v, %v", r, findings)
	}
	if _, findings := verifyKeys(t, m, wargtest.Bob().Public().ID()); len(findings) != 3 || !strings.Contains(findings[0].Reason, "is none of this registry's") {
		t.Errorf("by another key: %v", findings)
	}
	must(t, l.Close())
}

// TestForgedSignatures: who can write the file, and make every chain and check right
// again, cannot have the key sign for other lines.
func TestForgedSignatures(t *testing.T) {
	m := newMemory(t)
	_, o := days(m)
	l := open(t, o)
	l.SignWith(signer())
	must(t, l.Record(Event{Kind: Started}, Event{Kind: Begun, Length: Number(0)}, published(0)))
	must(t, l.Record(published(1)))
	must(t, l.Close())
	events := eventsOf(t, m)
	if len(events) != 5 || events[3].Kind != Signed {
		t.Fatalf("the log has %d lines", len(events))
	}
	mallory := Signer{Domain: "own.example", Key: wargtest.Bob()}
	for name, change := range map[string]func([]line) []line{
		"as it was":           func(l []line) []line { return l },
		"another record":      func(l []line) []line { l[2].Record = "sha256:" + strings.Repeat("1", 64); return l },
		"a line left out":     func(l []line) []line { return append(l[:0:0], l[1:]...) },
		"another domain":      func(l []line) []line { l[3].Domain = "other.example"; return l },
		"another time":        func(l []line) []line { l[3].Time = "2026-11-27T00:00:00Z"; return l },
		"moved":               func(l []line) []line { l[3], l[4] = l[4], l[3]; return l },
		"another key's name":  func(l []line) []line { l[3].Key = string(mallory.Key.Public().ID()); return l },
		"another key":         func(l []line) []line { l[3].PublicKey = mallory.Key.Public().String(); return l },
		"no signature":        func(l []line) []line { l[3].Signature = ""; return l },
		"signed by no friend": func(l []line) []line { l[3].Event = Event{Kind: Signed}; return l },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemory(t)
			rewrite(t, m, change(append([]line(nil), events...)), mallory)
			r, findings := verifyKeys(t, m, wargtest.Alice().Public().ID())
			if good := name == "as it was"; good != (len(findings) == 0) || good != (r.Signed == 3) {
				t.Errorf("signed for %d lines; findings %v", r.Signed, findings)
			}
		})
	}
}

// eventsOf returns the lines of a log.
func eventsOf(t *testing.T, m *durable.Memory) (all []line) {
	t.Helper()
	for text := range strings.Lines(m.Tree("/data")[path]) {
		l, err := parseLine([]byte(strings.TrimSuffix(text, "\n")))
		must(t, err)
		all = append(all, l)
	}
	return all
}

// rewrite writes lines as a chain of its own; one that signs without saying by whom is
// signed by s.
func rewrite(t *testing.T, m *durable.Memory, lines []line, s Signer) {
	t.Helper()
	var text []byte
	var p place
	for _, l := range lines {
		at, err := time.Parse(time.RFC3339Nano, l.Time)
		must(t, err)
		if l.Kind == Signed && l.Key == "" {
			l.Event = s.signedLine(p, at)
		}
		text, err = p.appendLine(text, at, l.Event)
		must(t, err)
	}
	must(t, durable.Replace(m, path, text, nil))
}
