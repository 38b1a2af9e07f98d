package api

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// maxErrorText is how much of a message or id of an error body is kept, in bytes.
// They end in log lines and on terminals; ours are far shorter.
const maxErrorText = 4096

// ParseError reads an error answer of an operation of the given family, with the
// given HTTP status. The result is never nil. A body that is not one of the forms
// of the protocol, or that contradicts the HTTP status, yields a kind that carries
// a message, chosen by the HTTP status alone, and the reason in Err: what a proxy
// on the way or a hostile server makes up never looks like "log not found".
func ParseError(family Family, status int, body []byte) *warg.Error {
	var b errorBody
	err := b.parse(body)
	if err == nil && b.status != uint64(status) {
		err = fmt.Errorf("error body says status %d", b.status)
	}
	if err == nil {
		if e, ok := b.toError(family); ok {
			return e
		}
		err = fmt.Errorf("unknown form of error body")
	}
	return &warg.Error{
		Kind:    kindOfStatus(family, status, ""),
		Message: fmt.Sprintf("the registry answered with status %d", status),
		Err:     fmt.Errorf("reading error answer with status %d: %w", status, err),
	}
}

// errorBody holds the members of all forms.
type errorBody struct {
	status             uint64
	label              string
	hasType, hasReason bool
	hasMessage         bool
	message, id, logID string
	hasID, hasNumber   bool
	number             uint64
	root, found        warg.Digest
	hasRoot, hasFound  bool
}

func (b *errorBody) parse(body []byte) error {
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{
		Names:    []string{"status", "message", "type", "id", "reason", "root", "found", "log_id", "logId"},
		Required: 1,
	}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			b.status = d.Uint(math.MaxUint16)
		case 1:
			b.message, b.hasMessage = clipText(d.Text()), true
		case 2:
			b.label, b.hasType = clipText(d.Text()), true
		case 3:
			b.parseID(d)
		case 4:
			b.label, b.hasReason = clipText(d.Text()), true
		case 5:
			b.root, b.hasRoot = readDigest(d), true
		case 6:
			b.found, b.hasFound = readDigest(d), true
		case 7, 8:
			b.logID = clipText(d.Text())
		}
	}
	return d.Err()
}

// parseID reads the id, which is a number for lengths and leaves.
func (b *errorBody) parseID(d *strictjson.Decoder) {
	if d.AtNumber() {
		b.number, b.hasNumber = d.Uint(math.MaxUint64), true
		return
	}
	b.id, b.hasID = clipText(d.Text()), true
}

// toError finds the row of the table that b has the form of.
func (b *errorBody) toError(family Family) (*warg.Error, bool) {
	switch {
	case b.hasType || b.hasReason:
		for kind, r := range table {
			if r.status == int(b.status) && r.label == b.label && b.fits(r.shape) {
				return &warg.Error{Kind: warg.Kind(kind), ID: b.id + b.logID, Number: b.number, Message: b.message, Root: b.root, Found: b.found}, true
			}
		}
		return nil, false
	case b.hasMessage:
		return &warg.Error{Kind: kindOfStatus(family, int(b.status), b.message), Message: b.message}, true
	case b.status == uint64(table[warg.KindNotSourcing].status):
		return &warg.Error{Kind: warg.KindNotSourcing}, true
	}
	return nil, false
}

// fits reports whether b has the members of a shape with a label, and none of
// those that would make its meaning depend on the reader.
func (b *errorBody) fits(s shape) bool {
	switch s {
	case shapeID:
		return b.hasType && b.hasID
	case shapeNumber:
		return b.hasType && b.hasNumber
	case shapeFailure:
		return b.hasReason && b.hasMessage
	case shapeIncorrect:
		return b.hasReason && b.hasRoot && b.hasFound
	case shapeNotInMap:
		return b.hasReason && b.logID != ""
	}
	return false
}

// kindOfStatus returns the kind for a status with a message. In the package family
// 422 is a rejection, unless the message says that our body did not fit.
func kindOfStatus(family Family, status int, message string) warg.Kind {
	if status == table[warg.KindRejected].status {
		if family == FamilyPackage && message != "" && !strings.HasPrefix(message, shapePrefix) {
			return warg.KindRejected
		}
		return warg.KindUnprocessable
	}
	for kind, r := range table {
		if r.status == status && r.shape == shapeMessage {
			return warg.Kind(kind)
		}
	}
	if status >= 400 && status < 500 {
		return warg.KindBadRequest
	}
	return warg.KindInternal
}

// clipText copies at most maxErrorText bytes of b, ending between characters.
func clipText(b []byte) string {
	if len(b) <= maxErrorText {
		return string(b)
	}
	n := maxErrorText
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return string(b[:n])
}
