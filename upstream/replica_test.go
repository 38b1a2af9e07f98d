package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestReplicaServesWhatItVerified(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	w.publish("test:a", "1.1.0")
	w.publish("test:b", "0.1.0")
	view, err := w.replica.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := w.up.Checkpoint(t.Context())
	if view.Signed != want.Signed || view.Checkpoint != want.Checkpoint || view.Warning != "" {
		t.Errorf("checkpoint %+v; want %+v", view, want)
	}
	records, err := w.fetch("test:a")
	if err != nil || len(records) != 2 {
		t.Fatalf("records of test:a: %d, %v", len(records), err)
	}
	page, err := w.up.Logs(t.Context(), warg.LogsRequest{LogLength: 4, Packages: []warg.LogCursor{{LogID: wargtest.Name("test:a").LogID()}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		u := page.Packages[0].Records[i]
		if string(r.Content) != string(u.Content) || r.KeyID != u.KeyID || r.Signature != u.Signature || r.Index != u.Index || r.Token != u.Token {
			t.Errorf("record %d differs from upstream's", i)
		}
		if len(r.JSON) == 0 {
			t.Errorf("record %d has no JSON at hand", i)
		}
	}
	c, err := w.replica.Open(t.Context(), warg.Sum(content))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := io.ReadAll(c); string(got) != string(content) {
		t.Error("content differs")
	}
}

func TestReplicaNeverAsksAboutUnknownLogs(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	before := w.tap.total()
	secret := wargtest.Name("internal:plans").LogID()
	if _, err := w.fetch("internal:plans"); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound, ID: secret.String()}) {
		t.Errorf("logs: %v", err)
	}
	if _, err := w.replica.Names(t.Context(), []warg.LogID{secret}); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("names: %v", err)
	}
	if name, err := w.replica.NameOf(t.Context(), secret); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("a name for an unknown id: %v, %v", name, err)
	}
	if _, err := w.replica.Record(t.Context(), secret, warg.RecordID{}); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("record: %v", err)
	}
	if n := w.tap.total() - before; n != 0 {
		t.Errorf("upstream was asked %d times", n)
	}
}

func TestReplicaNameOf(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	id := wargtest.Name("test:a").LogID()
	for range 3 {
		if name, err := w.replica.NameOf(t.Context(), id); err != nil || name.String() != "test:a" {
			t.Fatalf("name of a known id: %v %v", name, err)
		}
	}
	if n := w.tap.count("names"); n != 1 {
		t.Errorf("upstream was asked for the name %d times", n)
	}
	if name, err := w.replica.NameOf(t.Context(), warg.OperatorLogID); err == nil {
		t.Errorf("the operator log has a name: %v", name)
	}
}

// TestReplicaNameOfUnread: of a log that is in the ledger and that nobody asked for,
// while upstream is away, nobody may believe that it does not exist. One that upstream
// gives no name is nobody's to point to.
func TestReplicaNameOfUnread(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	a, b := wargtest.Name("test:a").LogID(), wargtest.Name("test:b").LogID()
	w.tap.names = func(_ []warg.LogID, names []warg.PackageName) { clear(names) }
	if name, err := w.replica.NameOf(t.Context(), a); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("without a name: %v, %v", name, err)
	}
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
	for range 2 {
		_, err := w.replica.NameOf(t.Context(), b)
		if e, ok := asWarg(err); !ok || e.Kind != warg.KindUnavailable || ClassOf(err) != ClassNone {
			t.Errorf("while upstream is away: %v", err)
		}
	}
	w.tap.setDown(nil)
	w.tap.names = nil
	w.clock.advance(longestBackoff)
	if name, err := w.replica.NameOf(t.Context(), b); err != nil || name.String() != "test:b" {
		t.Errorf("when it is back: %v, %v", name, err)
	}
}

