package strictjson

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// point is a small format with every kind of value.
type point struct {
	n    uint64
	s    string
	b    bool
	list []uint64
	tags map[string]uint64
	null bool
}

func readPoint(body string, refuse bool) (p point, err error) {
	d := NewDecoder([]byte(body))
	f := Fields{Names: []string{"n", "s", "b", "list", "tags", "opt"}, Required: 2, Refuse: refuse}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			p.n = d.Uint(math.MaxUint64)
		case 1:
			p.s = d.String()
		case 2:
			p.b = d.Bool()
		case 3:
			for d.BeginArray(); d.Element(); {
				p.list = append(p.list, d.Uint(9))
			}
		case 4:
			p.tags = map[string]uint64{}
			for d.BeginObject(); d.Key(); {
				name := string(d.Name())
				if _, dup := p.tags[name]; dup {
					d.Fail("duplicate member")
				}
				p.tags[name] = d.Uint(9)
			}
		case 5:
			if p.null = d.Null(); !p.null {
				d.Skip()
			}
		}
	}
	return p, d.Err()
}

func TestRead(t *testing.T) {
	p, err := readPoint(` { "s" : "a\u00e9\ud83d\ude00\n" , "n":18446744073709551615,"x":[{"y":[-1.5e+3,null,true,false,"z",{},[]]}],
		"tags":{"a":1,"b":2},"list":[1,2,3],"b":true,"opt":null} trailing`, false)
	if err != nil {
		t.Fatal(err)
	}
	if p.n != math.MaxUint64 || p.s != "aé😀\n" || !p.b || len(p.list) != 3 || p.list[2] != 3 || p.tags["b"] != 2 || !p.null {
		t.Errorf("got %+v", p)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct {
		name, body string
		kind       Kind
		want       string // the whole text
	}{
		{"empty", ``, Syntax, "unexpected end at offset 0"},
		{"blank", " \n", Syntax, "unexpected end at offset 2"},
		{"not a value", `?`, Syntax, "expected a value at offset 0"},
		{"array at the top", `[]`, Shape, "expected an object; found an array"},
		{"number at the top", `12`, Shape, "expected an object; found a number"},
		{"bad number at the top", `1.`, Syntax, "invalid number at offset 2"},
		{"bad literal", `{"n":nul}`, Syntax, "invalid literal at offset 5"},
		{"missing", `{"n":1}`, Shape, "missing member `s`"},
		{"wrong case", `{"n":1,"S":"x"}`, Shape, "missing member `s`"},
		{"null where required", `{"n":null}`, Shape, "n: expected an unsigned integer; found null"},
		{"null string", `{"s":null}`, Shape, "s: expected a string; found null"},
		{"duplicate", `{"n":1,"n":1}`, Shape, "duplicate member `n`"},
		{"duplicate by escape", `{"n":1,"\u006e":1}`, Shape, "duplicate member `n`"},
		{"truncated", `{"n":1`, Syntax, "expected a comma or the end of the container at offset 6"},
		{"truncated string", `{"n":1,"s":"ab`, Syntax, "unterminated string at offset 14"},
		{"trailing comma", `{"n":1,}`, Syntax, "trailing comma at offset 7"},
		{"no comma", `{"n":1 "s":"x"}`, Syntax, "expected a comma or the end of the container at offset 7"},
		{"no colon", `{"n" 1}`, Syntax, "expected a colon after a member name at offset 5"},
		{"name without quotes", `{n:1}`, Syntax, "expected a member name at offset 1"},
		{"leading comma", `{,"n":1}`, Syntax, "expected a member name at offset 1"},
		{"leading zero", `{"n":01}`, Syntax, "number with a leading zero at offset 6"},
		{"plus", `{"n":+1}`, Syntax, "expected a value at offset 5"},
		{"negative", `{"n":-1}`, Shape, "n: expected an unsigned integer; found -1"},
		{"negative zero", `{"n":-0}`, Shape, "n: expected an unsigned integer; found -0"},
		{"float", `{"n":1.0}`, Shape, "n: expected an unsigned integer; found 1.0"},
		{"exponent", `{"n":1e2}`, Shape, "n: expected an unsigned integer; found 1e2"},
		{"bad exponent", `{"n":1e}`, Syntax, "invalid number at offset 7"},
		{"bare minus", `{"n":-}`, Syntax, "invalid number at offset 6"},
		{"overflow", `{"n":18446744073709551616}`, Shape, "n: expected an unsigned integer; found 18446744073709551616"},
		{"long number", `{"n":` + strings.Repeat("9", 50) + `}`, Shape, "n: expected an unsigned integer; found " + strings.Repeat("9", 32) + "…"},
		{"string for a number", `{"n":"1"}`, Shape, "n: expected an unsigned integer; found a string"},
		{"bad string for a number", `{"n":"\q"}`, Syntax, "invalid escape at offset 7"},
		{"object for a string", `{"s":{}}`, Shape, "s: expected a string; found an object"},
		{"number for a bool", `{"b":1}`, Shape, "b: expected a boolean; found a number"},
		{"beyond the limit", `{"list":[1,10]}`, Shape, "list[1]: 10 is more than 9"},
		{"in a map", `{"tags":{"a\"b":1,"c":"x"}}`, Shape, `tags["c"]: expected an unsigned integer; found a string`},
		{"duplicate key of a map", `{"tags":{"a":1,"a":1}}`, Shape, `tags["a"]: duplicate member`},
		{"long key of a map", `{"tags":{"` + strings.Repeat("k", 100) + `":""}}`, Shape, `tags["` + strings.Repeat("k", 80) + `"…]: expected an unsigned integer; found a string`},
		{"control character", "{\"s\":\"a\tb\"}", Syntax, "control character in a string at offset 7"},
		{"control character after an escape", "{\"s\":\"\\n\x01\"}", Syntax, "control character in a string at offset 8"},
		{"invalid UTF-8", "{\"s\":\"\xff\"}", Syntax, "invalid UTF-8 in a string at offset 7"},
		{"invalid UTF-8 after an escape", "{\"s\":\"\\n\xe2\x82\"}", Syntax, "invalid UTF-8 in a string at offset 10"},
		{"bytes joined by an escape", "{\"s\":\"\xc3\\u00a9\"}", Syntax, "invalid UTF-8 in a string at offset 13"},
		{"surrogate as bytes", "{\"s\":\"\xed\xa0\x80\"}", Syntax, "invalid UTF-8 in a string at offset 9"},
		{"invalid UTF-8 in what is skipped", "{\"x\":[\"\xff\"]}", Syntax, "invalid UTF-8 in a string at offset 8"},
		{"high surrogate alone", `{"s":"\ud83d"}`, Syntax, "lone surrogate in a string at offset 12"},
		{"high surrogate twice", `{"s":"\ud83d\ud83d"}`, Syntax, "lone surrogate in a string at offset 18"},
		{"low surrogate alone", `{"s":"\ude00x"}`, Syntax, "lone surrogate in a string at offset 12"},
		{"short unicode escape", `{"s":"\u12"}`, Syntax, "invalid unicode escape at offset 8"},
		{"cut unicode escape", `{"s":"\u1`, Syntax, "unterminated string at offset 8"},
		{"cut escape", `{"s":"\`, Syntax, "unterminated string at offset 7"},
		{"skipped object is not JSON", `{"x":{"a":1,}}`, Syntax, "expected a member name at offset 12"},
		{"skipped array is not JSON", `{"x":[1 2]}`, Syntax, "expected a comma or the end of the container at offset 8"},
		{"skipped container closed wrongly", `{"x":[1}}`, Syntax, "expected a comma or the end of the container at offset 7"},
		{"container closed wrongly", `{"list":[1}}`, Syntax, "expected a comma or the end of the container at offset 10"},
		{"deep", `{"x":` + strings.Repeat("[", 200), Syntax, "nested deeper than 64 at offset 68"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readPoint(tt.body, false)
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("got %v, want an *Error", err)
			}
			if e.Kind != tt.kind || e.Error() != tt.want {
				t.Errorf("got kind %d %q, want kind %d %q", e.Kind, e, tt.kind, tt.want)
			}
		})
	}
}

func TestRefuseUnknown(t *testing.T) {
	const body = `{"n":1,"s":"","zzz":1}`
	if _, err := readPoint(body, false); err != nil {
		t.Error(err)
	}
	_, err := readPoint(body, true)
	if err == nil || err.Error() != "unknown member \"zzz\"" {
		t.Errorf("got %v", err)
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) string {
		return `{"n":1,"s":"","x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}"
	}
	if _, err := readPoint(nested(MaxDepth-1), false); err != nil {
		t.Error(err)
	}
	if _, err := readPoint(nested(MaxDepth), false); err == nil {
		t.Error("accepted one level too many")
	}
}

func TestTypedDepth(t *testing.T) {
	d := NewDecoder([]byte(strings.Repeat("[", maxTyped+1)))
	for range maxTyped {
		d.BeginArray()
		d.Element()
	}
	if d.Err() != nil {
		t.Fatal(d.Err())
	}
	d.BeginArray()
	if d.Err() == nil {
		t.Error("accepted one level too many")
	}
}

func TestErrorsStick(t *testing.T) {
	d := NewDecoder([]byte(`{"a":1}`))
	d.FailWith(nil)
	d.FailWith(errors.New("first"))
	d.Fail("second")
	d.BeginObject()
	f := Fields{Names: []string{"a"}}
	if d.Field(&f) || d.Key() || d.Element() || d.Null() || d.Bool() || d.AtNumber() || d.Uint(9) != 0 || d.String() != "" {
		t.Error("read on after an error")
	}
	d.Skip()
	if d.Err().Error() != "first" || d.Offset() != 0 || len(d.Name()) != 0 {
		t.Errorf("got %v at %d", d.Err(), d.Offset())
	}
}

func TestStringLike(t *testing.T) {
	prev := "same"
	body := []byte(`"same""other"`)
	d := NewDecoder(body)
	if got := testing.AllocsPerRun(10, func() { d.pos = 0; d.StringLike(prev) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if got := d.StringLike(prev); got != "other" || d.Err() != nil {
		t.Errorf("got %q, %v", got, d.Err())
	}
}

// TestStringsOfEveryLength runs the eight-byte steps over every position of every
// special character.
func TestStringsOfEveryLength(t *testing.T) {
	for length := range 40 {
		for at := range length + 1 {
			for _, special := range []string{"", `\"`, `\\`, "é", "\u007f", " ", "\x1f", "\xff", "~"} {
				text := strings.Repeat("a", at) + special + strings.Repeat("b", length-at)
				d := NewDecoder([]byte(`"` + text + `"x`))
				got := d.String()
				bad := special == "\x1f" || special == "\xff"
				want := strings.ReplaceAll(text, `\`+special[min(1, len(special)):], special[min(1, len(special)):])
				if special != `\"` && special != `\\` {
					want = text
				}
				switch {
				case bad && d.Err() == nil:
					t.Fatalf("accepted %q", text)
				case !bad && (d.Err() != nil || got != want):
					t.Fatalf("%q read as %q, %v", text, got, d.Err())
				}
			}
		}
	}
}
