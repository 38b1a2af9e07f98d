package upstream

import (
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// longLog publishes a log that Bob begins and that, from a record in its middle on,
// Alice may write as well, and does.
func longLog(w *world) (records int) {
	w.t.Helper()
	p := wargtest.NewPackage("test:long")
	w.pkgs["test:long"] = p
	add := func(key warg.PrivateKey, entries ...pkglog.Entry) {
		submit(w.t, w.up, p.Request(p.Next(key, entries...)), nil)
		records++
	}
	add(wargtest.Bob(), wargtest.Init(wargtest.Bob()))
	for range 12 {
		add(wargtest.Bob())
	}
	add(wargtest.Bob(), pkglog.Grant{Key: wargtest.Alice().Public(), Permissions: []pkglog.Permission{pkglog.PermissionRelease}})
	for range 12 {
		add(wargtest.Alice())
	}
	return records
}

// TestSignaturesOfALongLog: signatures are verified side by side, and yet the log is
// kept up to the first bad record exactly, whichever that is.
func TestSignaturesOfALongLog(t *testing.T) {
	w := newWorld(t)
	records := longLog(w)
	w.refresh()
	other := wargtest.Bob().SignPackageRecord([]byte("something else"))
	log := wargtest.Name("test:long").LogID()
	for bad := range records {
		w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
			for i := range page.Packages {
				for j := range page.Packages[i].Records {
					if r := &page.Packages[i].Records[j]; r.Index == uint64(bad+1) {
						r.Signature = other
					}
				}
			}
		}
		if _, err := w.fetch("test:long"); ClassOf(err) != ClassSignature {
			t.Fatalf("record %d: %v", bad, err)
		}
		if _, held, err := w.store.Log(log); held != uint64(bad) || err != nil {
			t.Fatalf("record %d is bad, %d are held, %v", bad, held, err)
		}
		w.clock.advance(2 * refusedPause)
	}
	w.tap.logs = nil
	if got, err := w.fetch("test:long"); len(got) != records || err != nil {
		t.Fatalf("%d records of %d, %v", len(got), records, err)
	}
}

// TestOrderOfALongLog: good signatures do not make good what its log does not allow.
func TestOrderOfALongLog(t *testing.T) {
	w := newWorld(t)
	p := wargtest.NewPackage("test:long")
	for i := range 20 {
		entries := []pkglog.Entry{}
		if i == 0 {
			entries = append(entries, wargtest.Init(wargtest.Bob()))
		}
		submit(t, w.up, p.Request(p.Next(wargtest.Bob(), entries...)), nil)
	}
	w.refresh()
	w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
		for i := range page.Packages {
			records := page.Packages[i].Records
			records[9], records[10] = records[10], records[9]
			records[9].Index, records[10].Index = records[10].Index, records[9].Index
		}
	}
	if _, err := w.fetch("test:long"); ClassOf(err) != ClassRecord {
		t.Errorf("two records change places: %v", err)
	}
	if _, held, err := w.store.Log(p.LogID()); held != 9 || err != nil {
		t.Errorf("%d records are held, %v", held, err)
	}
}

// TestRequestsForManyLogs: logs share requests, by what the ledger says they have.
func TestRequestsForManyLogs(t *testing.T) {
	w := newWorld(t)
	const logs = 2*logsPerRequest + 10
	var ids []warg.LogID
	for i := range logs {
		name := fmt.Sprintf("test:p%d", i)
		p := wargtest.NewPackage(name)
		submit(t, w.up, p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()))), nil)
		ids = append(ids, p.LogID())
	}
	w.refresh()
	before := w.tap.count("logs")
	req := warg.LogsRequest{LogLength: w.length()}
	for _, id := range ids {
		req.Packages = append(req.Packages, warg.LogCursor{LogID: id})
	}
	page, err := w.replica.Logs(t.Context(), req)
	if err != nil || len(page.Packages) != logs {
		t.Fatalf("%d logs, %v", len(page.Packages), err)
	}
	for _, l := range page.Packages {
		if len(l.Records) != 1 {
			t.Fatalf("%d records", len(l.Records))
		}
	}
	if n := w.tap.count("logs") - before; n != 3 {
		t.Errorf("%d requests", n)
	}
	sizes := []int{}
	for _, part := range w.replica.inParts(ids) {
		sizes = append(sizes, len(part))
	}
	if len(sizes) != 3 || sizes[0] != logsPerRequest || sizes[2] != 10 {
		t.Errorf("parts of %v logs", sizes)
	}
}