// TestColdReadersShareOneFetch: a hundred readers of a cold replica cost upstream
// one request for each resource.
func TestColdReadersShareOneFetch(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := w.replica.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			name := []string{"test:a", "test:b"}[i%2]
			if _, err := w.fetch(name); err != nil {
				t.Error(err)
			}
			if _, err := w.replica.Names(t.Context(), []warg.LogID{wargtest.Name("test:a").LogID()}); err != nil {
				t.Error(err)
			}
			if _, err := w.replica.Stat(t.Context(), warg.Sum(content)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := map[string]int{"checkpoint": 1, "ledger": 1, "content": 1}
	for call, n := range want {
		if got := w.tap.count(call); got != n {
			t.Errorf("%s: %d calls; want %d", call, got, n)
		}
	}
	// The operator log and each of the two package logs.
	if got := w.tap.count("logs"); got > 3 {
		t.Errorf("logs: %d calls; want at most 3", got)
	}
	// The name that was asked for, and that of the other log that is known now.
	if got := w.tap.count("names"); got < 1 || got > 2 {
		t.Errorf("names: %d calls; want at most 2", got)
	}
}

// TestReaderThatLeavesTakesNobodyWithIt: the work of a reader whose context ends
// goes on for those who wait for the same.
func TestReaderThatLeavesTakesNobodyWithIt(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	started, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.tap.before = func(_ context.Context, call string) error {
		if call == "logs" {
			once.Do(func() { close(started) })
			<-release
		}
		return nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	leader := make(chan error, 1)
	req := warg.LogsRequest{LogLength: w.length(), Packages: []warg.LogCursor{{LogID: wargtest.Name("test:a").LogID()}}}
	go func() {
		_, err := w.replica.Logs(ctx, req)
		leader <- err
	}()
	<-started
	follower := make(chan error, 1)
	go func() {
		_, err := w.replica.Logs(t.Context(), req)
		follower <- err
	}()
	cancel()
	if err := <-leader; !errors.Is(err, context.Canceled) {
		t.Errorf("leader: %v", err)
	}
	close(release)
	if err := <-follower; err != nil {
		t.Errorf("follower: %v", err)
	}
	if n := w.tap.count("logs"); n != 2 { // the operator log before, and this
		t.Errorf("%d calls", n)
	}
}

func TestUpstreamDown(t *testing.T) {
	w := newWorld(t)
	content := w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	if _, err := w.fetch("test:a"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.replica.Stat(t.Context(), warg.Sum(content)); err != nil {
		t.Fatal(err)
	}
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "registry `up.example` cannot be reached", RetryAfter: 5})
	w.clock.advance(time.Hour)

	view, err := w.replica.Checkpoint(t.Context())
	if err != nil || view.Checkpoint.LogLength != 3 || view.Warning == "" {
		t.Errorf("checkpoint: %+v %v", view, err)
	}
	page, err := w.replica.Logs(t.Context(), warg.LogsRequest{LogLength: 3, Packages: []warg.LogCursor{{LogID: wargtest.Name("test:a").LogID()}}})
	if err != nil || len(page.Packages[0].Records) != 1 || len(page.Warnings) != 1 {
		t.Errorf("held log: %+v %v", page, err)
	}
	if _, err := w.replica.Inclusion(t.Context(), 3, []uint64{0, 1, 2}); err != nil {
		t.Errorf("inclusion: %v", err)
	}
	if _, err := w.replica.Open(t.Context(), warg.Sum(content)); err != nil {
		t.Errorf("held content: %v", err)
	}
	_, err = w.fetch("test:b")
	e, ok := asWarg(err)
	if !ok || e.Kind != warg.KindUnavailable || e.RetryAfter == 0 {
		t.Errorf("log that is not held: %v", err)
	}
	if _, err := w.replica.Open(t.Context(), warg.Sum([]byte("other"))); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("content that is not held: %v", err)
	}

	w.tap.setDown(nil)
	w.clock.advance(2 * longestBackoff)
	w.publish("test:c", "1.0.0")
	view, err = w.replica.Checkpoint(t.Context())
	if err != nil || view.Checkpoint.LogLength != 4 || view.Warning != "" {
		t.Errorf("after upstream is back: %+v %v", view, err)
	}
	if _, err := w.fetch("test:b"); err != nil {
		t.Errorf("after upstream is back: %v", err)
	}
}

func TestTimeoutIsToldApart(t *testing.T) {
	w := newWorld(t)
	w.tap.setDown(&warg.Error{Kind: warg.KindUpstreamTimeout, Message: "too slow"})
	if _, err := w.replica.Checkpoint(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUpstreamTimeout}) {
		t.Errorf("cold, and upstream does not answer in time: %v", err)
	}
}

func TestRestartKeepsHead(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.publish("test:a", "1.1.0")
	w.publish("test:a", "1.2.0")
	w.refresh()
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
	w.restart()
	view, err := w.replica.Checkpoint(t.Context())
	if err != nil || view.Checkpoint.LogLength != 4 {
		t.Fatalf("checkpoint after a restart: %+v %v", view, err)
	}
	for _, length := range []uint64{2, 4} {
		if _, err := w.replica.Inclusion(t.Context(), length, []uint64{0, length - 1}); err != nil {
			t.Errorf("inclusion at %d: %v", length, err)
		}
	}
	if _, err := w.replica.Inclusion(t.Context(), 3, []uint64{0}); !errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound}) {
		t.Errorf("inclusion at a length that was never accepted: %v", err)
	}
}

