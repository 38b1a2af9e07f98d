package audit

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

const path = "/data/audit.log"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newMemory(t testing.TB) *durable.Memory {
	t.Helper()
	m := durable.NewMemory()
	must(t, durable.MkdirAll(m, "/data"))
	return m
}

// small options let files be full soon.
func small(fsys durable.FS) Options {
	at := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	return Options{Path: path, FS: fsys, Max: 1 << 10, Now: func() time.Time { at = at.Add(time.Second); return at }}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	must(t, err)
	return l
}

func published(index uint64) Event {
	return Event{Kind: Published, Index: Number(index), Package: "acme:tool", Record: fmt.Sprintf("sha256:%064x", index), Entries: "release 1.0.0"}
}

// fill makes a log over several files: what begins it, and records up to n.
func fill(t testing.TB, fsys durable.FS, n uint64) {
	t.Helper()
	l := open(t, small(fsys))
	must(t, l.Record(Event{Kind: Started, Version: "v1"}, Event{Kind: Begun, Length: Number(0)}))
	for i := range n {
		must(t, l.Record(published(i)))
	}
	must(t, l.Record(Event{Kind: Stopped}))
	must(t, l.Close())
}

func verify(t testing.TB, fsys durable.FS, known ...Mark) (Report, []Finding) {
	t.Helper()
	r, findings, err := Verify(VerifyOptions{Path: path, FS: fsys, Known: known})
	must(t, err)
	return r, findings
}

func sound(t testing.TB, fsys durable.FS) Report {
	t.Helper()
	r, findings := verify(t, fsys)
	for _, f := range findings {
		t.Errorf("a sound log: %v", f)
	}
	return r
}

func read(t testing.TB, fsys durable.FS, name string) []byte {
	t.Helper()
	b, err := durable.ReadFile(fsys, name, 1<<20)
	must(t, err)
	return b
}

func replace(t testing.TB, fsys durable.FS, name string, content []byte) {
	t.Helper()
	must(t, durable.Replace(fsys, name, content, nil))
}

func TestRecordAndReopen(t *testing.T) {
	m := newMemory(t)
	fill(t, m, 20)
	r := sound(t, m)
	if r.Files < 4 || r.From != 0 || r.To != 20 || r.Events[Published] != 20 || r.Events[Continued] != uint64(r.Files-1) || r.Last != r.Lines {
		t.Errorf("report %+v", r)
	}
	l := open(t, small(m))
	if length, ok := l.Covered(); !ok || length != 20 {
		t.Errorf("after reopening %d, %v are covered", length, ok)
	}
	must(t, l.Record(published(20)))
	must(t, l.Close())
	if again := sound(t, m); again.To != 21 || again.Lines < r.Lines+1 {
		t.Errorf("report %+v after %+v", again, r)
	}
}

func TestLines(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m, Now: func() time.Time { return time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC) }})
	must(t, l.Record(Event{Kind: Refused, Upstream: "wasi.example", Class: "signature", Reason: "a \"word\"\nand <more>"}))
	must(t, l.Record(published(7)))
	lines := strings.Split(strings.TrimSuffix(string(read(t, m, path)), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines", len(lines))
	}
	first := `{"prev":"` + strings.Repeat("0", 64) + `","n":1,"time":"2026-11-26T10:00:00Z","event":"refused","upstream":"wasi.example","class":"signature","reason":"a \"word\"\nand \u003cmore\u003e","sum":"`
	second := `{"prev":"` + warg.Sum([]byte(lines[0])).Hex() + `","n":2,"time":"2026-11-26T10:00:00Z","event":"published","package":"acme:tool",`
	if !strings.HasPrefix(lines[0], first) || !strings.HasPrefix(lines[1], second) {
		t.Errorf("lines\n%s\n%s\nwant\n%s\n%s", lines[0], lines[1], first, second)
	}
}

