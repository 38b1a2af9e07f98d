package authority

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func memory(t *testing.T, change func(*Options)) (*Authority, *clock) {
	t.Helper()
	c := newClock()
	o := memoryOptions(durable.NewMemory(), c)
	if change != nil {
		change(&o)
	}
	return open(t, o), c
}

func TestPolicy(t *testing.T) {
	bob, alice, mallory := wargtest.Bob(), wargtest.Alice(), wargtest.Stranger("mallory")
	rule := func(delegation bool, keys ...warg.PrivateKey) PolicyRule {
		r := PolicyRule{Delegation: delegation}
		for _, k := range keys {
			r.Keys = append(r.Keys, k.Public().ID())
		}
		return r
	}
	policy := &Policy{
		Namespaces: map[string]PolicyRule{"keyed": rule(false, bob), "open": rule(true, bob)},
		Packages:   map[string]PolicyRule{"keyed:special": rule(false, alice), "other:only": rule(true, alice)},
	}
	initBy := func(k warg.PrivateKey) []pkglog.Entry { return []pkglog.Entry{wargtest.Init(k)} }
	yank := []pkglog.Entry{wargtest.Yank("1.0.0")}
	cases := []struct {
		name    string
		key     warg.PrivateKey
		entries []pkglog.Entry
		allowed bool
	}{
		{"keyed:any", bob, initBy(bob), true},
		{"keyed:any", mallory, initBy(mallory), false},
		{"keyed:any", mallory, yank, false},
		{"keyed:any", alice, yank, false},
		{"keyed:special", alice, yank, true},
		{"keyed:special", bob, yank, true},
		{"open:any", mallory, yank, true},
		{"open:any", mallory, initBy(mallory), false},
		{"open:any", mallory, append(yank, initBy(mallory)...), false},
		{"open:any", bob, initBy(bob), true},
		{"other:only", alice, initBy(alice), true},
		{"other:only", mallory, yank, true},
		{"other:else", alice, yank, false},
		{"other:else", alice, nil, true}, // validation refuses it later
	}
	for _, tt := range cases {
		err := policy.check(wargtest.Name(tt.name), tt.key.Public().ID(), tt.entries)
		if (err == nil) != tt.allowed || err != nil && !isKind(err, warg.KindUnauthorized) {
			t.Errorf("%s, %d entries by %s: %v", tt.name, len(tt.entries), tt.key, err)
		}
	}
	if err := (*Policy)(nil).check(wargtest.Name("a:b"), "x", yank); err != nil {
		t.Errorf("without a policy: %v", err)
	}

	a, _ := memory(t, func(o *Options) {
		o.Policy = &Policy{Namespaces: map[string]PolicyRule{"test": rule(false, alice)}}
	})
	_, req := first("test:keyed", nil)
	_, err := a.Publish(t.Context(), req)
	want := fmt.Sprintf("key id `%s` is not authorized to publish to package `test:keyed`", bob.Public().ID())
	if !isKind(err, warg.KindUnauthorized) || err.Error() != want {
		t.Errorf("publishing against the policy: %v", err)
	}
}