// TestCacheDeleted: without its cache a replica serves nothing until it has fetched
// everything again, and then every length it ever accepted.
func TestCacheDeleted(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.publish("test:a", fmt.Sprintf("1.%d.0", i))
		w.refresh()
	}
	old := w.up.Clone()
	w.publish("test:a", "2.0.0")
	w.refresh()
	if err := w.store.Reset(); err != nil {
		t.Fatal(err)
	}
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
	w.restart()
	if _, err := w.replica.Checkpoint(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("nothing is held and upstream is down: %v", err)
	}

	w.tap.setDown(nil)
	w.tap.Transport = Adapt(old)
	w.clock.advance(longestBackoff)
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassRollback {
		t.Errorf("upstream shows an older state than was served: %v", err)
	}
	if _, err := w.replica.Checkpoint(t.Context()); err == nil {
		t.Error("a view that went back is served")
	}

	w.tap.Transport = Adapt(w.up)
	w.refresh()
	for length := uint64(2); length <= 7; length++ {
		if _, err := w.replica.Inclusion(t.Context(), length, []uint64{0, length - 1}); err != nil {
			t.Errorf("inclusion at %d after the cache was lost: %v", length, err)
		}
	}
	if _, err := w.fetch("test:a"); err != nil {
		t.Error(err)
	}
}

func TestOffline(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	if _, err := w.fetch("test:a"); err != nil {
		t.Fatal(err)
	}
	w.options.Offline = true
	w.restart()
	before := w.tap.total()
	w.clock.advance(24 * time.Hour)
	view, err := w.replica.Checkpoint(t.Context())
	if err != nil || !strings.Contains(view.Warning, "offline") {
		t.Errorf("checkpoint: %+v %v", view, err)
	}
	if _, err := w.fetch("test:a"); err != nil {
		t.Errorf("held log: %v", err)
	}
	if _, err := w.fetch("test:b"); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("log that is not held: %v", err)
	}
	if err := w.replica.Refresh(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("refresh: %v", err)
	}
	if n := w.tap.total() - before; n != 0 {
		t.Errorf("%d calls while offline", n)
	}
}

func TestRefuseStale(t *testing.T) {
	w := newWorld(t)
	w.options.MaxStale, w.options.RefuseStale = time.Hour, true
	w.restart()
	w.refresh()
	w.tap.setDown(&warg.Error{Kind: warg.KindUnavailable, Message: "down"})
	w.clock.advance(30 * time.Minute)
	if _, err := w.replica.Checkpoint(t.Context()); err != nil {
		t.Errorf("stale, but not too stale: %v", err)
	}
	w.clock.advance(time.Hour)
	if _, err := w.replica.Checkpoint(t.Context()); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("too stale: %v", err)
	}
}

// TestFetchTokens: upstream's tokens and record ids both work, and nobody is turned
// away for a token that is not known.
func TestFetchTokens(t *testing.T) {
	w := newWorld(t)
	for i := range 3 {
		w.publish("test:a", fmt.Sprintf("1.%d.0", i))
	}
	w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
		for _, l := range page.Packages {
			for i := range l.Records {
				l.Records[i].Token = fmt.Sprintf("cursor-%d", l.Records[i].Index)
			}
		}
	}
	w.refresh()
	all, err := w.fetch("test:a")
	if err != nil || len(all) != 3 {
		t.Fatal(len(all), err)
	}
	cases := []struct {
		name, token string
		want        int
	}{
		{"upstream's own", all[0].Token, 2},
		{"upstream's own, the last", all[2].Token, 0},
		{"record id", all[1].PackageRecordID().String(), 1},
		{"unknown digest", warg.Sum([]byte("x")).String(), 3},
		{"unknown text", "nonsense", 3},
	}
	for _, c := range cases {
		page, err := w.replica.Logs(t.Context(), warg.LogsRequest{
			LogLength: w.length(),
			Packages:  []warg.LogCursor{{LogID: wargtest.Name("test:a").LogID(), Token: c.token}},
		})
		if err != nil || len(page.Packages[0].Records) != c.want {
			t.Errorf("%s: %d records, %v; want %d", c.name, len(page.Packages[0].Records), err, c.want)
		}
	}
}

