package authority

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// outcome publishes and says how that ended: the kind of the refusal, or the state.
func outcome(t *testing.T, a *Authority, req warg.PublishRequest) string {
	t.Helper()
	_, err := a.Publish(t.Context(), req)
	if err != nil {
		for kind, name := range map[warg.Kind]string{
			warg.KindUnauthorized: "unauthorized", warg.KindBadRequest: "bad request", warg.KindConflict: "conflict", warg.KindRejected: "rejected",
		} {
			if isKind(err, kind) {
				return name
			}
		}
		return err.Error()
	}
	return settled(t, a, req).State.String()
}

// TestC09NameConfusion: path, name and record must mean one package before anything is
// written, and a record belongs to one log for ever.
func TestC09NameConfusion(t *testing.T) {
	a, _ := memory(t, nil)
	names := []string{"test:one", "test:two", "test:one-two", "test:o-ne", "undefined:one"}
	_, published := first("test:one", nil)
	publish(t, a, published)
	settled(t, a, published)
	before := length(t, a)
	for _, name := range names {
		for _, path := range names {
			for _, record := range []warg.Envelope{published.Record, firstRecord(wargtest.NewPackage(name), nil)} {
				req := warg.PublishRequest{LogID: wargtest.Name(path).LogID(), Name: wargtest.Name(name), Record: record}
				same := record.PackageRecordID() == published.Record.PackageRecordID()
				switch {
				case name != path:
					if got := outcome(t, a, req); got != "bad request" {
						t.Errorf("%s on the path of %s: %s", name, path, got)
					}
				case name != "test:one" && same:
					if got := outcome(t, a, req); got != "conflict" {
						t.Errorf("the record of another package as %s: %s", name, got)
					}
				}
			}
		}
	}
	if length(t, a) != before {
		t.Errorf("the log grew from %d to %d", before, length(t, a))
	}
	for _, text := range []string{"test:One", "Test:one", "test:one ", "test:öne", "test:one\x00", "test:one:two", "test", ":one", "test:", "test:-one", "test:one-", "test:o--ne", "test:ｏne"} {
		if _, err := warg.ParsePackageName(text); err == nil {
			t.Errorf("%q is a name", text)
		}
	}
	audit(t, a)
}

// keyState is a key in a state that a package log can put it in.
type keyState struct {
	name           string
	key            warg.PrivateKey
	release, yank  bool
	forged, beyond bool // another key signs in its name; it belongs elsewhere
}

// keyedPackage publishes a package with keys in all states.
func keyedPackage(t *testing.T, a *Authority, name string) (*wargtest.Package, []keyState) {
	t.Helper()
	bob, key := wargtest.Bob(), wargtest.Stranger
	both := []pkglog.Permission{pkglog.PermissionRelease, pkglog.PermissionYank}
	p := wargtest.NewPackage(name)
	records := [][]pkglog.Entry{
		{wargtest.Init(bob), wargtest.Grant(key("release").Public(), both[0]), wargtest.Grant(key("yank").Public(), both[1]), wargtest.Grant(key("both").Public(), both...)},
		{wargtest.Grant(key("lost-release").Public(), both...), wargtest.Grant(key("lost-yank").Public(), both...), wargtest.Grant(key("lost-both").Public(), both...), wargtest.Grant(key("back").Public(), both[0])},
		{wargtest.Revoke(key("lost-release").Public().ID(), both[0]), wargtest.Revoke(key("lost-yank").Public().ID(), both[1]), wargtest.Revoke(key("lost-both").Public().ID(), both...), wargtest.Revoke(key("back").Public().ID(), both[0])},
		{wargtest.Grant(key("back").Public(), both[0])},
	}
	for _, entries := range records {
		req := p.Request(p.Next(bob, entries...))
		publish(t, a, req)
		if st := settled(t, a, req); st.State != warg.StatePublished {
			t.Fatalf("making %s: %+v", name, st)
		}
	}
	return p, []keyState{
		{name: "first", key: bob, release: true, yank: true},
		{name: "granted release", key: key("release"), release: true},
		{name: "granted yank", key: key("yank"), yank: true},
		{name: "granted both", key: key("both"), release: true, yank: true},
		{name: "lost release", key: key("lost-release"), yank: true},
		{name: "lost yank", key: key("lost-yank"), release: true},
		{name: "lost both", key: key("lost-both"), beyond: true},
		{name: "granted again", key: key("back"), release: true},
		{name: "unknown", key: key("nobody"), beyond: true},
		{name: "of the operator", key: wargtest.Alice(), beyond: true},
		{name: "of another package", key: key("elsewhere"), beyond: true},
		{name: "forged", key: bob, forged: true},
	}
}

