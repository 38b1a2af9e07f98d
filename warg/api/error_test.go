package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// sample returns an error of the kind with the fields that travel.
func sample(kind warg.Kind) *warg.Error {
	e := &warg.Error{Kind: kind}
	switch table[kind].shape {
	case shapeMessage, shapeFailure:
		e.Message = fmt.Sprintf("what happened: \"%d\"\n", kind)
	case shapeID, shapeNotInMap:
		e.ID = warg.OperatorLogID.String()
	case shapeNumber:
		e.Number = 1<<64 - 1
	case shapeIncorrect:
		e.Root, e.Found = warg.Sum([]byte("a")), warg.Sum([]byte("b"))
	}
	return e
}

// families in which a kind is told.
func familiesOf(kind warg.Kind) []Family {
	all := []Family{FamilyOther, FamilyFetch, FamilyPackage, FamilyContent, FamilyProof, FamilyMonitor, FamilyLedger}
	if kind == warg.KindRejected {
		return []Family{FamilyPackage}
	}
	return all
}

func TestErrorRoundTrip(t *testing.T) {
	for kind := range warg.Kind(warg.Kinds) {
		sent := sample(kind)
		switch kind {
		case warg.KindInternal:
			sent.Message = (&warg.Error{Kind: kind}).Error()
		case warg.KindUnprocessable:
			sent.Message = shapePrefix + sent.Message
		}
		body := AppendError(nil, sent)
		var std struct{ Status int }
		if err := json.Unmarshal(body, &std); err != nil || std.Status != Status(kind) {
			t.Errorf("kind %d: body %s has status %d, want %d (%v)", kind, body, std.Status, Status(kind), err)
		}
		for _, family := range familiesOf(kind) {
			got := ParseError(family, Status(kind), body)
			if !errors.Is(got, sent) || *got != *sent {
				t.Errorf("kind %d in family %d: %s read as %+v, want %+v", kind, family, body, got, sent)
			}
		}
	}
}

func TestErrorTableIsComplete(t *testing.T) {
	type form struct {
		status int
		shape  shape
		label  string
	}
	seen := map[form]warg.Kind{}
	for kind, r := range table {
		if r.status < 400 {
			t.Errorf("kind %d has no status", kind)
		}
		f := form(r)
		other, dup := seen[f]
		if dup && !(other == warg.KindUnprocessable && warg.Kind(kind) == warg.KindRejected) {
			t.Errorf("kinds %d and %d look the same", other, kind)
		}
		seen[f] = warg.Kind(kind)
	}
}

