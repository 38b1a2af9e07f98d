package warg

import "fmt"

// Kind classifies an [Error]. The set is closed: the api package maps every kind
// to one HTTP status and one JSON shape, in both directions, so that errors.Is
// holds on both sides of the wire.
type Kind uint8

// The kinds of error. The comment gives the HTTP status.
const (
	KindInternal          Kind = iota // 500; the detail goes to the log, never to the client
	KindBadRequest                    // 400 message
	KindUnauthorized                  // 401 message: unknown key, bad signature, policy
	KindForbidden                     // 403 message: HTTP access rules
	KindLogNotFound                   // 404 log
	KindRecordNotFound                // 404 record
	KindNamespaceNotFound             // 404 namespace
	KindContentNotFound               // 404 contentDigest
	KindFetchTokenUnknown             // 404 fetchToken
	KindLengthNotFound                // 404 logLength, the id is a number
	KindLeafNotFound                  // 404 leaf, the id is a number
	KindNotFound                      // 404 message
	KindNamespaceImported             // 409 namespaceImport
	KindRecordPending                 // 409 record: that record of the log is being processed, or is its head
	KindConflict                      // 409 message
	KindNotSourcing                   // 405: the record does not wait for content
	KindTooLarge                      // 413 message
	KindUnsupportedMedia              // 415 message
	KindUnprocessable                 // 422 message
	KindRejected                      // 422 message: a content or record policy said no
	KindProofFailure                  // 422 reason failure
	KindProofIncorrect                // 422 reason incorrectProof, with both roots
	KindNotInMap                      // 422 reason packageNotIncluded
	KindTooMany                       // 429 message
	KindUnsupported                   // 501 message
	KindUpstreamInvalid               // 502 message: verification refused what upstream sent
	KindUnavailable                   // 503 message
	KindUpstreamTimeout               // 504 message
	KindNoSpace                       // 507 message
	kindCount
)

// Kinds is the number of kinds; tables indexed by Kind have this length.
const Kinds = int(kindCount)

// Error is an error that may be told to a client. Which of the fields besides
// Kind matter depends on the kind.
type Error struct {
	Kind       Kind
	ID         string // the id of what was not found or conflicts, as text
	Number     uint64 // the length or leaf that was not found
	Message    string // for the kinds that carry a message
	Root       Digest // KindProofIncorrect: the root there should be
	Found      Digest // KindProofIncorrect: the root the proof leads to
	RetryAfter int    // seconds after which trying again may help, 0 = not said
	Err        error  // what caused it; logged, not sent
}

// Errorf returns an error of a kind that carries a message.
func Errorf(kind Kind, format string, args ...any) *Error {
	e := &Error{Kind: kind}
	if wrapped := fmt.Errorf(format, args...); wrapped != nil {
		e.Message, e.Err = wrapped.Error(), wrapped
	}
	return e
}

// NotFound returns an error of a kind that names what was not found, or conflicts.
func NotFound(kind Kind, id fmt.Stringer) *Error { return &Error{Kind: kind, ID: id.String()} }

// Error describes the error in one line.
func (e *Error) Error() string {
	switch {
	case e.Message != "":
		return e.Message
	case e.ID != "":
		return fmt.Sprintf("%s `%s`", kindText[e.Kind], e.ID)
	case e.Kind == KindLengthNotFound || e.Kind == KindLeafNotFound:
		return fmt.Sprintf("%s %d", kindText[e.Kind], e.Number)
	case e.Err != nil:
		return e.Err.Error()
	}
	return kindText[e.Kind]
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error of the same kind. A target that has an
// ID or a Number must agree on it as well.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && (t.ID == "" || t.ID == e.ID) && (t.Number == 0 || t.Number == e.Number)
}

var kindText = [kindCount]string{
	KindInternal:          "an error occurred while processing the request",
	KindBadRequest:        "bad request",
	KindUnauthorized:      "not authorized",
	KindForbidden:         "forbidden",
	KindLogNotFound:       "unknown log",
	KindRecordNotFound:    "unknown record",
	KindNamespaceNotFound: "unknown namespace",
	KindContentNotFound:   "unknown content",
	KindFetchTokenUnknown: "unknown fetch token",
	KindLengthNotFound:    "no checkpoint of length",
	KindLeafNotFound:      "no leaf at index",
	KindNotFound:          "not found",
	KindNamespaceImported: "namespace belongs to another registry:",
	KindRecordPending:     "another record of this log comes first:",
	KindConflict:          "conflict",
	KindNotSourcing:       "the record does not wait for content",
	KindTooLarge:          "too large",
	KindUnsupportedMedia:  "unsupported media type",
	KindUnprocessable:     "unprocessable",
	KindRejected:          "rejected",
	KindProofFailure:      "no proof",
	KindProofIncorrect:    "the record is not the head of its log at this length",
	KindNotInMap:          "log is not in the map:",
	KindTooMany:           "too many requests",
	KindUnsupported:       "not supported",
	KindUpstreamInvalid:   "the upstream registry's answer failed verification",
	KindUnavailable:       "temporarily unavailable",
	KindUpstreamTimeout:   "the upstream registry did not answer in time",
	KindNoSpace:           "no space left",
}
