package warg

import (
	"context"
	"io"
	"time"
)

// Registry answers reads for exactly one registry. It is implemented by the
// authority, by the verified replica of an upstream registry, by the in-memory
// registry of wargtest, and by the HTTP client, and all of them pass the same
// conformance suite.
//
// Every method may return an [*Error]; the kinds that belong to a method are
// listed with it. KindInternal, KindUnavailable and, from a replica,
// KindUpstreamInvalid and KindUpstreamTimeout are possible everywhere.
type Registry interface {
	// Domain returns the registry's name, the value of the Warg-Registry header.
	Domain() string

	// Checkpoint returns the latest signed checkpoint. It never shrinks.
	Checkpoint(ctx context.Context) (View, error)

	// Logs returns records of the operator log and of the logs asked for.
	//
	//	KindBadRequest         the limit is out of range
	//	KindFetchTokenUnknown  a token names no record of its log
	//	KindLengthNotFound     no checkpoint has that length
	//	KindLogNotFound        a log has no record below the length
	Logs(ctx context.Context, req LogsRequest) (LogsPage, error)

	// Names returns the package names of logs, in the order asked. A log whose
	// name cannot be given (the operator log) has the zero name.
	//
	//	KindLogNotFound        a log is unknown or has nothing published
	Names(ctx context.Context, ids []LogID) ([]PackageName, error)

	// Inclusion proves that the records at the given registry indexes are in the
	// log, and are the heads of their logs in the map, at the checkpoint of the
	// given length. Proofs are in request order.
	//
	//	KindLeafNotFound       an index is beyond the log
	//	KindProofFailure       no leaves, or a leaf newer than the length
	//	KindLengthNotFound     no checkpoint has that length
	//	KindProofIncorrect     a record is not the head of its log at that length
	Inclusion(ctx context.Context, length uint64, leaves []uint64) (InclusionProof, error)

	// Consistency proves that the log of length to extends the log of length
	// from. It returns an encoded log proof bundle.
	//
	//	KindProofFailure       from is 0 or beyond to
	//	KindLengthNotFound     to is beyond the latest checkpoint
	Consistency(ctx context.Context, from, to uint64) ([]byte, error)

	// Record returns the state of a package record.
	//
	//	KindLogNotFound, KindRecordNotFound
	Record(ctx context.Context, log LogID, id RecordID) (RecordStatus, error)

	// Stat reports whether content is available, and its size.
	//
	//	KindContentNotFound
	Stat(ctx context.Context, digest Digest) (ContentInfo, error)

	// Open opens content that Stat would report. The bytes were verified when
	// they were stored.
	//
	//	KindContentNotFound
	Open(ctx context.Context, digest Digest) (Content, error)

	// Ledger returns up to max packed entries (64 bytes each: raw log id, raw
	// record id) from index start on, never beyond the latest checkpoint. Beyond
	// the end it returns no bytes and no error.
	Ledger(ctx context.Context, start uint64, max int) ([]byte, error)

	// VerifyCheckpoint judges a checkpoint that somebody else was given.
	VerifyCheckpoint(ctx context.Context, s SignedCheckpoint) (Verification, error)
}

// Publisher accepts records. What it returned with a nil error is durable.
type Publisher interface {
	// Publish accepts a record for asynchronous processing, or returns the
	// current state of one that is known already.
	//
	//	KindBadRequest         log id and name disagree, or the record does not decode
	//	KindNamespaceNotFound, KindNamespaceImported
	//	KindUnauthorized       policy, unknown key, bad signature
	//	KindRecordPending      another record of the log comes first
	//	KindConflict           the record is known under another name
	//	KindTooMany, KindNoSpace
	Publish(ctx context.Context, req PublishRequest) (RecordStatus, error)

	// Upload stores content that the record waits for. The digest is checked
	// first; only bytes with the right digest meet the content policy.
	//
	//	KindLogNotFound, KindRecordNotFound
	//	KindNotSourcing        the record is not waiting for content
	//	KindBadRequest         the digest is not wanted, or the bytes have another one
	//	KindRejected           the content policy said no; the record is rejected
	//	KindTooLarge, KindNoSpace
	Upload(ctx context.Context, log LogID, id RecordID, digest Digest, body io.Reader) error
}

// View is a checkpoint as a registry answers it now.
type View struct {
	Signed     SignedCheckpoint
	Checkpoint Checkpoint // what Signed verifies to
	VerifiedAt time.Time  // when the registry last knew it to be the newest; zero for our own
	Warning    string     // why the answer may be stale; empty when it is not
}

// LogsRequest asks for records. The operator log is always part of the answer.
type LogsRequest struct {
	LogLength uint64 // length of a checkpoint; records at or beyond it are hidden
	Limit     int    // records per log, 0 = DefaultFetchLimit
	Operator  string // fetch token of the last operator record known, "" = from the start
	Packages  []LogCursor
}

// LogCursor names a log and where to go on in it.
type LogCursor struct {
	LogID LogID
	Token string // fetch token of the last record known, "" = from the start
}

// LogsPage is the answer to a LogsRequest. Packages are in the order asked.
type LogsPage struct {
	More     bool // some list has as many records as the limit allows
	Operator []Record
	Packages []LogRecords
	Warnings []string
}

// LogRecords are records of one log.
type LogRecords struct {
	LogID   LogID
	Records []Record
}

// Record is a published record.
type Record struct {
	Envelope
	Index uint64 // position in the registry log
	Token string // fetch token that continues after this record
	JSON  []byte // the record's published JSON form if it is at hand, else nil; not to be modified
}

// InclusionProof holds two encoded bundles, both in request order.
type InclusionProof struct {
	Log []byte // log proof bundle
	Map []byte // map proof bundle
}

// State is what has become of a record.
type State uint8

// The states of a record.
const (
	StateSourcing   State = iota + 1 // waits for content
	StateProcessing                  // complete, not yet covered by a checkpoint
	StateRejected                    // final
	StatePublished                   // final, covered by a checkpoint
)

// String returns the state's name on the wire.
func (s State) String() string {
	if s > StatePublished {
		s = 0
	}
	return [...]string{"unknown", "sourcing", "processing", "rejected", "published"}[s]
}

// RecordStatus is the state of a record with what belongs to that state.
type RecordStatus struct {
	RecordID RecordID
	State    State
	Missing  []Digest                // StateSourcing: content to upload
	Uploads  map[Digest][]UploadSite // StateSourcing: where, if not at the record's own upload path
	Reason   string                  // StateRejected
	Index    uint64                  // StatePublished: registry index
}

// UploadSite is a place that takes an upload.
type UploadSite struct {
	Method string // POST or PUT
	URL    string // absolute, or relative to the registry's base URL
}

// PublishRequest carries a package record.
type PublishRequest struct {
	LogID  LogID // from the path; must be the id derived from Name
	Name   PackageName
	Record Envelope
}

// ContentInfo describes available content.
type ContentInfo struct {
	Digest Digest
	Size   int64 // bytes
}

// Content is open content: an *os.File, or bytes held in memory.
type Content interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Verdict says what is known of a checkpoint or a signature.
type Verdict uint8

// The verdicts.
const (
	Unverified Verdict = iota // not known yet; ask again later
	Verified
	Invalid
)

// String returns the verdict's name on the wire.
func (v Verdict) String() string {
	return [...]string{"unverified", "verified", "invalid"}[min(v, Invalid)]
}

// Verification is the answer to VerifyCheckpoint.
type Verification struct {
	Checkpoint Verdict
	Signature  Verdict
	RetryAfter int // seconds, if something is Unverified
}