// TestC10KeyStates: what a key may do is what its package's log says, for every state of
// a key and every kind of entry. Nothing of a refused record stays.
func TestC10KeyStates(t *testing.T) {
	a, _ := memory(t, nil)
	elsewhere := wargtest.NewPackage("test:elsewhere")
	begin := elsewhere.Request(elsewhere.Next(wargtest.Stranger("elsewhere"), wargtest.Init(wargtest.Stranger("elsewhere"))))
	publish(t, a, begin)
	settled(t, a, begin)
	content := wargtest.Component("content")
	other, both := wargtest.Stranger("other").Public(), wargtest.Stranger("both").Public().ID()
	kinds := []struct {
		name    string
		entry   func(k keyState) pkglog.Entry
		allowed func(k keyState) bool
	}{
		{"init", func(k keyState) pkglog.Entry { return wargtest.Init(k.key) }, func(keyState) bool { return false }},
		{"grant", func(keyState) pkglog.Entry { return wargtest.Grant(other, pkglog.PermissionRelease) }, func(k keyState) bool { return k.release }},
		{"release", func(keyState) pkglog.Entry { return wargtest.Release("0.2.0", content) }, func(k keyState) bool { return k.release }},
		{"yank", func(keyState) pkglog.Entry { return wargtest.Yank("0.1.0") }, func(k keyState) bool { return k.yank }},
		{"revoke", func(keyState) pkglog.Entry { return wargtest.Revoke(both, pkglog.PermissionYank) }, func(k keyState) bool { return k.yank }},
	}
	cells, published := 0, 0
	_, list := keyedPackage(t, a, "test:keyed")
	for i := range list {
		p, states := keyedPackage(t, a, fmt.Sprintf("test:keyed%d", i))
		k := states[i]
		ready := p.Request(p.Next(wargtest.Bob(), wargtest.Release("0.1.0", content)))
		if publish(t, a, ready).State == warg.StateSourcing {
			upload(t, a, ready, content)
		}
		settled(t, a, ready)
		for _, kind := range kinds {
			cells++
			before := length(t, a)
			if kind.allowed(k) && !k.forged {
				published++
				if got := outcome(t, a, p.Request(p.Next(k.key, kind.entry(k)))); got != warg.StatePublished.String() {
					t.Fatalf("%s by a key that is %s: %s", kind.name, k.name, got)
				}
				continue
			}
			env := p.Fork().Next(k.key, kind.entry(k))
			if k.forged {
				env.Signature = p.Fork().Next(wargtest.Stranger("forger"), kind.entry(k)).Signature
			}
			got := outcome(t, a, p.Request(env))
			early := k.beyond || k.forged // known before anything is stored
			if early && got != "unauthorized" || !early && got != "unauthorized" && got != warg.StateRejected.String() || length(t, a) != before {
				t.Errorf("%s by a key that is %s: %s", kind.name, k.name, got)
			}
		}
	}
	if len(list) != 12 || cells != 60 || published != 18 {
		t.Errorf("%d states of keys, %d cells, %d allowed", len(list), cells, published)
	}
	audit(t, a)
}

// highS returns the other signature that ECDSA has for the same key and content.
func highS(t *testing.T, sig warg.Signature) warg.Signature {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sig.String(), "ecdsa-p256:"))
	must(t, err)
	var v struct{ R, S *big.Int }
	_, err = asn1.Unmarshal(der, &v)
	must(t, err)
	n, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16) // the order of P-256
	v.S.Sub(n, v.S)
	der, err = asn1.Marshal(v)
	must(t, err)
	other, err := warg.ParseSignature("ecdsa-p256:" + base64.StdEncoding.EncodeToString(der))
	must(t, err)
	return other
}