// TestRefusals: what is not taken, with the kind of error, and that nothing stays.
func TestRefusals(t *testing.T) {
	a, c := memory(t, nil)
	bob, mallory := wargtest.Bob(), wargtest.Stranger("mallory")
	p, begun := first("test:begun", nil)
	publish(t, a, begun)
	settled(t, a, begun)
	granted := p.Request(p.Next(bob, wargtest.Grant(mallory.Public(), pkglog.PermissionRelease)))
	publish(t, a, granted)
	settled(t, a, granted)
	revoked := p.Request(p.Next(bob, wargtest.Revoke(mallory.Public().ID(), pkglog.PermissionRelease)))
	publish(t, a, revoked)
	settled(t, a, revoked)

	sign := func(p *wargtest.Package, rec pkglog.Record) warg.PublishRequest { return p.Request(rec.Sign(bob)) }
	fresh := wargtest.NewPackage("test:fresh")
	initEntry := []pkglog.Entry{wargtest.Init(bob)}
	at := func(d time.Duration) warg.Timestamp { return warg.TimestampOf(c.Now().Add(d)) }
	long := wargtest.NewPackage("test:" + strings.Repeat("a", warg.MaxNameBytes))
	var many []pkglog.Entry
	for i := range warg.MaxMissingContents + 1 {
		many = append(many, wargtest.Release(fmt.Sprintf("1.0.%d", i), []byte{byte(i), byte(i >> 8)}))
	}
	big := pkglog.Record{Time: at(0), Entries: initEntry}
	for len(big.Encode()) <= warg.MaxRecordBytes {
		big.Entries = append(big.Entries, many...)
	}
	cases := []struct {
		name string
		req  warg.PublishRequest
		want warg.Kind
	}{
		{"far in the future", sign(fresh, pkglog.Record{Time: at(maxAhead + time.Second), Entries: initEntry}), warg.KindRejected},
		{"beyond all time", sign(fresh, pkglog.Record{Time: warg.Timestamp{Seconds: 1 << 62}, Entries: initEntry}), warg.KindRejected},
		{"long name", sign(long, pkglog.Record{Time: at(0), Entries: initEntry}), warg.KindBadRequest},
		{"many contents", sign(fresh, pkglog.Record{Time: at(0), Entries: append(initEntry, many...)}), warg.KindBadRequest},
		{"large record", sign(fresh, big), warg.KindTooLarge},
		{"key that lost its permissions", p.Request(p.Fork().Next(mallory, wargtest.Release("1.0.0", nil))), warg.KindUnauthorized},
		{"nothing by a key that lost its permissions", p.Request(p.Fork().Next(mallory)), warg.KindUnauthorized},
		{"beginning by a stranger", p.Request(wargtest.NewPackage("test:begun").Fork().Next(mallory, wargtest.Init(mallory))), warg.KindUnauthorized},
		{"granting nothing to oneself", p.Request(p.Fork().Next(wargtest.Stranger("eve"), wargtest.Grant(wargtest.Stranger("eve").Public()))), warg.KindUnauthorized},
	}
	before := length(t, a)
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			st, err := a.Publish(t.Context(), tt.req)
			if !isKind(err, tt.want) {
				t.Errorf("publish: %+v, %v", st, err)
			}
			if _, err := a.Record(t.Context(), tt.req.LogID, tt.req.Record.PackageRecordID()); err == nil {
				t.Error("the record is known")
			}
		})
	}
	if n, _ := a.pool.count(); n != 0 || length(t, a) != before {
		t.Errorf("%d pending, length %d", n, length(t, a))
	}
	ahead := sign(fresh, pkglog.Record{Time: at(maxAhead), Entries: initEntry})
	publish(t, a, ahead)
	if st := settled(t, a, ahead); st.State != warg.StatePublished {
		t.Errorf("a record that is a little ahead: %+v", st)
	}
	if v, err := a.Checkpoint(t.Context()); err != nil || int64(v.Checkpoint.Timestamp) != c.Now().Add(maxAhead).Unix() {
		t.Errorf("the checkpoint is from %d, before the record it covers (%v)", v.Checkpoint.Timestamp, err)
	}
}

