package wargtest

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
)

func logsChecks() []check {
	return []check{
		{"logs/operator", checkOperatorLog},
		{"logs/replay", checkReplay},
		{"logs/every length", checkEveryLength},
		{"logs/paging", checkPaging},
		{"logs/order", checkLogOrder},
		{"logs/limit", checkLimits},
		{"logs/unknown length", checkUnknownLength},
		{"logs/unknown log", checkUnknownLog},
		{"logs/unknown token", checkUnknownToken},
		{"logs/ready json", checkReadyJSON},
	}
}

// request asks for all packages from their start.
func (w *world) request(length uint64) warg.LogsRequest {
	req := warg.LogsRequest{LogLength: length}
	for _, p := range w.packages {
		if len(p.visible(length)) > 0 {
			req.Packages = append(req.Packages, warg.LogCursor{LogID: p.LogID()})
		}
	}
	return req
}

func (s *scene) logs(t testing.TB, req warg.LogsRequest) warg.LogsPage {
	t.Helper()
	page, err := s.Registry.Logs(t.Context(), req)
	if err != nil {
		t.Fatalf("fetching logs at length %d: %v", req.LogLength, err)
	}
	if len(page.Packages) != len(req.Packages) {
		t.Fatalf("fetching logs: got %d, asked for %d", len(page.Packages), len(req.Packages))
	}
	for i, c := range req.Packages {
		if page.Packages[i].LogID != c.LogID {
			t.Fatalf("fetching logs: position %d has log %s, want %s", i, page.Packages[i].LogID, c.LogID)
		}
	}
	return page
}

// sameRecords compares the records of a log with what was published.
func sameRecords(t testing.TB, got []warg.Record, want []published) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		same := bytes.Equal(got[i].Content, w.env.Content) && got[i].KeyID == w.env.KeyID && got[i].Signature == w.env.Signature
		if !same || got[i].Index != w.index || got[i].Token == "" {
			t.Fatalf("record %d is %+v, want %+v", i, got[i], w)
		}
	}
}

// checkOperatorLog: the operator log is part of every answer, replays, and says that
// the key that signed the checkpoint might do so.
func checkOperatorLog(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	page := s.logs(t, warg.LogsRequest{LogLength: length})
	if len(page.Operator) == 0 || page.Operator[0].Index != 0 {
		t.Fatalf("the operator log does not begin at index 0: %+v", page.Operator)
	}
	var state oplog.State
	var history oplog.CommitHistory
	for i, r := range page.Operator {
		if err := state.Validate(r.Envelope); err != nil {
			t.Fatalf("operator record %d: %v", i, err)
		}
		if r.Index >= length {
			t.Fatalf("operator record %d stands at index %d of %d", i, r.Index, length)
		}
		if err := history.Observe(r.Index, &state); err != nil {
			t.Fatalf("operator record %d: %v", i, err)
		}
	}
	if !history.Holds(s.OperatorKey.ID(), length) {
		t.Errorf("key %s signed the checkpoint without permission", s.OperatorKey.ID())
	}
	if ns, ok := state.Namespace(DefinedNamespace); !ok || !ns.Defined {
		t.Errorf("namespace %s is %+v", DefinedNamespace, ns)
	}
	if ns, ok := state.Namespace(ImportedNamespace); s.Imports && (!ok || ns.Defined || ns.Registry != ImportedRegistry) {
		t.Errorf("namespace %s is %+v", ImportedNamespace, ns)
	}
}

// checkReplay: the logs are those that were published, bytes and signatures included,
// and replay.
func checkReplay(t testing.TB, s *scene) {
	page := s.logs(t, s.world.request(s.world.latest().LogLength))
	if page.More {
		t.Error("more records are said to follow")
	}
	for i, p := range s.world.packages {
		records := page.Packages[i].Records
		sameRecords(t, records, p.records)
		var state pkglog.State
		for j, r := range records {
			if err := state.Validate(r.Envelope); err != nil {
				t.Fatalf("record %d of %s: %v", j, p.Name(), err)
			}
		}
	}
}

// checkEveryLength: at every checkpoint there ever was, exactly the records below it
// are shown, and a log without any is unknown.
func checkEveryLength(t testing.TB, s *scene) {
	for _, v := range s.world.views {
		length := v.Checkpoint.LogLength
		page := s.logs(t, s.world.request(length))
		shown := 0
		for _, p := range s.world.packages {
			want := p.visible(length)
			if len(want) > 0 {
				sameRecords(t, page.Packages[shown].Records, want)
				shown++
				continue
			}
			_, err := s.Registry.Logs(t.Context(), warg.LogsRequest{LogLength: length, Packages: []warg.LogCursor{{LogID: p.LogID()}}})
			refused(t, "fetching a log that began later", err, warg.NotFound(warg.KindLogNotFound, p.LogID()))
		}
	}
}