// stateHash covers all that anybody can ask the registry for.
func stateHash(t *testing.T, a *Authority, known []warg.PublishRequest) string {
	t.Helper()
	h := sha256.New()
	v, err := a.Checkpoint(t.Context())
	must(t, err)
	ledger, err := a.Ledger(t.Context(), 0, 1000)
	must(t, err)
	pending, _ := a.pool.count()
	fmt.Fprintf(h, "%+v %x %d", v, ledger, pending)
	for _, req := range known {
		st, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID())
		fmt.Fprintf(h, "%+v %v", st, err)
		page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: v.Checkpoint.LogLength, Packages: []warg.LogCursor{{LogID: req.LogID}}})
		fmt.Fprintf(h, "%+v %v", page, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestC11Replay: after every step of a story, everything that was ever submitted is
// submitted again, with the signature it had and with its other one. Each time the
// answer is the record's state, and nothing changes.
func TestC11Replay(t *testing.T) {
	a, _ := memory(t, nil)
	bob, content := wargtest.Bob(), wargtest.Component("content")
	var known []warg.PublishRequest
	replays := 0
	step := func(req warg.PublishRequest) {
		t.Helper()
		known = append(known, req)
		want := stateHash(t, a, known)
		for _, req := range known {
			state, err := a.Record(t.Context(), req.LogID, req.Record.PackageRecordID())
			must(t, err)
			forged := req
			forged.Record.Signature = highS(t, req.Record.Signature)
			for _, again := range []warg.PublishRequest{req, forged} {
				replays++
				if st, err := a.Publish(t.Context(), again); err != nil || fmt.Sprintf("%+v", st) != fmt.Sprintf("%+v", state) {
					t.Errorf("replayed: %+v, %v; it is %+v", st, err, state)
				}
			}
		}
		if got := stateHash(t, a, known); got != want {
			t.Errorf("replays changed the state after %d records", len(known))
		}
	}
	p, begin := first("test:replayed", nil)
	publish(t, a, begin)
	settled(t, a, begin)
	step(begin)
	waits := p.Request(p.Next(bob, wargtest.Release("1.0.0", content)))
	publish(t, a, waits)
	step(waits)
	upload(t, a, waits, content)
	settled(t, a, waits)
	yanked := p.Request(p.Next(bob, wargtest.Yank("1.0.0")))
	publish(t, a, yanked)
	settled(t, a, yanked)
	step(yanked)
	refused := p.Request(p.Fork().Next(bob, wargtest.Yank("9.9.9")))
	publish(t, a, refused)
	if st := settled(t, a, refused); st.State != warg.StateRejected {
		t.Fatalf("a yank of nothing: %+v", st)
	}
	step(refused)
	if replays != 2*(1+2+3+4) {
		t.Errorf("%d replays", replays)
	}
	audit(t, a)
}

// TestC12Times: what a record may say about its time.
func TestC12Times(t *testing.T) {
	a, c := memory(t, nil)
	bob := wargtest.Bob()
	now := warg.TimestampOf(c.Now())
	rows := []struct {
		name string
		time warg.Timestamp
		ok   bool
	}{
		{"now", now, true},
		{"two minutes ahead", warg.Timestamp{Seconds: now.Seconds + 120, Nanos: now.Nanos}, true},
		{"a second more", warg.Timestamp{Seconds: now.Seconds + 121, Nanos: now.Nanos}, false},
		{"a nanosecond more", warg.Timestamp{Seconds: now.Seconds + 120, Nanos: now.Nanos + 1}, false},
		{"tomorrow", warg.Timestamp{Seconds: now.Seconds + 86400}, false},
		{"year 9999", warg.Timestamp{Seconds: 253402300799}, false},
		{"year 10000", warg.Timestamp{Seconds: 253402300800}, false},
		{"the end of numbers", warg.Timestamp{Seconds: 1<<63 - 1, Nanos: 999_999_999}, false},
		{"the beginning of numbers", warg.Timestamp{Seconds: -1 << 63}, false},
		// Nanoseconds of more than a second carry, as in the reference, and count.
		{"a second of nanoseconds", warg.Timestamp{Seconds: now.Seconds, Nanos: 1_000_000_000}, true},
		{"negative nanoseconds", warg.Timestamp{Seconds: now.Seconds, Nanos: -1}, true},
		{"ahead by nanoseconds", warg.Timestamp{Seconds: now.Seconds + 119, Nanos: 1<<31 - 1}, false},
		{"the end of numbers by nanoseconds", warg.Timestamp{Seconds: 1<<63 - 1, Nanos: 1<<31 - 1}, false},
		{"the beginning of numbers by nanoseconds", warg.Timestamp{Seconds: -1 << 63, Nanos: -1 << 31}, false},
	}
	for i, row := range rows {
		p := wargtest.NewPackage(fmt.Sprintf("test:time%d", i))
		req := p.Request(pkglog.Record{Time: row.time, Entries: []pkglog.Entry{wargtest.Init(bob)}}.Sign(bob))
		before := length(t, a)
		if got := outcome(t, a, req); (got == warg.StatePublished.String()) != row.ok || !row.ok && length(t, a) != before {
			t.Errorf("%s: %s", row.name, got)
		}
	}
	// A record is not older than the one it follows.
	p := wargtest.NewPackage("test:older")
	begin := p.Request(pkglog.Record{Time: now, Entries: []pkglog.Entry{wargtest.Init(wargtest.Stranger("older"))}}.Sign(wargtest.Stranger("older")))
	publish(t, a, begin)
	settled(t, a, begin)
	head := warg.Digest(begin.Record.PackageRecordID()).AnyHash()
	older := pkglog.Record{Prev: &head, Time: warg.Timestamp{Seconds: now.Seconds - 1, Nanos: now.Nanos}, Entries: []pkglog.Entry{wargtest.Grant(wargtest.Alice().Public(), pkglog.PermissionYank)}}
	if got := outcome(t, a, p.Request(older.Sign(wargtest.Stranger("older")))); got == warg.StatePublished.String() {
		t.Error("a record that is older than its predecessor is published")
	}
	same := pkglog.Record{Prev: &head, Time: now, Entries: []pkglog.Entry{wargtest.Grant(wargtest.Alice().Public(), pkglog.PermissionYank)}}
	if got := outcome(t, a, p.Request(same.Sign(wargtest.Stranger("older")))); got != warg.StatePublished.String() {
		t.Errorf("a record of the same time: %s", got)
	}
	audit(t, a)
}

// TestC15Floods: a flood of records that wait for content is bounded by key and in all,
// leaves others alone, goes away by itself, and wrong bytes decide nothing.
func TestC15Floods(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	o.Limits.PendingPerKey, o.Limits.Pending = 8, 20
	o.byHand = true
	a := open(t, o)
	accepted, tooMany, full := 0, 0, 0
	for i := range 100 {
		key := wargtest.Stranger(fmt.Sprint("flood", i%5))
		p := wargtest.NewPackage(fmt.Sprintf("test:flood%d", i))
		req := p.Request(p.Next(key, wargtest.Init(key), wargtest.Release("1.0.0", fmt.Append(nil, i))))
		_, err := a.Publish(t.Context(), req)
		switch {
		case err == nil:
			accepted++
		case isKind(err, warg.KindTooMany):
			tooMany++
		case isKind(err, warg.KindUnavailable):
			full++
		default:
			t.Fatal(err)
		}
	}
	if accepted != 20 || tooMany+full != 80 || full == 0 {
		t.Errorf("%d accepted, %d too many of a key, %d in all", accepted, tooMany, full)
	}
	c.Add(defaultPendingTTL + time.Minute)
	_, err := a.expire(c.Now())
	must(t, err)
	if n, _ := a.pool.count(); n != 0 {
		t.Errorf("%d still wait after their time", n)
	}
	content := wargtest.Component("right")
	_, honest := first("test:honest", content)
	publish(t, a, honest)
	for range 50 {
		err := a.Upload(t.Context(), honest.LogID, honest.Record.PackageRecordID(), warg.Sum(content), strings.NewReader("wrong"))
		if !isKind(err, warg.KindBadRequest) {
			t.Fatalf("wrong bytes: %v", err)
		}
	}
	upload(t, a, honest, content)
	_, err = a.turn()
	must(t, err)
	if st := publish(t, a, honest); st.State != warg.StatePublished {
		t.Errorf("an honest record ends up %+v", st)
	}
	audit(t, a)
}

// TestC21ProofBounds: proofs of anything that may be asked for, within bounds, and an
// error of the protocol beyond them.
func TestC21ProofBounds(t *testing.T) {
	a, _ := memory(t, nil)
	for i := range 5 {
		_, req := first(fmt.Sprintf("test:proof%d", i), nil)
		publish(t, a, req)
		settled(t, a, req)
	}
	const end = 6
	if length(t, a) != end {
		t.Fatalf("length %d", length(t, a))
	}
	edges := []uint64{0, 1, 2, 5, 6, 7, 1 << 31, 1 << 32, 1 << 62, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	asked := 0
	answer := func(what string, ok bool, err error) {
		t.Helper()
		asked++
		var e *warg.Error
		switch {
		case ok && err != nil:
			t.Errorf("%s: %v", what, err)
		case !ok && (err == nil || !errors.As(err, &e) || e.Kind == warg.KindInternal):
			t.Errorf("%s: %v; want an error of the protocol", what, err)
		}
	}
	for _, from := range edges {
		for _, to := range edges {
			_, err := a.Consistency(t.Context(), from, to)
			answer(fmt.Sprintf("consistency %d to %d", from, to), from > 0 && from <= to && to <= end, err)
		}
	}
	for _, at := range edges {
		for _, leaf := range edges {
			for _, leaves := range [][]uint64{{leaf}, {0, leaf}, {leaf, leaf, leaf}} {
				_, err := a.Inclusion(t.Context(), at, leaves)
				possible := leaf < at && at <= end && at > 0
				answer(fmt.Sprintf("inclusion of %d at %d", leaves, at), possible, err)
			}
		}
		_, err := a.Inclusion(t.Context(), at, nil)
		answer(fmt.Sprintf("inclusion of nothing at %d", at), false, err)
		_, err = a.Inclusion(t.Context(), at, make([]uint64, 1_000_000))
		answer(fmt.Sprintf("inclusion of a million leaves at %d", at), false, err)
		if b, err := a.Ledger(t.Context(), at, 1000); err != nil || len(b) > end*warg.LedgerEntrySize {
			t.Errorf("ledger from %d: %d bytes, %v", at, len(b), err)
		}
	}
	t.Logf("%d questions", asked)
}