func TestQuotas(t *testing.T) {
	a, _ := memory(t, func(o *Options) { o.Limits.PendingPerKey, o.Limits.Pending = 3, 5 })
	waits := func(name string, k warg.PrivateKey) warg.PublishRequest {
		p := wargtest.NewPackage(name)
		return p.Request(p.Next(k, wargtest.Init(k), wargtest.Release("1.0.0", []byte(name))))
	}
	bob, alice := wargtest.Bob(), wargtest.Alice()
	for i := range 3 {
		publish(t, a, waits(fmt.Sprintf("test:bob%d", i), bob))
	}
	check := func(what string, req warg.PublishRequest, want warg.Kind) {
		t.Helper()
		_, err := a.Publish(t.Context(), req)
		var e *warg.Error
		if !errors.As(err, &e) || e.Kind != want || e.RetryAfter == 0 {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("a fourth record of one key", waits("test:bob4", bob), warg.KindTooMany)
	publish(t, a, waits("test:bob1", bob)) // known: no new one
	_, complete := first("test:complete", nil)
	publish(t, a, complete) // waits for nothing
	settled(t, a, complete)
	publish(t, a, waits("test:alice1", alice))
	publish(t, a, waits("test:alice2", alice))
	check("a sixth record in all", waits("test:alice3", alice), warg.KindUnavailable)
	if s := a.Status(); s.Pending != 5 || s.Waiting != 5 {
		t.Errorf("status is %+v", s)
	}
}

func TestExpiry(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	o.byHand = true
	a := open(t, o)
	content := wargtest.Component("late")
	_, old := first("test:old", content)
	publish(t, a, old)
	c.Add(time.Hour)
	_, young := first("test:young", content)
	publish(t, a, young)
	c.Add(defaultPendingTTL - time.Hour - time.Minute)
	wait, err := a.expire(c.Now())
	must(t, err)
	if wait != time.Minute { // then the old one is due; the young one an hour later
		t.Errorf("the next one expires in %s", wait)
	}
	c.Add(2 * time.Minute)
	wait, err = a.expire(c.Now())
	must(t, err)
	if wait != 59*time.Minute {
		t.Errorf("the next one expires in %s", wait)
	}
	for range 2 {
		st, err := a.Record(t.Context(), old.LogID, old.Record.PackageRecordID())
		must(t, err)
		if st.State != warg.StateRejected || st.Reason != "content not received in time" {
			t.Errorf("the old record is %+v", st)
		}
		if st := publish(t, a, young); st.State != warg.StateSourcing {
			t.Errorf("the young record is %+v", st)
		}
		a = reopen(t, a, o)
	}
	if err := a.Upload(t.Context(), old.LogID, old.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content)); !isKind(err, warg.KindNotSourcing) {
		t.Errorf("uploading to an expired record: %v", err)
	}
	upload(t, a, young, content)
	_, err = a.turn()
	must(t, err)
	if st := publish(t, a, young); st.State != warg.StatePublished {
		t.Errorf("the young record ends up %+v", st)
	}
}

func TestResign(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	o := memoryOptions(m, c)
	o.byHand = true
	a := open(t, o)
	before, err := a.Checkpoint(t.Context())
	must(t, err)
	c.Add(59 * time.Minute)
	wait, err := a.resign(c.Now())
	must(t, err)
	if now, _ := a.Checkpoint(t.Context()); now != before || wait > time.Minute {
		t.Errorf("signed again too early, or not soon enough: in %s", wait)
	}
	c.Add(2 * time.Minute)
	_, err = a.resign(c.Now())
	must(t, err)
	after, err := a.Checkpoint(t.Context())
	must(t, err)
	if !after.Checkpoint.SameView(before.Checkpoint) || after.Checkpoint.Timestamp <= before.Checkpoint.Timestamp {
		t.Errorf("signed again: %+v after %+v", after.Checkpoint, before.Checkpoint)
	}
	if _, err := after.Signed.Open(wargtest.Alice().Public()); err != nil {
		t.Error(err)
	}
	o.FS = m.Crash(nil)
	a = reopen(t, a, o)
	if now, _ := a.Checkpoint(t.Context()); now != after {
		t.Errorf("after a restart: %+v", now.Checkpoint)
	}
	for _, v := range []warg.View{before, after} {
		if got, err := a.VerifyCheckpoint(t.Context(), v.Signed); err != nil || got.Checkpoint != warg.Verified || got.Signature != warg.Verified {
			t.Errorf("%+v: %+v, %v", v.Checkpoint, got, err)
		}
	}
}

// TestConcurrentConflicts: of 64 publishers that all add the next record to one
// log, exactly one wins; the others are told at once which record to wait for, which
// is one that was accepted, or find theirs rejected. ROUNDS=990 is the long
// form; the audit at the end reads one page.
func TestConcurrentConflicts(t *testing.T) {
	a, _ := memory(t, nil)
	p, begin := first("test:contested", nil)
	publish(t, a, begin)
	settled(t, a, begin)
	const writers = 64
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		rounds = n
	}
	for round := range rounds {
		reqs := make([]warg.PublishRequest, writers)
		base := *p
		for i := range reqs {
			rival := base
			reqs[i] = p.Request(rival.Next(wargtest.Bob(), wargtest.Grant(wargtest.Stranger(fmt.Sprint(round, i)).Public(), pkglog.PermissionYank)))
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		published, told, rejected := 0, map[string]int{}, map[string]bool{}
		var winner warg.PublishRequest
		for _, req := range reqs {
			wg.Go(func() {
				_, err := a.Publish(t.Context(), req)
				var e *warg.Error
				if errors.As(err, &e) && e.Kind == warg.KindRecordPending {
					mu.Lock()
					defer mu.Unlock()
					told[e.ID]++
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				st, err := a.Settled(t.Context(), req.LogID, req.Record.PackageRecordID())
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err != nil:
					t.Error(err)
				case st.State == warg.StatePublished:
					published++
					winner = req
				case st.State == warg.StateRejected:
					rejected[st.RecordID.String()] = true
				default:
					t.Errorf("a rival ends up %s", st.State)
				}
			})
		}
		wg.Wait()
		if published != 1 {
			t.Fatalf("round %d: %d published, others told to wait for %v", round, published, told)
		}
		for id := range told {
			if id != winner.Record.PackageRecordID().String() && !rejected[id] {
				t.Fatalf("round %d: told to wait for %s, which was not accepted", round, id)
			}
		}
		for i := range reqs {
			if reqs[i].Record.PackageRecordID() == winner.Record.PackageRecordID() {
				q := base
				q.Next(wargtest.Bob(), wargtest.Grant(wargtest.Stranger(fmt.Sprint(round, i)).Public(), pkglog.PermissionYank))
				*p = q
			}
		}
	}
	audit(t, a)
}

// TestSameRecordConcurrently: one record by many publishers at once is one record.
func TestSameRecordConcurrently(t *testing.T) {
	a, _ := memory(t, nil)
	_, req := first("test:same", nil)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := a.Publish(t.Context(), req); err != nil {
				t.Error(err)
			}
			if st, err := a.Settled(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil || st.State != warg.StatePublished || st.Index != 1 {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
	wg.Wait()
	if length(t, a) != 2 {
		t.Errorf("length is %d", length(t, a))
	}
}

// TestReadersDuringPublishes reads everything while packages grow: every answer
// must be consistent with the checkpoint that it is asked for.
func TestReadersDuringPublishes(t *testing.T) {
	a, _ := memory(t, nil)
	const packages, records = 4, 90 // more than a page
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v, err := a.Checkpoint(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				checkReaders(t, a, v.Checkpoint.LogLength, packages)
			}
		})
	}
	for i := range packages {
		writers.Go(func() {
			p, req := first(fmt.Sprintf("test:grows%d", i), nil)
			for n := range records {
				publish(t, a, req)
				if st := settled(t, a, req); st.State != warg.StatePublished {
					t.Errorf("record %d: %+v", n, st)
				}
				req = p.Request(p.Next(wargtest.Bob(), wargtest.Grant(wargtest.Alice().Public())))
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	audit(t, a)
	// By pages, and from tokens in every page.
	log := wargtest.Name("test:grows0").LogID()
	all, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: length(t, a), Limit: 1000, Packages: []warg.LogCursor{{LogID: log}}})
	must(t, err)
	list := all.Packages[0].Records
	if len(list) != records {
		t.Fatalf("%d records", len(list))
	}
	for i := range list {
		for _, limit := range []int{1, 30, 64, 65, 1000} {
			page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: length(t, a), Limit: limit, Packages: []warg.LogCursor{{LogID: log, Token: list[i].Token}}})
			must(t, err)
			got := page.Packages[0].Records
			want := list[i+1 : min(len(list), i+1+limit)]
			if len(got) != len(want) || len(got) > 0 && (got[0].Index != want[0].Index || got[len(got)-1].Index != want[len(want)-1].Index) {
				t.Fatalf("after record %d, limit %d: %d records, want %d", i, limit, len(got), len(want))
			}
		}
	}
}