// TestOldLengths: an answer for an older length shows nothing that is newer, also
// when the newer records were fetched in the meantime.
func TestOldLengths(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.publish("test:a", "1.1.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	if all, err := w.fetch("test:a"); err != nil || len(all) != 2 {
		t.Fatal(len(all), err)
	}
	at := func(length uint64, name string) (int, error) {
		page, err := w.replica.Logs(t.Context(), warg.LogsRequest{LogLength: length, Packages: []warg.LogCursor{{LogID: wargtest.Name(name).LogID()}}})
		if err != nil {
			return 0, err
		}
		return len(page.Packages[0].Records), nil
	}
	if n, err := at(2, "test:a"); n != 1 || err != nil {
		t.Errorf("test:a at 2: %d %v", n, err)
	}
	if _, err := at(2, "test:b"); !errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
		t.Errorf("test:b at 2: %v", err)
	}
	if _, err := at(3, "test:a"); !errors.Is(err, &warg.Error{Kind: warg.KindLengthNotFound, Number: 3}) {
		t.Errorf("a length that was never accepted: %v", err)
	}
}

func TestPins(t *testing.T) {
	alice, eve := wargtest.Alice(), wargtest.Stranger("eve")
	registry := func(key warg.PrivateKey) *wargtest.Memory {
		return wargtest.NewMemory(wargtest.Options{Domain: "up.example", Key: key, Namespaces: []string{"test"}})
	}
	t.Run("another key", func(t *testing.T) {
		w := newWorldOf(t, registry(eve))
		if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassPin {
			t.Errorf("refresh: %v", err)
		}
	})
	t.Run("first key trusted", func(t *testing.T) {
		w := newWorldOf(t, registry(eve))
		w.options.OperatorKey, w.options.TrustFirstKey = "", true
		w.restart()
		w.refresh()
		if s := w.replica.Status(); s.OperatorKey != eve.Public().ID() || s.Pinned != pinnedOnFirstUse {
			t.Errorf("status: %+v", s)
		}
		w.restart()
		w.tap.Transport = Adapt(registry(alice))
		if err := w.replica.Refresh(t.Context()); err == nil {
			t.Error("another registry is taken for the one that was trusted first")
		}
	})
	t.Run("neither", func(t *testing.T) {
		w := newWorld(t)
		w.options.OperatorKey = ""
		if _, err := Open(t.Context(), w.options); err == nil {
			t.Error("opened without a pin")
		}
	})
	t.Run("pin changed to a stranger", func(t *testing.T) {
		w := newWorld(t)
		w.refresh()
		w.replica.Close()
		w.options.OperatorKey = eve.Public().ID()
		if _, err := Open(t.Context(), w.options); err == nil {
			t.Error("opened with a pin that the replica does not hang on")
		}
	})
	t.Run("key that signs now", func(t *testing.T) {
		up := registry(alice)
		next := wargtest.Stranger("next")
		if err := up.Operate(alice, oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
			t.Fatal(err)
		}
		up.UseKey(next)
		up.Resign()
		w := newWorldOf(t, up)
		w.options.OperatorKey = next.Public().ID()
		w.restart()
		w.refresh()
	})
	t.Run("pinned key named but not signing", func(t *testing.T) {
		// The first record names the pinned key and is signed by another one, which
		// it grants something, so that the log is valid all the same.
		forged := oplog.Record{
			Time:    warg.Timestamp{Seconds: 1_600_000_000},
			Entries: []oplog.Entry{oplog.Init{Key: alice.Public()}, oplog.Grant{Key: eve.Public()}},
		}.Sign(eve)
		var state oplog.State
		if err := state.Validate(forged); err != nil {
			t.Fatalf("the forged log is not valid, so this tests nothing: %v", err)
		}
		op, err := replayOperator([]warg.Record{{Envelope: forged}})
		if err != nil {
			t.Fatal(err)
		}
		s := warg.Checkpoint{LogLength: 1}.Sign(eve)
		if _, err := op.open(s); err != nil {
			t.Fatalf("the forger may not sign, so this tests nothing: %v", err)
		}
		if op.hangsOn(alice.Public().ID(), s) {
			t.Error("a log hangs on a key that never signed anything")
		}
	})
}

func TestKeyRotation(t *testing.T) {
	w := newWorld(t)
	alice, next := wargtest.Alice(), wargtest.Stranger("next")
	w.refresh()
	if err := w.up.Operate(alice, oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
		t.Fatal(err)
	}
	w.up.UseKey(next)
	if err := w.up.Operate(next, oplog.Revoke{KeyID: alice.Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
		t.Fatal(err)
	}
	w.refresh()
	if w.length() != 3 {
		t.Errorf("length %d", w.length())
	}
	w.restart()
	if w.length() != 3 {
		t.Errorf("length after a restart %d", w.length())
	}
}
