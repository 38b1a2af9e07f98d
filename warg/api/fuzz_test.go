package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// twoWays checks a pair of parser and writer on one input: what parses is written
// as JSON that parses to the same value and is then written the same.
func twoWays[T any](t *testing.T, body []byte, read func([]byte) (T, error), write func([]byte, T) []byte) {
	t.Helper()
	v, err := read(body)
	if err != nil {
		return
	}
	first := write(nil, v)
	if !json.Valid(first) {
		t.Fatalf("%q was written as %q, which is not JSON", body, first)
	}
	w, err := read(first)
	if err != nil {
		t.Fatalf("%q was written as %q, which does not parse: %v", body, first, err)
	}
	if !reflect.DeepEqual(v, w) {
		t.Fatalf("%q was written as %q: %+v became %+v", body, first, v, w)
	}
	if second := write(nil, w); !bytes.Equal(first, second) {
		t.Fatalf("written as %q, then as %q", first, second)
	}
}

// seedBodies are bodies of every kind; every fuzz target is given all of them.
func seedBodies(f *testing.F) {
	f.Helper()
	log, id := warg.LogID(digest("l")), warg.RecordID(digest("r"))
	sourcing := warg.RecordStatus{RecordID: id, State: warg.StateSourcing, Missing: []warg.Digest{digest("a")}}
	sources := []DigestSources{{Digest: digest("a"), Sources: []Source{{URL: "https://h/x", AcceptRanges: true, Size: 7}}}}
	seeds := [][]byte{
		AppendCheckpoint(nil, checkpoint()),
		AppendLogsRequest(nil, warg.LogsRequest{LogLength: 7, Limit: 5, Operator: "o", Packages: []warg.LogCursor{{LogID: log, Token: "t"}}}),
		AppendLogsPage(nil, logsPage(2, 1)),
		AppendNamesRequest(nil, []warg.LogID{log}),
		AppendNames(nil, []warg.LogID{name("a:b").LogID(), log}, []warg.PackageName{name("a:b"), {}}),
		AppendPublishRequest(nil, PublishBody{Name: name("a:b"), Record: envelope("x"), Sources: sources}),
		AppendRecordStatus(nil, log, sourcing),
		AppendRecordStatus(nil, log, warg.RecordStatus{RecordID: id, State: warg.StatePublished, Index: 3}),
		AppendRecordStatus(nil, log, warg.RecordStatus{RecordID: id, State: warg.StateRejected, Reason: "no"}),
		AppendSources(nil, sources),
		AppendInclusionRequest(nil, 5, []uint64{1, 2}),
		AppendInclusion(nil, warg.InclusionProof{Log: []byte("l"), Map: []byte("m")}),
		AppendConsistencyRequest(nil, 1, 2),
		AppendConsistency(nil, []byte("p")),
		AppendVerification(nil, warg.Verification{Signature: warg.Verified, RetryAfter: 5}),
		AppendLedger(nil, LedgerPages(1001, PathLedgerRecords)),
		AppendWellKnown(nil, WellKnown{Preferred: "oci", OCI: &WellKnownOCI{Registry: "r"}, WargURL: "u", LegacyWarg: "v"}),
	}
	seeds = append(seeds, []byte(`{"more":true,"operator":[]}`)) // an empty list that is said
	for kind := range warg.Kind(warg.Kinds) {
		seeds = append(seeds, AppendError(nil, sample(kind)))
	}
	for _, s := range seeds {
		f.Add(s)
	}
}