func checkReaders(t *testing.T, a *Authority, length uint64, packages int) {
	for i := range packages {
		log := wargtest.Name(fmt.Sprintf("test:grows%d", i)).LogID()
		page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: length, Limit: 1000, Packages: []warg.LogCursor{{LogID: log}}})
		if isKind(err, warg.KindLogNotFound) {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		records := page.Packages[0].Records
		head := records[len(records)-1]
		// It proves that head is the newest record of its log at that length.
		if _, err := a.Inclusion(t.Context(), length, []uint64{head.Index}); err != nil {
			t.Errorf("length %d: the last record of a log, at %d of %d records, is not its head: %v", length, head.Index, len(records), err)
		}
	}
}

func TestNoSpace(t *testing.T) {
	m, c := durable.NewMemory(), newClock()
	a := open(t, memoryOptions(m, c))
	_, req := first("test:space", nil)
	m.SetFree(1 << 20) // below the watermark
	c.Add(time.Minute)
	if _, err := a.Publish(t.Context(), req); !isKind(err, warg.KindNoSpace) {
		t.Errorf("publishing on a full disk: %v", err)
	}
	if !a.Status().LowDisk {
		t.Error("the status does not say so")
	}
	m.SetFree(1 << 40)
	c.Add(time.Minute)
	publish(t, a, req)
	settled(t, a, req)

	// Full all at once, between two looks.
	content := wargtest.Component(strings.Repeat("x", 1<<16))
	_, req = first("test:content", content)
	publish(t, a, req)
	m.SetFree(100)
	err := a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content))
	if !isKind(err, warg.KindNoSpace) {
		t.Errorf("uploading on a full disk: %v", err)
	}
	m.SetFree(1 << 40)
	upload(t, a, req, content)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("the record ends up %+v", st)
	}
	if a.Err() != nil {
		t.Errorf("a full disk stopped the registry: %v", a.Err())
	}
}

