package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// endpoint is one row of the route table with everything that is to be said
// about it. The table drives the router, /openapi.json, the reference page and
// the test that every described answer occurs.
type endpoint struct {
	api.Route
	summary string    // one line
	about   string    // what a client has to know besides
	request string    // media type of the request's body, "" = none
	schema  string    // name of the schema of a JSON request
	answers []answer  // other than errors
	faults  []fault   // errors with a body
	empty   []nothing // errors without a body
	handle  func(*call) error
}

// answer is a described success.
type answer struct {
	status int
	media  string // "" = an empty body
	schema string // of a JSON body
	when   string
}

// fault is a described error: its kind says status and body.
type fault struct {
	kind warg.Kind
	when string
}

// nothing is a described error without a body.
type nothing struct {
	status int
	when   string
}

// params returns the names of the template's parameters, in order.
func (e *endpoint) params() []string {
	var names []string
	for segment := range strings.SplitSeq(e.Template, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names = append(names, strings.TrimSuffix(name, "}"))
		}
	}
	return names
}

// methods returns the methods that the endpoint takes.
func (e *endpoint) methods() []string { return strings.Split(e.Methods, ",") }

// takesJSON reports whether the request has a JSON body.
func (e *endpoint) takesJSON() bool { return e.request == api.ContentTypeJSON }

// endpoints returns the route table. The order is that of the reference page.
func endpoints() []endpoint {
	rows := slices.Concat(fetchEndpoints(), packageEndpoints(), contentEndpoints(), proofEndpoints(), ledgerEndpoints(), siteEndpoints())
	for i := range rows {
		rows[i].addCommonFaults()
	}
	return rows
}

// addCommonFaults adds what is the same for whole groups of rows.
func (e *endpoint) addCommonFaults() {
	if names := e.params(); len(names) > 0 && !e.lenientPath() {
		e.add(warg.KindBadRequest, "a path parameter is malformed")
	}
	if e.Header {
		e.add(warg.KindBadRequest, "the `Warg-Registry` header is malformed")
		e.add(warg.KindNotFound, "the registry that the `Warg-Registry` header names is not served here")
	}
	if e.takesJSON() {
		e.add(warg.KindUnsupportedMedia, "the content type is not JSON")
		e.add(warg.KindTooLarge, "the body is larger than 2 MiB")
		e.add(warg.KindBadRequest, "the body is not JSON, or ended early")
		e.add(warg.KindUnprocessable, "the body is JSON of the wrong shape")
		e.add(warg.KindUnavailable, "too many request bodies, or too many requests for more than 64 things, at once")
	}
	if e.Op != api.OpNone && e.Op != api.OpWellKnown {
		e.add(warg.KindUpstreamInvalid, "verification refused what the upstream sent")
		e.add(warg.KindUnavailable, "what was asked for is not held here and the upstream cannot be reached, or the authority is fenced")
		e.add(warg.KindUpstreamTimeout, "the upstream did not answer in time")
		e.add(warg.KindInternal, "something broke here; the log has the request id of the answer")
	}
}

// lenientPath reports whether a malformed parameter is just one that leads nowhere.
func (e *endpoint) lenientPath() bool {
	return e.Op == api.OpContent || e.Op == api.OpUpstreamContent || e.Op == api.OpUploadCapability
}

func (e *endpoint) add(kind warg.Kind, when string) { e.faults = append(e.faults, fault{kind, when}) }

// jsonAnswer describes the usual success of a row.
func jsonAnswer(route api.Route, schema, when string) []answer {
	return []answer{{route.Status, route.Type, schema, when}}
}

