package api

import "slices"

// Op is an operation of the HTTP surface.
type Op uint8

// The operations.
const (
	OpNone                  Op = iota
	OpCheckpoint               // latest checkpoint
	OpLogs                     // records of logs
	OpNames                    // names of package logs
	OpPublish                  // submit a record
	OpRecord                   // state of a record
	OpUpload                   // content that a record waits for
	OpUploadCapability         // the same for another registry; the URL holds the right to do it
	OpSources                  // where content can be fetched
	OpConsistency              // consistency proof
	OpInclusion                // inclusion proof
	OpVerify                   // judgement of a checkpoint
	OpLedger                   // where the ledger can be fetched
	OpLedgerRecords            // a page of the ledger
	OpUpstreamLedgerRecords    // the same of another registry, named in the URL
	OpContent                  // content bytes of our own releases
	OpUpstreamContent          // content bytes of another registry, named in the URL
	OpWellKnown                // discovery document
	opCount
)

// Ops is the number of operations, OpNone included; tables indexed by Op have
// this length.
const Ops = int(opCount)

// Family groups operations that share a vocabulary of errors.
type Family uint8

// The families. The status 422 with a message means a rejected record in
// FamilyPackage, and a body that does not fit elsewhere.
const (
	FamilyOther Family = iota // only generic errors
	FamilyFetch
	FamilyPackage
	FamilyContent
	FamilyProof
	FamilyMonitor
	FamilyLedger
)

// Method sets of a route, as the Allow header of the protocol spells them.
const (
	methodsRead   = "GET,HEAD"
	methodsPost   = "POST"
	methodsUpload = "POST,PUT"
)

// Route is one row of the route table.
type Route struct {
	Op       Op
	Name     string // in metrics and documents
	Methods  string // comma-separated, as the Allow header has them; HEAD where GET is
	Template string // absolute path; a segment in braces is a parameter
	Family   Family
	Status   int    // of success
	Type     string // content type of success, "" for an empty answer
	Header   bool   // the Warg-Registry header selects the registry
}

// routes is the route table, ordered by Op; OpNone has no row. It never changes.
var routes = [...]Route{
	{OpCheckpoint, "checkpoint", methodsRead, "/v1/fetch/checkpoint", FamilyFetch, 200, ContentTypeJSON, true},
	{OpLogs, "logs", methodsPost, "/v1/fetch/logs", FamilyFetch, 200, ContentTypeJSON, true},
	{OpNames, "names", methodsPost, "/v1/fetch/names", FamilyFetch, 200, ContentTypeJSON, true},
	{OpPublish, "publish", methodsPost, "/v1/package/{log_id}/record", FamilyPackage, 202, ContentTypeJSON, true},
	{OpRecord, "record", methodsRead, "/v1/package/{log_id}/record/{record_id}", FamilyPackage, 200, ContentTypeJSON, true},
	{OpUpload, "upload", methodsUpload, "/v1/package/{log_id}/record/{record_id}/content/{digest}", FamilyPackage, 201, "", true},
	{OpUploadCapability, "upload_capability", methodsUpload, "/v1/upload/{capability}", FamilyPackage, 201, "", false},
	{OpSources, "sources", methodsRead, "/v1/content/{digest}", FamilyContent, 200, ContentTypeJSON, true},
	{OpConsistency, "consistency", methodsPost, "/v1/proof/consistency", FamilyProof, 200, ContentTypeJSON, true},
	{OpInclusion, "inclusion", methodsPost, "/v1/proof/inclusion", FamilyProof, 200, ContentTypeJSON, true},
	{OpVerify, "verify", methodsPost, "/v1/verify/checkpoint", FamilyMonitor, 200, ContentTypeJSON, true},
	{OpLedger, "ledger", methodsRead, "/v1/ledger", FamilyLedger, 200, ContentTypeJSON, true},
	{OpLedgerRecords, "ledger_records", methodsRead, "/v1/ledger/records/{start}", FamilyLedger, 200, ContentTypeLedger, true},
	{OpUpstreamLedgerRecords, "upstream_ledger_records", methodsRead, "/v1/ledger/{domain}/records/{start}", FamilyLedger, 200, ContentTypeLedger, false},
	{OpContent, "content", methodsRead, "/content/{file}", FamilyContent, 200, ContentTypeBytes, false},
	{OpUpstreamContent, "upstream_content", methodsRead, "/content/{domain}/{file}", FamilyContent, 200, ContentTypeBytes, false},
	{OpWellKnown, "well_known", methodsRead, "/.well-known/wasm-pkg/registry.json", FamilyOther, 200, ContentTypeJSON, false},
}

// Routes returns the route table, ordered by Op.
func Routes() []Route { return slices.Clone(routes[:]) }

// Route returns the row of the route table for o, or the zero Route for OpNone.
func (o Op) Route() Route {
	if o == OpNone || o >= opCount {
		return Route{}
	}
	return routes[o-1]
}

// String returns the operation's name in metrics and documents.
func (o Op) String() string {
	if r := o.Route(); r.Name != "" {
		return r.Name
	}
	return "none"
}

// Family returns the operation's vocabulary of errors.
func (o Op) Family() Family { return o.Route().Family }