// TestTextsAreBounded: what a stranger chose cannot make a line that is not one.
func TestTextsAreBounded(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m})
	for _, text := range []string{strings.Repeat("é\x00<", 1<<16), "\xff\xfe", "\n\r\u2028", `","n":9,"`} {
		must(t, l.Record(Event{Kind: Refused, Upstream: text, Doing: text, Reason: text, Class: text, Evidence: text, About: text, Entries: text}))
	}
	worst := Event{Kind: Refused, Index: Number(1 << 63), Length: Number(1 << 63), Records: 1 << 63, Times: 1 << 63, Line: 1 << 63, Recovered: true}
	fields := reflect.ValueOf(&worst).Elem()
	for i := range fields.NumField() {
		if f := fields.Field(i); f.Kind() == reflect.String && f.String() == "" {
			f.SetString(strings.Repeat("\x00", 1<<16))
		}
	}
	must(t, l.Record(worst))
	if r := sound(t, m); r.Lines != 5 {
		t.Errorf("report %+v", r)
	}
}

// TestEveryChangeIsFound changes each byte of each file.
func TestEveryChangeIsFound(t *testing.T) {
	m := newMemory(t)
	fill(t, m, 8)
	numbers, err := rotated(m, path)
	must(t, err)
	names := []string{path}
	for _, n := range numbers {
		names = append(names, rotatedName(path, n))
	}
	if len(names) < 3 {
		t.Fatalf("only the files %v", names)
	}
	for _, name := range names {
		was := read(t, m, name)
		for i := range was {
			now := bytes.Clone(was)
			now[i] ^= 1 << (i % 8)
			replace(t, m, name, now)
			// What looks like an unfinished write is one only behind all good lines,
			// and then the last lines are missing.
			r, findings := verify(t, m, Mark{Line: 14, Hash: lastHash(t, was)})
			if len(findings) == 0 && r.Torn == 0 {
				t.Fatalf("byte %d of %s can be changed", i, name)
			}
			if len(findings) == 0 {
				t.Fatalf("byte %d of %s can be changed, with the last line noted elsewhere", i, name)
			}
		}
		replace(t, m, name, was)
	}
	sound(t, m)
}

func lastHash(t testing.TB, content []byte) warg.Digest {
	t.Helper()
	lines := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
	return warg.Sum(lines[len(lines)-1])
}

// TestEveryLossIsFound removes, doubles and exchanges lines and files.
func TestEveryLossIsFound(t *testing.T) {
	m := newMemory(t)
	fill(t, m, 12)
	numbers, err := rotated(m, path)
	must(t, err)
	whole := sound(t, m)
	for _, number := range numbers {
		name := rotatedName(path, number)
		was := read(t, m, name)
		lines := bytes.SplitAfter(was, []byte("\n"))
		lines = lines[:len(lines)-1]
		for i := range lines {
			for what, changed := range map[string][][]byte{
				"removed":   append(append([][]byte{}, lines[:i]...), lines[i+1:]...),
				"doubled":   append(append([][]byte{}, lines[:i+1]...), lines[i:]...),
				"exchanged": exchanged(lines, i, (i+1)%len(lines)),
				"cut here":  lines[:i],
			} {
				if len(changed) == len(lines) && bytes.Equal(bytes.Join(changed, nil), was) {
					continue
				}
				replace(t, m, name, bytes.Join(changed, nil))
				if _, findings := verify(t, m); len(findings) == 0 {
					t.Errorf("line %d of %s can be %s", i+1, name, what)
				}
			}
		}
		must(t, m.Remove(name))
		if _, findings := verify(t, m); len(findings) == 0 {
			t.Errorf("%s can be removed", name)
		}
		replace(t, m, name, was)
	}
	if r := sound(t, m); r.Lines != whole.Lines {
		t.Errorf("%d lines of %d", r.Lines, whole.Lines)
	}
}

func exchanged(lines [][]byte, i, j int) [][]byte {
	out := append([][]byte{}, lines...)
	out[i], out[j] = out[j], out[i]
	return out
}