// checkPaging reads all logs with every limit up to more than the longest has, and
// must find each record once, in order.
func checkPaging(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	all := s.logs(t, s.world.request(length))
	for limit := 1; limit <= longLog+1; limit++ {
		req := s.world.request(length)
		req.Limit = limit
		var operator []warg.Record
		logs := make([][]warg.Record, len(req.Packages))
		for pages := 1; ; pages++ {
			page := s.logs(t, req)
			full := len(page.Operator) == limit
			if operator = append(operator, page.Operator...); len(operator) > 0 {
				req.Operator = operator[len(operator)-1].Token
			}
			for i, log := range page.Packages {
				full = full || len(log.Records) == limit
				if logs[i] = append(logs[i], log.Records...); len(logs[i]) > 0 {
					req.Packages[i].Token = logs[i][len(logs[i])-1].Token
				}
			}
			if page.More != full {
				t.Fatalf("limit %d, page %d: more is %v, but a list is full: %v", limit, pages, page.More, full)
			}
			if !page.More {
				break
			}
			if pages > 2*longLog+len(all.Operator) {
				t.Fatalf("limit %d: no end after %d pages", limit, pages)
			}
		}
		if !equalRecords(operator, all.Operator) {
			t.Errorf("limit %d: the operator log read by pages differs", limit)
		}
		for i, log := range all.Packages {
			if !equalRecords(logs[i], log.Records) {
				t.Errorf("limit %d: log %s read by pages differs", limit, log.LogID)
			}
		}
	}
}

func equalRecords(a, b []warg.Record) bool {
	return slices.EqualFunc(a, b, func(x, y warg.Record) bool {
		x.JSON, y.JSON = nil, nil
		return reflect.DeepEqual(x, y)
	})
}

// checkLogOrder: logs are answered in the order asked, from the place asked.
func checkLogOrder(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	req := s.world.request(length)
	all := s.logs(t, req)
	slices.Reverse(req.Packages)
	for i := range req.Packages {
		records := all.Packages[len(all.Packages)-1-i].Records
		req.Packages[i].Token = records[0].Token
	}
	page := s.logs(t, req)
	for i, log := range page.Packages {
		if !equalRecords(log.Records, all.Packages[len(all.Packages)-1-i].Records[1:]) {
			t.Errorf("log %s after its first record differs", log.LogID)
		}
	}
	last := req
	last.Packages = nil
	for _, log := range all.Packages {
		last.Packages = append(last.Packages, warg.LogCursor{LogID: log.LogID, Token: log.Records[len(log.Records)-1].Token})
	}
	for _, log := range s.logs(t, last).Packages {
		if len(log.Records) != 0 {
			t.Errorf("log %s has records after its last", log.LogID)
		}
	}
}

func checkLimits(t testing.TB, s *scene) {
	req := s.world.request(s.world.latest().LogLength)
	for _, limit := range []int{-1, warg.MaxFetchLimit + 1, 1 << 20} {
		req.Limit = limit
		_, err := s.Registry.Logs(t.Context(), req)
		refused(t, "fetching logs with a limit out of range", err, kind(warg.KindBadRequest))
	}
	req.Limit = warg.MaxFetchLimit
	s.logs(t, req)
}

// checkUnknownLength: the length must be one of a checkpoint, and that is said before
// anything about packages.
func checkUnknownLength(t testing.TB, s *scene) {
	for _, length := range []uint64{0, s.world.latest().LogLength + 1, 1 << 40, 1<<64 - 1} {
		for _, packages := range [][]warg.LogCursor{nil, {{LogID: strangerLog()}}} {
			_, err := s.Registry.Logs(t.Context(), warg.LogsRequest{LogLength: length, Packages: packages})
			refused(t, "fetching logs at an unknown length", err, kind(warg.KindLengthNotFound))
			if e := api.AsError(err); err != nil && e.Number != length {
				t.Errorf("the error names length %d, want %d", e.Number, length)
			}
		}
	}
}

// checkUnknownLog: one unknown log fails the request, and a log of which nothing is
// published is unknown.
func checkUnknownLog(t testing.TB, s *scene) {
	for _, id := range []warg.LogID{strangerLog(), s.world.pending.LogID()} {
		req := s.world.request(s.world.latest().LogLength)
		req.Packages = append(req.Packages, warg.LogCursor{LogID: id})
		_, err := s.Registry.Logs(t.Context(), req)
		refused(t, "fetching an unknown log", err, warg.NotFound(warg.KindLogNotFound, id))
	}
}

// checkUnknownToken: a token that names no record of its log is an error, or where
// the subject says so the same as none.
func checkUnknownToken(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	all := s.logs(t, s.world.request(length))
	foreign := all.Packages[1].Records[0].Token
	for _, token := range []string{"nonsense", "sha256:", warg.Sum([]byte("no record")).String(), foreign} {
		reqs := []warg.LogsRequest{
			{LogLength: length, Operator: token},
			{LogLength: length, Packages: []warg.LogCursor{{LogID: all.Packages[0].LogID, Token: token}}},
		}
		for i, req := range reqs {
			if !s.Restarts {
				_, err := s.Registry.Logs(t.Context(), req)
				refused(t, "fetching with an unknown token", err, &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: token})
				continue
			}
			page := s.logs(t, req)
			if !equalRecords(page.Operator, all.Operator) || i == 1 && !equalRecords(page.Packages[0].Records, all.Packages[0].Records) {
				t.Errorf("token %q of list %d is not answered from the start", token, i)
			}
		}
	}
}

// checkReadyJSON: where a record brings its JSON along, it is that of the record.
func checkReadyJSON(t testing.TB, s *scene) {
	page := s.logs(t, s.world.request(s.world.latest().LogLength))
	lists := [][]warg.Record{page.Operator}
	for _, log := range page.Packages {
		lists = append(lists, log.Records)
	}
	for _, r := range slices.Concat(lists...) {
		if r.JSON == nil {
			continue
		}
		got := r.JSON
		r.JSON = nil
		if want := api.AppendRecord(nil, r); !bytes.Equal(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
