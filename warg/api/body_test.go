package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

const (
	hexA = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" // of "a"
	hexB = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d" // of "b"
)

// roundTrip checks that body is written as want, is JSON, and reads back as the
// same value.
func roundTrip[T any](t *testing.T, value T, write func([]byte, T) []byte, read func([]byte) (T, error), want string) {
	t.Helper()
	body := write([]byte("x"), value)[1:]
	if want != "" {
		wantBytes(t, body, want)
	}
	if !json.Valid(body) {
		t.Errorf("not JSON: %s", body)
	}
	got, err := read(body)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, value) {
		t.Errorf("got  %+v\nwant %+v", got, value)
	}
	for i := range body { // what was read must not change with the input
		body[i] = 'z'
	}
	if !reflect.DeepEqual(got, value) {
		t.Error("the result aliases the input")
	}
}

func TestCheckpoint(t *testing.T) {
	roundTrip(t, checkpoint(), AppendCheckpoint, ParseCheckpoint, "")
	roundTrip(t, checkpoint(), AppendCheckpoint, ParseVerifyRequest, "")
}

func TestLogsRequest(t *testing.T) {
	a, b := warg.LogID(digest("a")), warg.LogID(digest("b"))
	tests := []struct {
		name string
		req  warg.LogsRequest
		want string
	}{
		{"least", warg.LogsRequest{LogLength: 7}, `{"logLength":7}`},
		{"most", warg.LogsRequest{LogLength: 1<<64 - 1, Limit: 1000, Operator: "o\"", Packages: []warg.LogCursor{{LogID: b, Token: "t"}, {LogID: a}}},
			`{"logLength":18446744073709551615,"limit":1000,"operator":"o\"","packages":{"sha256:` + hexB + `":"t","sha256:` + hexA + `":null}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { roundTrip(t, tt.req, AppendLogsRequest, ParseLogsRequest, tt.want) })
	}
}

func TestLogsPage(t *testing.T) {
	roundTrip(t, logsPage(3, 2), AppendLogsPage, ParseLogsPage, "")
	roundTrip(t, warg.LogsPage{}, AppendLogsPage, ParseLogsPage, `{"more":false}`)
	empty := warg.LogsPage{Packages: []warg.LogRecords{{LogID: warg.LogID(digest("a")), Records: []warg.Record{}}}}
	roundTrip(t, empty, AppendLogsPage, ParseLogsPage, `{"more":false,"packages":{"sha256:`+hexA+`":[]}}`)
	warned := warg.LogsPage{Warnings: []string{"a", "b"}}
	roundTrip(t, warned, AppendLogsPage, ParseLogsPage, `{"more":false,"warnings":[{"message":"a"},{"message":"b"}]}`)
}

func TestLogsPageTakesReadyJSON(t *testing.T) {
	page := logsPage(2, 3)
	want := string(AppendLogsPage(nil, page))
	for _, log := range page.Packages {
		for i := range log.Records {
			log.Records[i].JSON = AppendRecord(nil, log.Records[i])
			log.Records[i].Content = nil // not looked at again
		}
	}
	wantBytes(t, AppendLogsPage(nil, page), want)
	buf := make([]byte, 0, 2*len(want))
	page.Operator = nil
	if n := testing.AllocsPerRun(10, func() { AppendLogsPage(buf, page) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPageSizeIsEnough(t *testing.T) {
	page := logsPage(5, 20)
	body := AppendLogsPage(nil, page)
	if size := pageSize(page); size < len(body) {
		t.Errorf("estimated %d bytes for %d", size, len(body))
	}
}

func TestNames(t *testing.T) {
	a, op := name("test:a"), warg.OperatorLogID
	ids := []warg.LogID{op, a.LogID()}
	roundTrip(t, ids, AppendNamesRequest, ParseNamesRequest, fmt.Sprintf(`{"packages":["%s","%s"]}`, op, a.LogID()))
	roundTrip(t, []warg.LogID{}, AppendNamesRequest, ParseNamesRequest, `{"packages":[]}`)
	body := AppendNames(nil, ids, []warg.PackageName{{}, a})
	wantBytes(t, body, fmt.Sprintf(`{"packages":{"%s":null,"%s":"test:a"}}`, op, a.LogID()))
	got, err := ParseNames(body)
	if err != nil || len(got) != 2 || got[a.LogID()] != a || !got[op].IsZero() {
		t.Errorf("got %v, %v", got, err)
	}
	wantBytes(t, AppendNames(nil, nil, nil), `{"packages":{}}`)
}

func TestNamesRequestKeepsTheFirst(t *testing.T) {
	var ids []warg.LogID
	for i := range warg.MaxNames + 5 {
		ids = append(ids, warg.LogID(digest(fmt.Sprint(i))))
	}
	ids[3] = ids[2]
	got, err := ParseNamesRequest(AppendNamesRequest(nil, ids))
	if err != nil {
		t.Fatal(err)
	}
	if want := warg.MaxNames - 1; len(got) != want || got[3] != ids[4] || got[want-1] != ids[warg.MaxNames-1] {
		t.Errorf("%d ids", len(got))
	}
}

func TestPublishRequest(t *testing.T) {
	b := PublishBody{Name: name("test:a"), Record: envelope("x")}
	roundTrip(t, b, AppendPublishRequest, ParsePublishRequest,
		fmt.Sprintf(`{"packageName":"test:a","record":{"contentBytes":"eA==","keyId":"%s","signature":"%s"}}`, b.Record.KeyID, b.Record.Signature))
	b.Sources = []DigestSources{{Digest: digest("a"), Sources: []Source{{URL: "https://h/x", Size: -1}}}}
	roundTrip(t, b, AppendPublishRequest, ParsePublishRequest, "")
	req := b.Request(b.Name.LogID())
	if req.LogID != b.Name.LogID() || req.Name != b.Name || string(req.Record.Content) != "x" {
		t.Errorf("got %+v", req)
	}
}

func TestRecordStatus(t *testing.T) {
	log, id := warg.LogID(digest("l")), warg.RecordID(digest("r"))
	write := func(dst []byte, s warg.RecordStatus) []byte { return AppendRecordStatus(dst, log, s) }
	a, b := digest("a"), digest("b")
	head := `{"recordId":"` + id.String() + `","state":`
	roundTrip(t, warg.RecordStatus{RecordID: id, State: warg.StateProcessing}, write, ParseRecordStatus, head+`"processing"}`)
	roundTrip(t, warg.RecordStatus{RecordID: id, State: warg.StateRejected, Reason: "no\n"}, write, ParseRecordStatus, head+`"rejected","reason":"no\n"}`)
	roundTrip(t, warg.RecordStatus{RecordID: id, State: warg.StatePublished, Index: 42}, write, ParseRecordStatus, head+`"published","registryIndex":42}`)
	sourcing := warg.RecordStatus{RecordID: id, State: warg.StateSourcing, Missing: []warg.Digest{a, b}, Uploads: map[warg.Digest][]warg.UploadSite{
		a: {{Method: "PUT", URL: "https://h/1"}, {Method: "POST", URL: "v1/upload/x"}}, b: {},
	}}
	roundTrip(t, sourcing, write, ParseRecordStatus, head+`"sourcing","missingContent":{"sha256:`+hexA+`":{"upload":[{"type":"http","method":"PUT","url":"https://h/1"},{"type":"http","method":"POST","url":"v1/upload/x"}]},"sha256:`+hexB+`":{"upload":[]}}}`)

	own := warg.RecordStatus{RecordID: id, State: warg.StateSourcing, Missing: []warg.Digest{a}}
	body := write(nil, own)
	wantBytes(t, body, head+`"sourcing","missingContent":{"sha256:`+hexA+`":{"upload":[{"type":"http","method":"POST","url":"`+PathUpload(log, id, a)+`"}]}}}`)
	got, err := ParseRecordStatus(body)
	if err != nil || len(got.Uploads[a]) != 1 || got.Uploads[a][0].URL != PathUpload(log, id, a) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRecordStatusSkipsUnusableUploads(t *testing.T) {
	id := digest("r").String()
	const site = `{"type":"%s","method":"%s","url":"u"%s}`
	sites := strings.Join([]string{
		fmt.Sprintf(site, "ftp", "POST", ""), fmt.Sprintf(site, "http", "post", ""), fmt.Sprintf(site, "http", "PATCH", ""),
		fmt.Sprintf(site, "http", "POST", `,"headers":{"x":"y"}`), fmt.Sprintf(site, "http", "POST", `,"headers":{}`), `{"type":"carrier pigeon"}`,
	}, ",")
	s, err := ParseRecordStatus([]byte(`{"recordId":"` + id + `","state":"sourcing","missingContent":{"sha256:` + hexA + `":{"upload":[` + sites + `]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Uploads[digest("a")]; len(got) != 1 || got[0] != (warg.UploadSite{Method: "POST", URL: "u"}) {
		t.Errorf("got %+v", got)
	}
}

func TestSources(t *testing.T) {
	contents := []DigestSources{
		{Digest: digest("b"), Sources: []Source{{URL: "https://h/content/sha256-x", AcceptRanges: true, Size: 0}, {URL: "u", Size: -1}}},
		{Digest: digest("a"), Sources: []Source{}},
	}
	roundTrip(t, contents, AppendSources, ParseSources,
		`{"contentSources":{"sha256:`+hexB+`":[{"type":"httpGet","url":"https://h/content/sha256-x","acceptRanges":true,"size":0},{"type":"httpGet","url":"u"}],"sha256:`+hexA+`":[]}}`)
	got, err := ParseSources([]byte(`{"contentSources":{"sha256:` + hexA + `":[{"type":"torrent"},{"type":"httpGet","url":"u","size":null}]}}`))
	if err != nil || len(got[0].Sources) != 1 || got[0].Sources[0].Size != -1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestProofs(t *testing.T) {
	type request struct {
		length uint64
		leaves []uint64
	}
	roundTrip(t, request{5, []uint64{0, 3, 2, 4}},
		func(dst []byte, r request) []byte { return AppendInclusionRequest(dst, r.length, r.leaves) },
		func(b []byte) (r request, err error) {
			r.length, r.leaves, err = ParseInclusionRequest(b)
			return r, err
		},
		`{"logLength":5,"leafs":[0,3,2,4]}`)
	roundTrip(t, warg.InclusionProof{Log: []byte{1, 2}, Map: []byte{}}, AppendInclusion, ParseInclusion, `{"log":"AQI=","map":""}`)
	roundTrip(t, [2]uint64{3, 1<<64 - 1},
		func(dst []byte, r [2]uint64) []byte { return AppendConsistencyRequest(dst, r[0], r[1]) },
		func(b []byte) (r [2]uint64, err error) { r[0], r[1], err = ParseConsistencyRequest(b); return r, err },
		`{"from":3,"to":18446744073709551615}`)
	roundTrip(t, []byte{255}, AppendConsistency, ParseConsistency, `{"proof":"/w=="}`)
	if got, err := ParseConsistency([]byte(`{"proof":"/w"}`)); err != nil || string(got) != "\xff" {
		t.Errorf("without padding: got %x, %v", got, err)
	}
}

func TestVerification(t *testing.T) {
	roundTrip(t, warg.Verification{Checkpoint: warg.Verified, Signature: warg.Invalid}, AppendVerification, ParseVerification, `{"checkpoint":"verified","signature":"invalid"}`)
	roundTrip(t, warg.Verification{RetryAfter: 60}, AppendVerification, ParseVerification, `{"checkpoint":"unverified","signature":"unverified","retryAfter":60}`)
}

func TestLedger(t *testing.T) {
	roundTrip(t, LedgerPages(0, PathLedgerRecords), AppendLedger, ParseLedger, `{"hashAlgorithm":"sha256","sources":[]}`)
	roundTrip(t, LedgerPages(1234, PathLedgerRecords), AppendLedger, ParseLedger,
		`{"hashAlgorithm":"sha256","sources":[`+
			`{"firstRegistryIndex":0,"lastRegistryIndex":999,"url":"v1/ledger/records/0","contentType":"application/vnd.warg.ledger.packed"},`+
			`{"firstRegistryIndex":1000,"lastRegistryIndex":1233,"url":"v1/ledger/records/1000","contentType":"application/vnd.warg.ledger.packed"}]}`)
	roundTrip(t, []LedgerSource{{Last: 6, URL: "u", AcceptRanges: true, ContentType: "c"}}, AppendLedger, ParseLedger, "")
	if got := LedgerPages(2000, PathLedgerRecords); len(got) != 2 || got[1].Last != 1999 {
		t.Errorf("got %+v", got)
	}
}

func TestWellKnown(t *testing.T) {
	roundTrip(t, WellKnown{Preferred: "oci", OCI: &WellKnownOCI{Registry: "r.example"}, WargURL: "https://r.example"}, AppendWellKnown, ParseWellKnown,
		`{"preferredProtocol":"oci","oci":{"registry":"r.example","namespacePrefix":""},"warg":{"url":"https://r.example"}}`)
	roundTrip(t, WellKnown{Preferred: "warg", WargURL: "u", LegacyWarg: "v"}, AppendWellKnown, ParseWellKnown, `{"preferredProtocol":"warg","warg":{"url":"u"},"wargUrl":"v"}`)
	got, err := ParseWellKnown([]byte(`{"wargUrl":null,"other":{"a":1}}`))
	if err != nil || got != (WellKnown{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestLimitOfRequest separates the shape of a limit from its range.
func TestLimitOfRequest(t *testing.T) {
	tests := []struct {
		limit string
		kind  warg.Kind // KindInternal: accepted
		want  int
	}{
		{"null", 0, 0}, {"1", 0, 1}, {"1000", 0, 1000},
		{"0", warg.KindBadRequest, 0}, {"1001", warg.KindBadRequest, 0}, {"65535", warg.KindBadRequest, 0},
		{"65536", warg.KindUnprocessable, 0}, {"-1", warg.KindUnprocessable, 0}, {`"5"`, warg.KindUnprocessable, 0}, {"1.5", warg.KindUnprocessable, 0},
	}
	for _, tt := range tests {
		t.Run(tt.limit, func(t *testing.T) {
			req, err := ParseLogsRequest([]byte(`{"logLength":1,"limit":` + tt.limit + `}`))
			if tt.kind == 0 {
				if err != nil || req.Limit != tt.want {
					t.Errorf("got %d, %v", req.Limit, err)
				}
				return
			}
			if !errors.Is(err, &warg.Error{Kind: tt.kind}) {
				t.Errorf("got %v, want kind %d", err, tt.kind)
			}
		})
	}
	_, err := ParseLogsRequest([]byte(`{"logLength":1,"limit":0}`))
	if got := err.Error(); got != "invalid records limit value `0`: must be between 1 and 1000" {
		t.Errorf("got %q", got)
	}
}
