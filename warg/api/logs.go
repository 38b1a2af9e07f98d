package api

import (
	"math"
	"slices"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// Bounds of an answer of OpLogs.
const (
	maxWarnings   = 100     // for people to read
	maxPageTotal  = 1 << 20 // records in all; at about 500 bytes each, half a gigabyte of text
	logsPageFixed = 256     // bytes of an answer besides records and log ids, roughly
	recordGuess   = 640     // bytes of a record whose JSON is not at hand
	logKeyBytes   = len(`,"":[]`) + 71
)

// AppendLogsRequest appends the request of OpLogs. Members that say nothing are
// left out, since some servers refuse members they do not know.
func AppendLogsRequest(dst []byte, req warg.LogsRequest) []byte {
	dst = strconv.AppendUint(append(dst, `{"logLength":`...), req.LogLength, 10)
	if req.Limit != 0 {
		dst = strconv.AppendInt(append(dst, `,"limit":`...), int64(req.Limit), 10)
	}
	if req.Operator != "" {
		dst = appendMember(dst, "operator", req.Operator)
	}
	if len(req.Packages) == 0 {
		return append(dst, '}')
	}
	dst = append(dst, `,"packages":{`...)
	for i, c := range req.Packages {
		dst = appendComma(dst, i)
		dst = append(appendDigest(dst, warg.Digest(c.LogID)), ':')
		if c.Token == "" {
			dst = append(dst, `null`...)
		} else {
			dst = strictjson.AppendString(dst, c.Token)
		}
	}
	return append(dst, `}}`...)
}

// ParseLogsRequest reads the request of OpLogs. The logs are in the order of the
// request. Errors:
//
//	KindBadRequest         not JSON, or a limit out of range
//	KindUnprocessable      the wrong shape, an unknown member, or more than warg.MaxFetchLogs logs
//	KindFetchTokenUnknown  an empty token, which no registry ever handed out
func ParseLogsRequest(body []byte) (warg.LogsRequest, error) {
	var (
		req        warg.LogsRequest
		limitGiven bool
		emptyToken bool
	)
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"logLength", "limit", "operator", "packages"}, Required: 1, Refuse: true}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			req.LogLength = d.Uint(math.MaxUint64)
		case 1:
			if limitGiven = !d.Null(); limitGiven {
				req.Limit = int(d.Uint(math.MaxUint16))
			}
		case 2:
			token, null := readToken(d)
			req.Operator = token
			emptyToken = emptyToken || !null && token == ""
		case 3:
			var empty bool
			req.Packages, empty = readCursors(d)
			emptyToken = emptyToken || empty
		}
	}
	if err := d.Err(); err != nil {
		return warg.LogsRequest{}, requestError(err)
	}
	if limitGiven && (req.Limit < 1 || req.Limit > warg.MaxFetchLimit) {
		return warg.LogsRequest{}, LimitError(req.Limit)
	}
	if emptyToken {
		return warg.LogsRequest{}, &warg.Error{Kind: warg.KindFetchTokenUnknown}
	}
	return req, nil
}

// LimitError returns the error for a limit of records that is out of range.
func LimitError(limit int) error {
	return warg.Errorf(warg.KindBadRequest, "invalid records limit value `%d`: must be between 1 and %d", limit, warg.MaxFetchLimit)
}

// readCursors reads the logs asked for, and whether one of their tokens is empty.
func readCursors(d *strictjson.Decoder) (cursors []warg.LogCursor, emptyToken bool) {
	seen := make(map[warg.LogID]struct{})
	for d.BeginObject(); d.Key(); {
		id := warg.LogID(keyDigest(d))
		if _, dup := seen[id]; dup {
			d.Fail("duplicate member")
		}
		if len(seen) == warg.MaxFetchLogs {
			d.Fail("more than %d logs", warg.MaxFetchLogs)
		}
		seen[id] = struct{}{}
		token, null := readToken(d)
		emptyToken = emptyToken || !null && token == ""
		cursors = append(cursors, warg.LogCursor{LogID: id, Token: token})
	}
	return cursors, emptyToken
}

// AppendLogsPage appends the answer of OpLogs.
func AppendLogsPage(dst []byte, p warg.LogsPage) []byte {
	dst = slices.Grow(dst, pageSize(p))
	dst = strconv.AppendBool(append(dst, `{"more":`...), p.More)
	if len(p.Operator) > 0 {
		dst = appendRecords(append(dst, `,"operator":`...), p.Operator)
	}
	if len(p.Packages) > 0 {
		dst = append(dst, `,"packages":{`...)
		for i, log := range p.Packages {
			dst = appendComma(dst, i)
			dst = append(appendDigest(dst, warg.Digest(log.LogID)), ':')
			dst = appendRecords(dst, log.Records)
		}
		dst = append(dst, '}')
	}
	if len(p.Warnings) > 0 {
		dst = append(dst, `,"warnings":[`...)
		for i, w := range p.Warnings {
			dst = appendComma(dst, i)
			dst = strictjson.AppendString(append(dst, `{"message":`...), w)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// pageSize estimates the bytes of an answer, so that it is built in one piece.
func pageSize(p warg.LogsPage) int {
	size := logsPageFixed + recordsSize(p.Operator)
	for _, log := range p.Packages {
		size += logKeyBytes + recordsSize(log.Records)
	}
	return size
}

func recordsSize(records []warg.Record) (size int) {
	for i := range records {
		if n := len(records[i].JSON); n > 0 {
			size += n + 1
		} else {
			size += recordGuess + len(records[i].Content)*4/3
		}
	}
	return size
}

func appendRecords(dst []byte, records []warg.Record) []byte {
	dst = append(dst, '[')
	for i := range records {
		dst = appendComma(dst, i)
		dst = AppendRecord(dst, records[i])
	}
	return append(dst, ']')
}

// appendComma appends the comma before every element but the first.
func appendComma(dst []byte, i int) []byte {
	if i == 0 {
		return dst
	}
	return append(dst, ',')
}
