package warg

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// TestHashLabels is the order of the checks of a hash.
func TestHashLabels(t *testing.T) {
	for in, want := range map[string]string{
		"": "IncorrectStructure", "sha512:00": "InvalidHashAlgorithm", "foo:AA": "UppercaseHex", "foo:0": "InvalidHashAlgorithm",
		"sha256:00:00": "InvalidHex", "sha256:0g": "InvalidHex", "sha256:0A0": "UppercaseHex", "sha256:\xff\xff": "InvalidHex",
		"sha256:00\n\n": "InvalidHex", "sha256:é": "InvalidHex",
	} {
		if _, err := ParseAnyHash(in); label(err) != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func TestDigestLength(t *testing.T) {
	for _, n := range []int{0, 1, 31, 33, 64} {
		text := "sha256:" + strings.Repeat("00", n)
		if _, err := ParseAnyHash(text); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		for what, err := range map[string]error{
			"digest": second(ParseDigest(text)), "log id": second(ParseLogID(text)), "record id": second(ParseRecordID(text)),
			"text": new(Digest).UnmarshalText([]byte(text)),
		} {
			if label(err) != "IncorrectLength" {
				t.Errorf("%s of %d bytes: %v", what, n, err)
			}
		}
	}
	d := Sum([]byte("a"), []byte("b"))
	if d != Sum([]byte("ab")) || d.AnyHash().String() != d.String() || d.String() != "sha256:"+d.Hex() {
		t.Error("a digest prints or sums wrong")
	}
	if back, err := d.AnyHash().Digest(); err != nil || back != d {
		t.Errorf("got %s, %v", back, err)
	}
	if (AnyHash{}).String() != "" || !(AnyHash{}).IsZero() || d.AnyHash().IsZero() || (AnyHash{}).Bytes() != nil {
		t.Error("the zero hash is a hash")
	}
	if second(AnyHash{}.Digest()) == nil {
		t.Error("the zero hash has a digest")
	}
	if empty, err := ParseAnyHash("sha256:"); err != nil || empty.IsZero() || empty == (AnyHash{}) {
		t.Error("the empty hash is the zero hash")
	}
}

func second[T any](_ T, err error) error { return err }

func TestIDText(t *testing.T) {
	name, err := ParsePackageName("test:component")
	if err != nil {
		t.Fatal(err)
	}
	text, err := name.LogID().MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var id LogID
	if err := id.UnmarshalText(text); err != nil || id != name.LogID() || id == OperatorLogID {
		t.Errorf("got %s, %v", id, err)
	}
	env := Envelope{Content: []byte("x")}
	if env.RecordID(OperatorLogID) != OperatorRecordID([]byte("x")) || env.RecordID(id) != PackageRecordID([]byte("x")) {
		t.Error("the envelope's record id is that of the wrong log")
	}
	if OperatorRecordID([]byte("x")) == PackageRecordID([]byte("x")) {
		t.Error("record ids of both logs agree")
	}
}

func TestZeroName(t *testing.T) {
	var n PackageName
	if !n.IsZero() || n.String() != "" || n.Name() != "" || n.Namespace() != "" {
		t.Errorf("the zero name is %q %q", n.Namespace(), n.Name())
	}
}

// TestVersionRefuses has what the known answers leave out.
func TestVersionRefuses(t *testing.T) {
	for _, s := range []string{
		"1", "01.2.3", "v1.2.3", "1.2.3.4", "1.2.x", "-1.0.0", "00.0.0", "1.0.00", "1.2.3-a..b", "1.2.3-a.", "1.2.3+a..b", "1.2.3-a_b", "1.2.3-é",
		"1.0.0-+b", "1.2.3+", "1.2.3+a+b", "1..3", ".1.2", "1.2.", "+1.2.3", "1.2.3\n", "1.2.-3", "１.2.3", "1.2.3-\xff", "1e3.0.0", "0x1.0.0",
		"99999999999999999999.0.0",
	} {
		if v, err := ParseVersion(s); label(err) != "InvalidVersion" || v != (Version{}) {
			t.Errorf("%q: %v, %v", s, v, err)
		}
	}
	for _, s := range []string{"1.0.0-alpha-", "1.0.0--", "1.2.3-0a", "1.2.3+001", "1.2.3-0-0.0", "1.0.0-99999999999999999999999", "1.0.0+-"} {
		v, err := ParseVersion(s)
		if err != nil || v.String() != s || v.IsZero() {
			t.Errorf("%q: %v, %v", s, v, err)
		}
	}
}

// TestVersionOrder has pairs that the known answers leave out.
func TestVersionOrder(t *testing.T) {
	ascending := []string{
		"0.0.1", "1.0.0--", "1.0.0-A", "1.0.0-a", "1.0.0-a.9", "1.0.0-a.99999999999999999999", "1.0.0-a.100000000000000000000", "1.0.0-a.b",
		"1.0.0", "1.0.0+0", "1.0.0+00", "1.0.0+1", "1.0.0+01", "1.0.0+001", "1.0.0+2", "1.0.0+2.0", "1.0.0+2a", "1.0.0+a", "1.0.1-0", "1.1.0", "2.0.0", "10.0.0",
		"18446744073709551615.0.0",
	}
	for i, a := range ascending {
		for j, b := range ascending {
			va, err1 := ParseVersion(a)
			vb, err2 := ParseVersion(b)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			if got, want := va.Compare(vb), max(-1, min(1, i-j)); got != want {
				t.Errorf("%s compared with %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestRequirement(t *testing.T) {
	long := func(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }
	for _, s := range []string{
		"", " ", ",", "1,", ",1", "1,,2", "*,1", "1,*", "* *", "^*", "=x", "==1", "> =1", "1 2", "1. 2", "1.*.2", "1.x.3", "*.1", "x.x", "1.2.*-a", "1.2-a", "1-a",
		"1+b", "1.2.3-", "1.2.3+", "1.2.3-01", "1.2.3.4", "01", "1.02", "v1", "!1", "1\t", "\n1", "99999999999999999999", long(33),
	} {
		if r, err := ParseRequirement(s); label(err) != "InvalidRequirement" {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
	for _, c := range []struct {
		req, yes, no string // versions separated by spaces
	}{
		{" * ", "0.0.0 1.2.3+b", "1.0.0-a"},
		{"1.*.*", "1.0.0 1.9.9", "2.0.0 1.0.0-a"},
		{"=1.*", "1.0.0 1.9.9", "2.0.0 0.9.0"},
		{"^1.x", "1.0.0 1.9.9", "2.0.0"},
		{"~1.X", "1.0.0 1.9.9", "2.0.0"},
		{"~1.2.*", "1.2.0 1.2.9", "1.3.0 1.1.9"},
		{"^0.0", "0.0.0 0.0.9", "0.1.0"},
		{"^0.0.0", "0.0.0", "0.0.1"},
		{"0.2", "0.2.0 0.2.9", "0.3.0 1.0.0"},
		{"^ 1.2", "1.2.0 1.3.0", "1.1.9 2.0.0"},
		{"1.2.3+anything", "1.2.3 1.2.4", "1.2.2"},
		{"=1.2.3", "1.2.3 1.2.3+b", "1.2.4 1.2.3-a"},
		{">1.2.3-b", "1.2.3-c 1.2.3 1.2.4", "1.2.3-b 1.2.3-a 1.2.4-z"},
		{"<1.2.3-b", "1.2.3-a 1.2.2", "1.2.3-b 1.2.2-a"},
		{"<=1.2", "1.2.0 1.2.9 0.1.0", "1.3.0"},
		{"<1.2", "1.1.9 0.9.0", "1.2.0 1.3.0"},
		{">1.2", "1.3.0 2.0.0", "1.2.9"},
		{">1", "2.0.0", "1.9.9"},
		{"~1.2.3-a", "1.2.3-a 1.2.3-b 1.2.3 1.2.9", "1.2.4-a 1.3.0 1.2.3-0"},
		{"^0.0.3-a", "0.0.3-a 0.0.3", "0.0.3-0 0.0.4"},
		{">=1, <2.0.0-b", "1.0.0 1.9.9 2.0.0-a", "2.0.0 2.0.0-b 1.0.0-a"},
		{"1 , >1.1.0 , <1.3", "1.1.1 1.2.0", "1.1.0 1.3.0 2.0.0"},
		{long(32), "1.0.0", "2.0.0"},
	} {
		r, err := ParseRequirement(c.req)
		if err != nil {
			t.Errorf("%q: %v", c.req, err)
			continue
		}
		for want, list := range map[bool]string{true: c.yes, false: c.no} {
			for v := range strings.FieldsSeq(list) {
				version, err := ParseVersion(v)
				if err != nil {
					t.Fatal(err)
				}
				if r.Matches(version) != want {
					t.Errorf("%q matches %s: %v", c.req, v, !want)
				}
			}
		}
		if r.Matches(Version{}) {
			t.Errorf("%q matches no version", c.req)
		}
	}
	if one, _ := ParseVersion("1.0.0"); (Requirement{}).Matches(one) {
		t.Error("the zero requirement matches")
	}
}

func TestNormalizeTimestamp(t *testing.T) {
	for _, c := range []struct {
		seconds int64
		nanos   int32
		want    Timestamp
		ok      bool
	}{
		{0, 0, Timestamp{}, true},
		{5, -1, Timestamp{4, 999_999_999}, true},
		{5, -2_000_000_001, Timestamp{2, 999_999_999}, true},
		{5, 2_000_000_000, Timestamp{7, 0}, true},
		{5, math.MaxInt32, Timestamp{7, 147_483_647}, true},
		{5, math.MinInt32, Timestamp{2, 852_516_352}, true},
		{-5, -1_000_000_000, Timestamp{-6, 0}, true},
		{-5, 250, Timestamp{-5, 250}, true},
		{math.MaxInt64, 999_999_999, Timestamp{math.MaxInt64, 999_999_999}, true},
		{math.MaxInt64, 1_000_000_000, Timestamp{math.MaxInt64, 999_999_999}, true},
		{math.MaxInt64 - 1, 1_500_000_000, Timestamp{math.MaxInt64, 500_000_000}, true},
		{math.MinInt64 + 1, 0, Timestamp{math.MinInt64 + 1, 0}, true},
		{math.MinInt64, 1_000_000_000, Timestamp{math.MinInt64 + 1, 0}, true},
		{math.MinInt64, 0, Timestamp{}, false},
		{math.MinInt64, 999_999_999, Timestamp{}, false},
		{math.MinInt64, -1, Timestamp{}, false},
		{math.MinInt64 + 1, -1, Timestamp{}, false},
	} {
		got, ok := NormalizeTimestamp(c.seconds, c.nanos)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%d s %d ns: %v, %v, want %v", c.seconds, c.nanos, got, ok, c.want)
		}
	}
}

func TestTimestamp(t *testing.T) {
	at := time.Date(2022, 12, 16, 20, 5, 20, 153436500, time.UTC)
	ts := TimestampOf(at)
	if ts.String() != "1671221120.153436500" || !ts.Time().Equal(at) {
		t.Errorf("got %s", ts)
	}
	if s := (Timestamp{1700000000, 70_000_000}).String(); s != "1700000000.70000000" {
		t.Errorf("got %s", s)
	}
	for _, extreme := range []int64{math.MinInt64, math.MaxInt64} {
		if y := (Timestamp{Seconds: extreme}).Time().Year(); y != 1 && y != 9999 {
			t.Errorf("%d is in the year %d", extreme, y)
		}
	}
	ascending := []Timestamp{{math.MinInt64 + 1, 5}, {-1, 0}, {-1, 1}, {0, 0}, {0, 999_999_999}, {1, 0}, {math.MaxInt64, 0}}
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := a.Compare(b), max(-1, min(1, i-j)); got != want {
				t.Errorf("%s compared with %s: %d", a, b, got)
			}
		}
	}
}

func TestParseTimestamp(t *testing.T) {
	for in, want := range map[string]Timestamp{
		"1.5": {1, 5}, "0.0": {}, "1.1000000000": {2, 0}, "1.4294967295": {5, 294_967_295}, "9223372036854775807.0": {math.MaxInt64, 0},
	} {
		if got, err := ParseTimestamp(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "1", "1.", ".5", "-1.5", "1.-5", "+1.5", "1.5000000000", "9223372036854775808.0", "9223372036854775807.1000000000", "1.5.6", "1,5", " 1.5"} {
		if got, err := ParseTimestamp(in); label(err) != "InvalidTimestamp" {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestEnvelopeProto(t *testing.T) {
	const sig = "MAYCAQECAQE="
	text := func(num byte, s string) string { return string([]byte{num<<3 | 2, byte(len(s))}) + s }
	good := text(1, "content") + text(2, "junk") + text(3, "ecdsa-p256:"+sig)
	for name, c := range map[string]struct {
		in      string
		ok      bool
		content string
		keyID   KeyID
	}{
		"good":               {good, true, "content", "junk"},
		"no content, no id":  {text(3, "ecdsa-p256:"+sig), true, "", ""},
		"last wins":          {text(1, "x") + text(3, "nonsense") + good, true, "content", "junk"},
		"unknown field":      {good + text(9, "x"), true, "content", "junk"},
		"empty":              {"", false, "", ""},
		"no signature":       {text(1, "content"), false, "", ""},
		"bad signature":      {text(1, "content") + text(3, "ecdsa-p256:AAAA"), false, "", ""},
		"id not UTF-8":       {text(2, "\xff") + good, false, "", ""},
		"content as varint":  {"\x08\x01" + good, false, "", ""},
		"truncated":          {good[:len(good)-1], false, "", ""},
		"group never closed": {good + "\x4b", false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := ParseEnvelopeProto([]byte(c.in))
			if (err == nil) != c.ok || string(e.Content) != c.content || e.KeyID != c.keyID {
				t.Errorf("got %+v, %v", e, err)
			}
		})
	}
	e, err := ParseEnvelopeProto([]byte(good))
	if err != nil || string(e.AppendProto([]byte("x"))) != "x"+good {
		t.Errorf("writes %q, %v", e.AppendProto(nil), err)
	}
}

// TestError: what stands in an error decides what it is.
func TestError(t *testing.T) {
	length := &Error{Kind: KindLengthNotFound, Number: 7}
	log := NotFound(KindLogNotFound, OperatorLogID)
	broken := Errorf(KindInternal, "reading index: %w", io.ErrUnexpectedEOF)
	for name, ok := range map[string]bool{
		"same kind":        errors.Is(length, &Error{Kind: KindLengthNotFound}),
		"other kind":       !errors.Is(length, &Error{Kind: KindLeafNotFound}),
		"same number":      errors.Is(length, &Error{Kind: KindLengthNotFound, Number: 7}),
		"other number":     !errors.Is(length, &Error{Kind: KindLengthNotFound, Number: 8}),
		"same id":          errors.Is(log, &Error{Kind: KindLogNotFound, ID: OperatorLogID.String()}),
		"other id":         !errors.Is(log, &Error{Kind: KindLogNotFound, ID: "x"}),
		"wrapped":          errors.Is(fmt.Errorf("asking: %w", log), &Error{Kind: KindLogNotFound}),
		"cause":            errors.Is(broken, io.ErrUnexpectedEOF),
		"not any error":    !errors.Is(log, io.EOF),
		"text of number":   strings.HasSuffix(length.Error(), " 7"),
		"text of id":       strings.Contains(log.Error(), OperatorLogID.String()),
		"text of message":  broken.Error() == "reading index: unexpected EOF",
		"text of cause":    (&Error{Err: io.EOF}).Error() == "EOF",
		"text of the kind": (&Error{Kind: KindNoSpace}).Error() == "no space left",
	} {
		if !ok {
			t.Errorf("%s is wrong", name)
		}
	}
	for k := range Kind(Kinds) {
		if (&Error{Kind: k}).Error() == "" {
			t.Errorf("kind %d has no text", k)
		}
	}
}

func TestStateNames(t *testing.T) {
	got := fmt.Sprint(StateSourcing, StateProcessing, StateRejected, StatePublished, State(0), State(99))
	if got != "sourcing processing rejected published unknown unknown" {
		t.Errorf("states are %s", got)
	}
	if got := fmt.Sprint(Unverified, Verified, Invalid); got != "unverified verified invalid" {
		t.Errorf("verdicts are %s", got)
	}
}
