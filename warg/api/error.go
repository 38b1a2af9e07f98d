package api

import (
	"errors"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// shape is a form of error body. The member status, the HTTP status, comes first
// in all of them.
type shape uint8

const (
	shapeMessage   shape = iota // message
	shapeID                     // type, id as a string
	shapeNumber                 // type, id as a number
	shapeStatus                 // nothing else
	shapeFailure                // reason, message
	shapeIncorrect              // reason, root, found
	shapeNotInMap               // reason, log_id; logId for those who follow the published document
)

// row says how one kind of error travels.
type row struct {
	status int
	shape  shape
	label  string // value of type or reason
}

// table is the only place that says which kind has which status and which body,
// for writing and for reading. It never changes.
var table = [warg.Kinds]row{
	warg.KindInternal:          {500, shapeMessage, ""},
	warg.KindBadRequest:        {400, shapeMessage, ""},
	warg.KindUnauthorized:      {401, shapeMessage, ""},
	warg.KindForbidden:         {403, shapeMessage, ""},
	warg.KindLogNotFound:       {404, shapeID, "log"},
	warg.KindRecordNotFound:    {404, shapeID, "record"},
	warg.KindNamespaceNotFound: {404, shapeID, "namespace"},
	warg.KindContentNotFound:   {404, shapeID, "contentDigest"},
	warg.KindFetchTokenUnknown: {404, shapeID, "fetchToken"},
	warg.KindLengthNotFound:    {404, shapeNumber, "logLength"},
	warg.KindLeafNotFound:      {404, shapeNumber, "leaf"},
	warg.KindNotFound:          {404, shapeMessage, ""},
	warg.KindNamespaceImported: {409, shapeID, "namespaceImport"},
	warg.KindRecordPending:     {409, shapeID, "record"},
	warg.KindConflict:          {409, shapeMessage, ""},
	warg.KindNotSourcing:       {405, shapeStatus, ""},
	warg.KindTooLarge:          {413, shapeMessage, ""},
	warg.KindUnsupportedMedia:  {415, shapeMessage, ""},
	warg.KindUnprocessable:     {422, shapeMessage, ""},
	warg.KindRejected:          {422, shapeMessage, ""},
	warg.KindProofFailure:      {422, shapeFailure, "failure"},
	warg.KindProofIncorrect:    {422, shapeIncorrect, "incorrectProof"},
	warg.KindNotInMap:          {422, shapeNotInMap, "packageNotIncluded"},
	warg.KindTooMany:           {429, shapeMessage, ""},
	warg.KindUnsupported:       {501, shapeMessage, ""},
	warg.KindUpstreamInvalid:   {502, shapeMessage, ""},
	warg.KindUnavailable:       {503, shapeMessage, ""},
	warg.KindUpstreamTimeout:   {504, shapeMessage, ""},
	warg.KindNoSpace:           {507, shapeMessage, ""},
}

// Status returns the HTTP status of a kind of error.
func Status(kind warg.Kind) int {
	if int(kind) >= warg.Kinds {
		return table[warg.KindInternal].status
	}
	return table[kind].status
}

// AsError returns err as an error that may be told to a client: err itself or the
// *warg.Error that it wraps, else a KindInternal that wraps err.
func AsError(err error) *warg.Error {
	if e, ok := errors.AsType[*warg.Error](err); ok {
		return e
	}
	return &warg.Error{Kind: warg.KindInternal, Err: err}
}

// AppendError appends the body that tells e. What caused e is not told, nor is the
// message of KindInternal.
func AppendError(dst []byte, e *warg.Error) []byte {
	kind := e.Kind
	if int(kind) >= warg.Kinds {
		kind = warg.KindInternal
	}
	r := table[kind]
	dst = strconv.AppendInt(append(dst, `{"status":`...), int64(r.status), 10)
	switch r.shape {
	case shapeMessage:
		dst = appendMember(dst, "message", message(kind, e))
	case shapeID:
		dst = appendMember(dst, "type", r.label)
		dst = appendMember(dst, "id", e.ID)
	case shapeNumber:
		dst = appendMember(dst, "type", r.label)
		dst = strconv.AppendUint(append(dst, `,"id":`...), e.Number, 10)
	case shapeFailure:
		dst = appendMember(dst, "reason", r.label)
		dst = appendMember(dst, "message", message(kind, e))
	case shapeIncorrect:
		dst = appendMember(dst, "reason", r.label)
		dst = appendMember(dst, "root", e.Root.String())
		dst = appendMember(dst, "found", e.Found.String())
	case shapeNotInMap:
		dst = appendMember(dst, "reason", r.label)
		dst = appendMember(dst, "log_id", e.ID)
		dst = appendMember(dst, "logId", e.ID)
	case shapeStatus:
	}
	return append(dst, '}')
}

// message returns what e tells a client, or the fixed text of its kind.
func message(kind warg.Kind, e *warg.Error) string {
	if e.Message == "" || kind == warg.KindInternal {
		return (&warg.Error{Kind: kind}).Error()
	}
	return e.Message
}

// appendMember appends a comma and a member with a string value.
func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, ',', '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	return strictjson.AppendString(dst, value)
}