func TestErrorBodies(t *testing.T) {
	log := "sha256:0db9178aabc877b42f03a038bf453ee53f08e3c8c55fab916043428078596bfb"
	tests := []struct {
		name string
		err  *warg.Error
		want string
	}{
		{"message", warg.Errorf(warg.KindUnauthorized, "unknown key id `%s`", "k"), `{"status":401,"message":"unknown key id ` + "`k`" + `"}`},
		{"no message", &warg.Error{Kind: warg.KindTooMany}, `{"status":429,"message":"too many requests"}`},
		{"internal keeps its cause", &warg.Error{Kind: warg.KindInternal, Message: "disk 7 is on fire", Err: io.EOF}, `{"status":500,"message":"an error occurred while processing the request"}`},
		{"cause is no message", &warg.Error{Kind: warg.KindUnavailable, Err: errors.New("secret")}, `{"status":503,"message":"temporarily unavailable"}`},
		{"kind out of range", &warg.Error{Kind: warg.Kind(warg.Kinds)}, `{"status":500,"message":"an error occurred while processing the request"}`},
		{"log", warg.NotFound(warg.KindLogNotFound, warg.OperatorLogID), `{"status":404,"type":"log","id":"` + log + `"}`},
		{"token as sent", &warg.Error{Kind: warg.KindFetchTokenUnknown, ID: "a\"\xffb"}, `{"status":404,"type":"fetchToken","id":"a\"` + "\uFFFD" + `b"}`},
		{"length", &warg.Error{Kind: warg.KindLengthNotFound, Number: 99}, `{"status":404,"type":"logLength","id":99}`},
		{"not sourcing", &warg.Error{Kind: warg.KindNotSourcing, Message: "x"}, `{"status":405}`},
		{"pending", &warg.Error{Kind: warg.KindRecordPending, ID: log}, `{"status":409,"type":"record","id":"` + log + `"}`},
		{"failure", warg.Errorf(warg.KindProofFailure, "A bundle can not be made from no proofs"), `{"status":422,"reason":"failure","message":"A bundle can not be made from no proofs"}`},
		{"not in map", &warg.Error{Kind: warg.KindNotInMap, ID: log}, `{"status":422,"reason":"packageNotIncluded","log_id":"` + log + `","logId":"` + log + `"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendError(nil, tt.err)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParseError(t *testing.T) {
	tests := []struct {
		name   string
		family Family
		status int
		body   string
		want   warg.Error // compared without Err
	}{
		{"rejection", FamilyPackage, 422, `{"status":422,"message":"no"}`, warg.Error{Kind: warg.KindRejected, Message: "no"}},
		{"body refused on publish", FamilyPackage, 422, `{"status":422,"message":"` + shapePrefix + `x"}`, warg.Error{Kind: warg.KindUnprocessable, Message: shapePrefix + "x"}},
		{"422 elsewhere", FamilyFetch, 422, `{"status":422,"message":"no"}`, warg.Error{Kind: warg.KindUnprocessable, Message: "no"}},
		{"published document's member", FamilyProof, 422, `{"status":422,"reason":"packageNotIncluded","logId":"L"}`, warg.Error{Kind: warg.KindNotInMap, ID: "L"}},
		{"reference's member", FamilyProof, 422, `{"status":422,"reason":"packageNotIncluded","log_id":"L"}`, warg.Error{Kind: warg.KindNotInMap, ID: "L"}},
		{"contradicts the status", FamilyFetch, 500, `{"status":404,"type":"log","id":"x"}`, warg.Error{Kind: warg.KindInternal, Message: "the registry answered with status 500"}},
		{"web page", FamilyFetch, 404, `<html>`, warg.Error{Kind: warg.KindNotFound, Message: "the registry answered with status 404"}},
		{"empty", FamilyPackage, 503, ``, warg.Error{Kind: warg.KindUnavailable, Message: "the registry answered with status 503"}},
		{"unknown type", FamilyFetch, 404, `{"status":404,"type":"moon","id":"x"}`, warg.Error{Kind: warg.KindNotFound, Message: "the registry answered with status 404"}},
		{"number where text must be", FamilyFetch, 404, `{"status":404,"type":"log","id":7}`, warg.Error{Kind: warg.KindNotFound, Message: "the registry answered with status 404"}},
		{"text where a number must be", FamilyProof, 404, `{"status":404,"type":"leaf","id":"7"}`, warg.Error{Kind: warg.KindNotFound, Message: "the registry answered with status 404"}},
		{"label of another status", FamilyPackage, 409, `{"status":409,"type":"log","id":"x"}`, warg.Error{Kind: warg.KindConflict, Message: "the registry answered with status 409"}},
		{"teapot", FamilyOther, 418, `{"status":418,"message":"short and stout"}`, warg.Error{Kind: warg.KindBadRequest, Message: "short and stout"}},
		{"unknown server error", FamilyOther, 599, ``, warg.Error{Kind: warg.KindInternal, Message: "the registry answered with status 599"}},
		{"duplicate member", FamilyFetch, 404, `{"status":404,"type":"log","type":"log","id":"x"}`, warg.Error{Kind: warg.KindNotFound, Message: "the registry answered with status 404"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := *ParseError(tt.family, tt.status, []byte(tt.body))
			got.Err = nil
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestParseErrorClips(t *testing.T) {
	long := make([]byte, 0, 3*maxErrorText)
	for len(long) < 2*maxErrorText {
		long = append(long, "a€"...)
	}
	e := ParseError(FamilyOther, 400, []byte(`{"status":400,"message":"`+string(long)+`"}`))
	if len(e.Message) > maxErrorText || len(e.Message) < maxErrorText-3 || e.Message != string(long[:len(e.Message)]) {
		t.Errorf("message of %d bytes", len(e.Message))
	}
	if last := e.Message[len(e.Message)-1]; last != 'a' && last != "€"[2] {
		t.Errorf("cut within a character: ends with %x", last)
	}
}

func TestAsError(t *testing.T) {
	inner := &warg.Error{Kind: warg.KindTooMany}
	if got := AsError(fmt.Errorf("doing: %w", inner)); got != inner {
		t.Errorf("got %v", got)
	}
	if got := AsError(io.EOF); got.Kind != warg.KindInternal || !errors.Is(got, io.EOF) {
		t.Errorf("got %+v", got)
	}
}