func fetchEndpoints() []endpoint {
	checkpoint, logs, names := api.OpCheckpoint.Route(), api.OpLogs.Route(), api.OpNames.Route()
	return []endpoint{
		{
			Route:   checkpoint,
			summary: "the latest signed checkpoint",
			answers: jsonAnswer(checkpoint, "SignedCheckpoint", "the checkpoint; it never shrinks"),
			handle:  (*call).checkpoint,
		},
		{
			Route:   logs,
			summary: "records of the operator log and of package logs",
			about: "Every log asked for is in the answer, or the request fails. `more` stands for all lists: repeat the call with the new fetch tokens while it is true. " +
				"A 404 for a log of a namespace that the operator mapped to another registry carries `Warg-Registry-Hint: <namespace>=<domain>`, unless the request had a `Warg-Registry` header.",
			request: api.ContentTypeJSON, schema: "FetchLogsRequest",
			answers: jsonAnswer(logs, "FetchLogsResponse", "the records"),
			faults: []fault{
				{warg.KindBadRequest, "the limit is out of range"},
				{warg.KindLogNotFound, "a log has no record below the length"},
				{warg.KindFetchTokenUnknown, "a token names no record of its log"},
				{warg.KindLengthNotFound, "no checkpoint has that length"},
			},
			handle: (*call).logs,
		},
		{
			Route:   names,
			summary: "names of package logs",
			about:   "Only the first 1000 ids are looked at; ask again for what is missing. A log without a name (the operator log) has `null`.",
			request: api.ContentTypeJSON, schema: "FetchNamesRequest",
			answers: jsonAnswer(names, "FetchNamesResponse", "the names"),
			faults:  []fault{{warg.KindLogNotFound, "a log is unknown or has nothing published"}},
			handle:  (*call).names,
		},
	}
}

func packageEndpoints() []endpoint {
	publish, record := api.OpPublish.Route(), api.OpRecord.Route()
	return []endpoint{
		{
			Route:   publish,
			summary: "submit a package record",
			about: "What was answered with 202 is durable. Poll the record until it is `published` or `rejected`. Submitting a known record again changes nothing and answers its current state. " +
				"Upload URLs are relative to the base URL. For another registry the record is handed on as it was signed, with our credentials and not the caller's; " +
				"it is `published` when a checkpoint of that registry which was verified here covers it.",
			request: api.ContentTypeJSON, schema: "PublishRequest",
			answers: jsonAnswer(publish, "RecordStatus", "accepted, or known already"),
			faults: []fault{
				{warg.KindBadRequest, "log id and name disagree, or the record does not decode"},
				{warg.KindUnauthorized, "unknown key, bad signature, or the policy says no"},
				{warg.KindNamespaceNotFound, "the namespace is not defined"},
				{warg.KindNamespaceImported, "the namespace belongs to another registry"},
				{warg.KindRecordPending, "another record of the log comes first: wait for it, then try again on its head"},
				{warg.KindConflict, "the record is known under another name"},
				{warg.KindTooMany, "the key has too many records waiting for content"},
				{warg.KindUnsupported, "content sources are given, or the registry takes no records through us"},
				{warg.KindNoSpace, "no space is left"},
			},
			handle: (*call).publish,
		},
		{
			Route:   record,
			summary: "the state of a record",
			answers: jsonAnswer(record, "RecordStatus", "the state"),
			faults: []fault{
				{warg.KindLogNotFound, "the log is unknown"},
				{warg.KindRecordNotFound, "the record is unknown"},
			},
			handle: (*call).record,
		},
		uploadEndpoint(),
		uploadCapabilityEndpoint(),
	}
}