func TestTooLargeContent(t *testing.T) {
	content := wargtest.Component("twenty bytes and more")
	a, _ := memory(t, func(o *Options) { o.Limits.ContentSize = int64(len(content)) - 1 })
	_, req := first("test:large", content)
	publish(t, a, req)
	err := a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content))
	if !isKind(err, warg.KindTooLarge) {
		t.Errorf("upload: %v", err)
	}
	if st := publish(t, a, req); st.State != warg.StateSourcing {
		t.Errorf("the record is %s", st.State)
	}
}

func TestContentPolicies(t *testing.T) {
	text := []byte("no wasm")
	a, _ := memory(t, func(o *Options) { o.Content = ContentAny })
	_, req := first("test:any", text)
	publish(t, a, req)
	upload(t, a, req, text)
	if st := settled(t, a, req); st.State != warg.StatePublished {
		t.Errorf("any content: %+v", st)
	}
	a, _ = memory(t, nil)
	_, req = first("test:wasm", []byte{})
	publish(t, a, req)
	err := a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum(nil), bytes.NewReader(nil))
	if !isKind(err, warg.KindRejected) || err.Error() != "content is not valid WebAssembly: unexpected end-of-file (at offset 0x0)" {
		t.Errorf("empty content: %v", err)
	}
	want := "content with digest `" + warg.Sum(nil).String() + "` was rejected by policy: content is not valid WebAssembly: unexpected end-of-file (at offset 0x0)"
	if st := publish(t, a, req); st.State != warg.StateRejected || st.Reason != want {
		t.Errorf("its record is %+v", st)
	}
}

// TestUploadThatWasAskedFor: the second of two records that wait for one content is
// published by the first one's upload; its own upload still succeeds, once.
func TestUploadThatWasAskedFor(t *testing.T) {
	a, _ := memory(t, nil)
	content := wargtest.Component("shared")
	_, one := first("test:one", content)
	_, two := first("test:two", content)
	publish(t, a, one)
	publish(t, a, two)
	upload(t, a, one, content)
	settled(t, a, one)
	settled(t, a, two)
	wrong := a.Upload(t.Context(), two.LogID, two.Record.PackageRecordID(), warg.Sum(content), strings.NewReader("other bytes"))
	if !isKind(wrong, warg.KindBadRequest) {
		t.Errorf("wrong bytes: %v", wrong)
	}
	upload(t, a, two, content)
	again := a.Upload(t.Context(), two.LogID, two.Record.PackageRecordID(), warg.Sum(content), bytes.NewReader(content))
	if !isKind(again, warg.KindNotSourcing) {
		t.Errorf("the upload after that: %v", again)
	}
}

// TestLogIsOursBeforeItIsPublished: what tells servers that no other registry has a say
// about a log. Readers do not see it yet.
func TestLogIsOursBeforeItIsPublished(t *testing.T) {
	a, _ := memory(t, nil)
	content := wargtest.Component("soon")
	_, req := first("test:soon", content)
	is := func(when string, want warg.Kind) {
		t.Helper()
		if _, err := a.Record(t.Context(), req.LogID, warg.RecordID{}); !isKind(err, want) {
			t.Errorf("%s: %v", when, err)
		}
	}
	is("before", warg.KindLogNotFound)
	publish(t, a, req)
	is("waiting for content", warg.KindRecordNotFound)
	if _, err := a.Names(t.Context(), []warg.LogID{req.LogID}); !isKind(err, warg.KindLogNotFound) {
		t.Errorf("its name is shown: %v", err)
	}
	upload(t, a, req, content)
	settled(t, a, req)
	is("published", warg.KindRecordNotFound)
}