func FuzzAnswers(f *testing.F) {
	seedBodies(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		twoWays(t, body, ParseCheckpoint, AppendCheckpoint)
		twoWays(t, body, ParseRecord, AppendRecord)
		twoWays(t, body, ParseLogsPage, AppendLogsPage)
		twoWays(t, body, ParseSources, AppendSources)
		twoWays(t, body, ParseInclusion, AppendInclusion)
		twoWays(t, body, ParseConsistency, AppendConsistency)
		twoWays(t, body, ParseVerification, AppendVerification)
		twoWays(t, body, ParseLedger, AppendLedger)
		twoWays(t, body, ParseWellKnown, AppendWellKnown)
		twoWays(t, body, ParseRecordStatus, func(dst []byte, s warg.RecordStatus) []byte {
			return AppendRecordStatus(dst, warg.LogID{}, s)
		})
		if names, err := ParseNames(body); err == nil && len(names) > warg.MaxNames {
			t.Fatalf("%d names", len(names))
		}
	})
}

func FuzzRequests(f *testing.F) {
	seedBodies(f)
	type pair struct {
		length uint64
		leaves []uint64
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		twoWays(t, body, ParseLogsRequest, AppendLogsRequest)
		twoWays(t, body, ParseNamesRequest, AppendNamesRequest)
		twoWays(t, body, ParsePublishRequest, AppendPublishRequest)
		twoWays(t, body, ParseVerifyRequest, AppendCheckpoint)
		twoWays(t, body, func(b []byte) (p pair, err error) { p.length, p.leaves, err = ParseInclusionRequest(b); return p, err },
			func(dst []byte, p pair) []byte { return AppendInclusionRequest(dst, p.length, p.leaves) })
		twoWays(t, body, func(b []byte) (p [2]uint64, err error) { p[0], p[1], err = ParseConsistencyRequest(b); return p, err },
			func(dst []byte, p [2]uint64) []byte { return AppendConsistencyRequest(dst, p[0], p[1]) })
		if _, err := ParseLogsRequest(body); err != nil {
			e, ok := errors.AsType[*warg.Error](err)
			if !ok || e.Kind == warg.KindInternal {
				t.Fatalf("%q is refused with %v", body, err)
			}
		}
	})
}

// FuzzError: an error answer is always an error that can be told on, and one that
// fits the protocol keeps its kind.
func FuzzError(f *testing.F) {
	for kind := range warg.Kind(warg.Kinds) {
		f.Add(uint8(FamilyPackage), Status(kind), AppendError(nil, sample(kind)))
	}
	f.Fuzz(func(t *testing.T, family uint8, status int, body []byte) {
		e := ParseError(Family(family), status, body)
		if e == nil || int(e.Kind) >= warg.Kinds || len(e.Message) > maxErrorText || len(e.ID) > 2*maxErrorText {
			t.Fatalf("got %+v", e)
		}
		told := AppendError(nil, e)
		again := ParseError(Family(family), Status(e.Kind), told)
		if e.Kind != again.Kind && e.Kind != warg.KindUnprocessable {
			t.Fatalf("%q was told as %q: kind %d became %d", body, told, e.Kind, again.Kind)
		}
	})
}

func FuzzSegments(f *testing.F) {
	for _, s := range []string{"sha256:" + hexA, "sha256%3A" + hexA, "sha256-" + hexA, "1000", "%", "%4", "%zz", "host:80", "[::1]-80", "%2e%2e%2f", "a\r\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if d, err := SegmentDigest(raw); err == nil && d.String() != Segment(raw) {
			t.Fatalf("%q read as %s", raw, d)
		}
		if d, ok := SegmentContent(raw); ok && ContentFile(d) != Segment(raw) {
			t.Fatalf("%q read as %s", raw, d)
		}
		if domain, err := SegmentDomain(raw); err == nil && (domain != Segment(raw) || strings.ContainsAny(domain, "/\\\r\n\x00%") || domain == "." || domain == "..") {
			t.Fatalf("%q read as %q", raw, domain)
		}
		if n, err := SegmentStart(raw); err == nil && !strings.HasSuffix(Segment(raw), strings.TrimPrefix(PathLedgerRecords(n), "v1/ledger/records/")) {
			t.Fatalf("%q read as %d", raw, n)
		}
		if ns, domain, ok := ParseHint(raw); ok && Hint(ns, domain) != raw {
			t.Fatalf("%q read as %q and %q", raw, ns, domain)
		}
	})
}