func uploadEndpoint() endpoint {
	upload := api.OpUpload.Route()
	return endpoint{
		Route:   upload,
		summary: "upload content that a record waits for",
		about: "The body is the content itself, of any content type, with a length or chunked. It needs neither header nor token: knowing the record id is the right to upload. " +
			"The digest is checked first, so bytes that were damaged on the way can always be sent again.",
		request: api.ContentTypeBytes,
		answers: []answer{{upload.Status, "", "", "stored"}},
		faults: []fault{
			{warg.KindBadRequest, "the record does not want this digest, the bytes have another one, or the body ended early"},
			{warg.KindLogNotFound, "the log is unknown"},
			{warg.KindRecordNotFound, "the record is unknown"},
			{warg.KindNotSourcing, "the record does not wait for content"},
			{warg.KindTooLarge, "the content is larger than the limit"},
			{warg.KindRejected, "the content policy says no; the record is rejected"},
			{warg.KindUnsupported, "the registry takes no content through us"},
			{warg.KindNoSpace, "no space is left"},
		},
		handle: (*call).upload,
	}
}

func uploadCapabilityEndpoint() endpoint {
	upload := api.OpUploadCapability.Route()
	return endpoint{
		Route:   upload,
		summary: "upload content that a record of another registry waits for",
		about: "The URL comes from the record's state and is itself the right to upload; it holds for a day, over restarts. The body is as for our own records. " +
			"All of it is received and its digest checked before the registry gets it. Content that the registry has by then is no error.",
		request: api.ContentTypeBytes,
		answers: []answer{{upload.Status, "", "", "the registry has it"}},
		faults: []fault{
			{warg.KindNotFound, "the URL does not hold, or does not any more"},
			{warg.KindBadRequest, "the bytes have another digest, or the body ended early"},
			{warg.KindUnauthorized, "the registry does not let us"},
			{warg.KindLogNotFound, "the registry does not know the log any more"},
			{warg.KindRecordNotFound, "the registry does not know the record any more"},
			{warg.KindNotSourcing, "the record was rejected"},
			{warg.KindTooLarge, "the content is larger than the limit"},
			{warg.KindRejected, "the registry's content policy says no; the record is rejected"},
			{warg.KindTooMany, "the registry takes no more at present"},
			{warg.KindUnsupported, "the registry takes no content through us"},
			{warg.KindNoSpace, "no space is left"},
		},
		handle: (*call).uploadCapability,
	}
}

func contentEndpoints() []endpoint {
	sources, own, foreign := api.OpSources.Route(), api.OpContent.Route(), api.OpUpstreamContent.Route()
	const about = "The bytes behind a URL never change. `ETag` is the digest. One range at a time; conditional requests as in RFC 9110."
	bytes := []answer{
		{http.StatusOK, api.ContentTypeBytes, "", "the content"},
		{http.StatusPartialContent, api.ContentTypeBytes, "", "the range asked for"},
		{http.StatusNotModified, "", "", "the client has it already"},
	}
	empty := []nothing{
		{http.StatusNotFound, "there is no such content"},
		{http.StatusPreconditionFailed, "`If-Match` or `If-Unmodified-Since` does not hold"},
		{http.StatusRequestedRangeNotSatisfiable, "the range is malformed or beyond the end; for several ranges the body says `Cannot serve multipart range requests`"},
	}
	return []endpoint{
		{
			Route:   sources,
			summary: "where content can be fetched",
			about:   "URLs are absolute and begin with the base URL of this server, also for content of another registry.",
			answers: jsonAnswer(sources, "ContentSources", "the sources"),
			faults:  []fault{{warg.KindContentNotFound, "there is no such content"}},
			handle:  (*call).sources,
		},
		{Route: own, summary: "content of our own releases", about: about, answers: bytes, empty: empty, handle: (*call).content},
		{Route: foreign, summary: "content of another registry", about: about, answers: bytes, empty: empty, handle: (*call).content},
	}
}