// TestLastLinesAreNoted: the chain cannot show that its last lines are missing; what
// was noted elsewhere does.
func TestLastLinesAreNoted(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m})
	for i := range uint64(5) {
		must(t, l.Record(published(i)))
	}
	r, _ := verify(t, m)
	hash, err := warg.ParseDigest(r.Head)
	must(t, err)
	noted := Mark{Line: r.Last, Hash: hash}
	if _, findings := verify(t, m, noted); len(findings) != 1 { // no line begins the log
		t.Errorf("findings %v", findings)
	}
	was := read(t, m, path)
	replace(t, m, path, was[:bytes.LastIndexByte(was[:len(was)-1], '\n')+1])
	if _, findings := verify(t, m, noted); len(findings) != 2 {
		t.Errorf("without the last line: %v", findings)
	}
	replace(t, m, path, was)
	noted.Hash[0]++
	if _, findings := verify(t, m, noted); len(findings) != 2 {
		t.Errorf("with another line noted: %v", findings)
	}
}

// TestTornEnd cuts the last write at every byte, and leaves a page of zeros in it.
func TestTornEnd(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m})
	must(t, l.Record(Event{Kind: Begun, Length: Number(0)}, published(0)))
	good := len(read(t, m, path))
	must(t, l.Record(published(1), published(2)))
	must(t, l.Close())
	was := read(t, m, path)
	for cut := good; cut < len(was); cut++ {
		zeros := append(bytes.Clone(was[:cut]), make([]byte, len(was)-cut)...)
		for what, left := range map[string][]byte{"cut": was[:cut], "zeros behind": zeros} {
			replace(t, m, path, left)
			if _, findings := verify(t, m); len(findings) > 0 {
				t.Fatalf("%s %d: %v", what, cut, findings)
			}
			again := open(t, Options{Path: path, FS: m})
			covered, _ := again.Covered()
			must(t, again.Record(published(covered)))
			must(t, again.Close())
			if r := sound(t, m); r.Torn != 0 || r.To != covered+1 || covered < 1 || covered > 2 {
				t.Fatalf("%s %d: covered %d, then %+v", what, cut, covered, r)
			}
		}
	}
	replace(t, m, path, append(bytes.Clone(was), "no line\n"...))
	if _, findings := verify(t, m); len(findings) != 1 || findings[0].Line != 5 {
		t.Errorf("a foreign line at the end: %v", findings)
	}
}

// TestDamageIsSetAside: a damaged file stays as it is, and the log goes on.
func TestDamageIsSetAside(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m})
	must(t, l.Record(Event{Kind: Begun, Length: Number(0)}, published(0), published(1), published(2)))
	must(t, l.Close())
	was := read(t, m, path)
	damaged := bytes.Replace(was, []byte("1.0.0"), []byte("1.0.1"), 1)
	replace(t, m, path, damaged)
	for range 3 { // and it is set aside once
		l := open(t, Options{Path: path, FS: m})
		must(t, l.Record(Event{Kind: Started}))
		must(t, l.Close())
	}
	if now := read(t, m, path+".000001"); !bytes.Equal(now, damaged) {
		t.Error("the damaged file was changed")
	}
	r, findings := verify(t, m)
	if len(findings) != 1 || findings[0].File != path+".000001" || findings[0].Line != 2 {
		t.Errorf("findings %v", findings)
	}
	if r.Events[Damaged] != 1 || r.Events[Started] != 3 || r.Files != 2 {
		t.Errorf("report %+v", r)
	}
}