func proofEndpoints() []endpoint {
	consistency, inclusion, verify := api.OpConsistency.Route(), api.OpInclusion.Route(), api.OpVerify.Route()
	return []endpoint{
		{
			Route:   consistency,
			summary: "prove that one log length extends another",
			request: api.ContentTypeJSON, schema: "ConsistencyRequest",
			answers: jsonAnswer(consistency, "ConsistencyResponse", "the proof, an encoded log proof bundle"),
			faults: []fault{
				{warg.KindLengthNotFound, "`to` is beyond the latest checkpoint"},
				{warg.KindProofFailure, "`from` is 0 or beyond `to`"},
			},
			handle: (*call).consistency,
		},
		{
			Route:   inclusion,
			summary: "prove that records are the heads of their logs",
			about:   "Proofs are in the order of `leafs`.",
			request: api.ContentTypeJSON, schema: "InclusionRequest",
			answers: jsonAnswer(inclusion, "InclusionResponse", "the proofs, encoded log and map proof bundles"),
			faults: []fault{
				{warg.KindLeafNotFound, "an index is beyond the log"},
				{warg.KindLengthNotFound, "no checkpoint has that length"},
				{warg.KindProofFailure, "no leaves, or one newer than the length"},
				{warg.KindProofIncorrect, "a record is not the head of its log at that length"},
				{warg.KindNotInMap, "a log is not in the map"},
			},
			handle: (*call).inclusion,
		},
		{
			Route:   verify,
			summary: "judge a checkpoint that somebody else was given",
			request: api.ContentTypeJSON, schema: "SignedCheckpoint",
			answers: jsonAnswer(verify, "VerifyResponse", "the judgement"),
			handle:  (*call).verify,
		},
	}
}

func ledgerEndpoints() []endpoint {
	ledger, own, foreign := api.OpLedger.Route(), api.OpLedgerRecords.Route(), api.OpUpstreamLedgerRecords.Route()
	const about = "64 bytes an entry: the digest of the log id, the digest of the record id. At most 1000 entries, none beyond the latest checkpoint; beyond the end the body is empty. A full page never changes."
	return []endpoint{
		{
			Route:   ledger,
			summary: "where the ledger can be fetched",
			answers: jsonAnswer(ledger, "Ledger", "the pages, ascending, without gaps"),
			handle:  (*call).ledger,
		},
		{Route: own, summary: "a page of the ledger", about: about, answers: jsonAnswer(own, "", "the entries"), handle: (*call).ledgerRecords},
		{Route: foreign, summary: "a page of another registry's ledger", about: about, answers: jsonAnswer(foreign, "", "the entries"),
			faults: []fault{{warg.KindNotFound, "the registry is not served here"}}, handle: (*call).ledgerRecords},
	}
}

// siteEndpoints are the rows that do not belong to the protocol.
func siteEndpoints() []endpoint {
	wellKnown := api.OpWellKnown.Route()
	site := func(name, template, media string) api.Route {
		return api.Route{Name: name, Methods: wellKnown.Methods, Template: template, Status: http.StatusOK, Type: media}
	}
	health, ready := site("healthz", "/healthz", api.ContentTypeJSON), site("readyz", "/readyz", api.ContentTypeJSON)
	openAPI, index := site("openapi", "/openapi.json", api.ContentTypeJSON), site("index", "/", "text/html; charset=utf-8")
	return []endpoint{
		{Route: wellKnown, summary: "discovery document for `warg` and `wkg`", answers: jsonAnswer(wellKnown, "WellKnown", "the document"), handle: (*call).wellKnown},
		{Route: health, summary: "is the process alive", answers: jsonAnswer(health, "Health", "it is"),
			faults: []fault{{warg.KindUnavailable, "it should be ended and started again, and why"}}, handle: (*call).health},
		{Route: ready, summary: "can the server serve", answers: jsonAnswer(ready, "Ready", "it can; upstreams in quarantine are named"),
			faults: []fault{{warg.KindUnavailable, "it cannot, and why"}}, handle: (*call).ready},
		{Route: openAPI, summary: "this table as an OpenAPI document", answers: jsonAnswer(openAPI, "", "OpenAPI 3.1"), handle: (*call).openAPI},
		{Route: index, summary: "a page for people", answers: jsonAnswer(index, "", "HTML"), handle: (*call).index},
	}
}