// TestNoSpace: what finds no space is kept, and is written first afterwards.
func TestNoSpace(t *testing.T) {
	m := newMemory(t)
	l := open(t, Options{Path: path, FS: m})
	must(t, l.Record(Event{Kind: Begun, Length: Number(0)}))
	m.SetFree(10)
	for i := range uint64(3) {
		if err := l.Record(published(i)); !errors.Is(err, ErrNoSpace) {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if !l.Behind() {
		t.Error("nothing waits")
	}
	if r := sound(t, m); r.Lines != 1 || r.Torn != 0 {
		t.Errorf("on a full disk %+v", r)
	}
	m.SetFree(1 << 20)
	must(t, l.Flush())
	must(t, l.Record(published(3)))
	if r := sound(t, m); r.To != 4 || l.Behind() {
		t.Errorf("afterwards %+v", r)
	}
	if length, _ := l.Covered(); length != 4 {
		t.Errorf("%d are covered", length)
	}
}

// TestErrorsAreFinal: after any other error nothing is written any more.
func TestErrorsAreFinal(t *testing.T) {
	for _, op := range []durable.Op{durable.OpWrite, durable.OpDatasync, durable.OpSyncDir, durable.OpCreate} {
		fault := durable.NewFault(newMemory(t))
		l := open(t, Options{Path: path, FS: fault})
		fault.SetPlan(durable.Plan{At: 1, Match: func(o durable.Op, _ string) bool { return o == op }, Err: syscall.EIO})
		if err := l.Record(Event{Kind: Started}); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", op, err)
		}
		select {
		case <-l.Failed():
		default:
			t.Errorf("%s: the log has not failed", op)
		}
		if err := l.Record(Event{Kind: Started}); !errors.Is(err, syscall.EIO) || l.Err() == nil {
			t.Errorf("%s: it is tried again: %v", op, err)
		}
	}
	// The same errno from a sync is as final as any other.
	fault := durable.NewFault(newMemory(t))
	l := open(t, Options{Path: path, FS: fault})
	fault.SetPlan(durable.Plan{At: 1, Match: func(o durable.Op, _ string) bool { return o == durable.OpDatasync }, Err: syscall.ENOSPC})
	if err := l.Record(Event{Kind: Started}); errors.Is(err, ErrNoSpace) || l.Err() == nil {
		t.Errorf("no space in a sync: %v", err)
	}
}

// TestOneSync counts what a batch costs.
func TestOneSync(t *testing.T) {
	fault := durable.NewFault(newMemory(t))
	l := open(t, Options{Path: path, FS: fault})
	must(t, l.Record(Event{Kind: Begun, Length: Number(0)}))
	before := fault.Counts()
	events := make([]Event, 1024)
	for i := range events {
		events[i] = published(uint64(i))
	}
	must(t, l.Record(events...))
	after := fault.Counts()
	for op, want := range map[durable.Op]int{durable.OpWrite: 1, durable.OpDatasync: 1, durable.OpSync: 0, durable.OpSyncDir: 0} {
		if n := after[op] - before[op]; n != want {
			t.Errorf("a batch makes %d calls of %s, want %d", n, op, want)
		}
	}
}

// TestPowerCutAtEveryCall ends a log at every call, over the change of files, loses what
// was not synced or keeps some of it, and goes on twice.
func TestPowerCutAtEveryCall(t *testing.T) {
	const records = 12
	for seed := range uint64(4) {
		for at := 1; ; at++ {
			m := newMemory(t)
			fault := durable.NewFault(m)
			fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
			acked := until(fault, 0, records)
			for life := range uint64(2) {
				m = m.Crash(chance(seed, uint64(at), life))
				fault = durable.NewFault(m)
				fault.SetPlan(durable.Plan{At: at, Outcome: durable.Killed})
				if left := coveredBy(t, m); left < acked {
					t.Fatalf("seed %d, call %d: %d are left of %d", seed, at, left, acked)
				}
				acked = until(fault, acked, records)
			}
			m = m.Crash(nil)
			if left := coveredBy(t, m); left < acked {
				t.Fatalf("seed %d, call %d: in the end %d are left of %d", seed, at, left, acked)
			}
			if t.Failed() {
				t.Fatalf("seed %d, call %d", seed, at)
			}
			if acked == records && at > 60 {
				break
			}
		}
	}
}

// coveredBy verifies a log, which may not be there yet, and returns what it covers.
func coveredBy(t testing.TB, fsys durable.FS) uint64 {
	t.Helper()
	there, err := durable.Exists(fsys, path)
	must(t, err)
	numbers, err := rotated(fsys, path)
	must(t, err)
	if !there && len(numbers) == 0 {
		return 0
	}
	return sound(t, fsys).To
}

func chance(seed ...uint64) *rand.Rand {
	if seed[0] == 0 {
		return nil // everything that was not synced is lost
	}
	return rand.New(rand.NewPCG(seed[0], seed[1]<<8|seed[2]))
}

// until opens a log and records until the plug is pulled. It returns what was promised.
func until(fsys durable.FS, acked, records uint64) uint64 {
	l, err := Open(small(fsys))
	if err != nil {
		return acked
	}
	covered, begun := l.Covered()
	if !begun && l.Record(Event{Kind: Begun, Length: Number(0)}) != nil {
		return acked
	}
	acked = max(acked, covered)
	for ; covered < records; covered++ {
		if l.Record(published(covered)) != nil {
			return acked
		}
		acked = covered + 1
	}
	return acked
}

func TestCoverage(t *testing.T) {
	length := func(k Kind, n uint64) Event { return Event{Kind: k, Length: Number(n)} }
	for name, c := range map[string]struct {
		events []Event
		bad    int
	}{
		"an old registry":   {[]Event{length(Begun, 100), published(100), published(101)}, 0},
		"a restored one":    {[]Event{length(Begun, 0), published(0), published(1), length(Rewound, 1), published(1)}, 0},
		"lost lines":        {[]Event{length(Begun, 0), published(0), length(Gap, 9), published(9)}, 1},
		"a hole":            {[]Event{length(Begun, 0), published(0), published(2)}, 1},
		"twice":             {[]Event{length(Begun, 0), published(0), published(0)}, 1},
		"no beginning":      {[]Event{published(3), published(4)}, 1},
		"two beginnings":    {[]Event{length(Begun, 0), length(Begun, 5)}, 1},
		"without a number":  {[]Event{length(Begun, 0), {Kind: Published}}, 1},
		"of unknown kind":   {[]Event{{Kind: "danced"}}, 1},
		"continued wrongly": {[]Event{length(Begun, 0), length(Continued, 3)}, 1},
	} {
		m := newMemory(t)
		l := open(t, Options{Path: path, FS: m})
		must(t, l.Record(c.events...))
		if _, findings := verify(t, m); len(findings) != c.bad {
			t.Errorf("%s: findings %v", name, findings)
		}
	}
}

func TestNilRecordsNothing(t *testing.T) {
	var l *Log
	_, begun := l.Covered()
	if l.Record(Event{Kind: Started}) != nil || l.Flush() != nil || l.Close() != nil || l.Err() != nil || l.Behind() || begun || l.Syncs() != 0 || l.Failed() != nil {
		t.Error("a log that is not there does something")
	}
}

func TestVerifyNothing(t *testing.T) {
	if _, _, err := Verify(VerifyOptions{Path: path, FS: newMemory(t)}); err == nil {
		t.Error("no log is a sound log")
	}
}

// FuzzParseLine: what is read is written the same way again, and has its place.
func FuzzParseLine(f *testing.F) {
	var p place
	for _, e := range []Event{{Kind: Started, Version: "v1"}, published(3), {Kind: Fenced, Fence: "clock", Reason: "é\n\""}} {
		text, err := p.appendLine(nil, time.Unix(1, 5), e)
		must(f, err)
		f.Add(text[:len(text)-1])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLine(text)
		if err != nil {
			return
		}
		again, err := l.text()
		must(t, err)
		if !bytes.Equal(again, text) {
			t.Errorf("%q becomes %q", text, again)
		}
	})
}

// FuzzScan: whatever is in a file, reading it ends, and what is good before the damage
// is a chain.
func FuzzScan(f *testing.F) {
	var p place
	var text []byte
	for i := range uint64(3) {
		var err error
		text, err = p.appendLine(text, time.Unix(1, 0), published(i))
		must(f, err)
	}
	f.Add(text)
	f.Add(text[:len(text)-9])
	f.Add(append(bytes.Clone(text), 0, 0, '\n'))
	f.Fuzz(func(t *testing.T, content []byte) {
		var p place
		e, err := p.scan(bytes.NewReader(content), nil)
		must(t, err)
		if e.size+e.torn != int64(len(content)) || p.n != e.lines {
			t.Errorf("%+v of %d bytes", e, len(content))
		}
		var again place
		if e2, err := again.scan(bytes.NewReader(content[:e.size]), nil); err != nil || e2.torn != 0 || again != p {
			t.Errorf("the good part is not good: %+v, %v", e2, err)
		}
	})
}
