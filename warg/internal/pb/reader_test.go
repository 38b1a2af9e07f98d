package pb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// message is what the tests read: 1 varint, 2 string, 3 bytes, 4 message, 5 list.
type message struct {
	n     uint64
	text  string
	bytes []byte
	sub   *message
	list  []uint32
}

func read(r *Reader) (m message, err error) {
	for r.Next() {
		switch r.Number() {
		case 1:
			m.n = r.Varint()
		case 2:
			m.text = r.Text()
		case 3:
			m.bytes = r.Bytes()
		case 4:
			sub, err := read(r.Message())
			if err != nil {
				return m, err
			}
			m.sub = &sub
		case 5:
			m.list = r.Varints(m.list)
		}
	}
	return m, r.Err()
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReaderAccepts(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		want message
	}{
		"empty":                   {"", message{}},
		"all":                     {"0807 120161 1a0162 220208 01 2a02 0102", message{7, "a", []byte("b"), &message{n: 1}, []uint32{1, 2}}},
		"any order":               {"120161 0807", message{n: 7, text: "a"}},
		"last wins":               {"0807 0808 120161 120162", message{n: 8, text: "b"}},
		"long varint":             {"08 8700", message{n: 7}},
		"greatest varint":         {"08 ffffffffffffffffff01", message{n: 1<<64 - 1}},
		"long key":                {"8800 07", message{n: 7}},
		"greatest key, unknown":   {"f8ffffff0f 01", message{}},
		"unpacked list":           {"2801 2802", message{list: []uint32{1, 2}}},
		"mixed list":              {"2801 2a020203 2804", message{list: []uint32{1, 2, 3, 4}}},
		"empty packed list":       {"2a00", message{}},
		"list keeps low bits":     {"2a05 8180808010", message{list: []uint32{1}}},
		"unknown varint":          {"48 01 0807", message{n: 7}},
		"unknown fixed64":         {"49 0102030405060708 0807", message{n: 7}},
		"unknown bytes":           {"4a 02ffff 0807", message{n: 7}},
		"unknown fixed32":         {"4d 01020304 0807", message{n: 7}},
		"unknown group":           {"4b 0801 4c 0807", message{n: 7}},
		"unknown empty group":     {"4b4c 0807", message{n: 7}},
		"unknown groups, nested":  {"4b 53 0801 54 4a0161 4c 0807", message{n: 7}},
		"unknown in sub-message":  {"2204 4801 0807", message{sub: &message{n: 7}}},
		"empty string":            {"1200", message{}},
		"empty sub-message":       {"2200", message{sub: &message{}}},
		"text beyond the BMP":     {"1204 f09f8ea9", message{text: "\U0001f3a9"}},
		"groups nested 100 times": {strings.Repeat("4b", 100) + strings.Repeat("4c", 100) + "0807", message{n: 7}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(NewReader(unhex(t, c.hex)))
			if len(got.bytes) == 0 {
				got.bytes = nil
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestReaderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		hex  string
		want error // nil = any
	}{
		"number 0":                  {"02 00", errNumber},
		"number 0, one byte":        {"00", errNumber},
		"wire type 6":               {"4e", nil},
		"wire type 7":               {"4f", nil},
		"wire type 6, known number": {"0e", nil},
		"key above 32 bits":         {"f8ffffff1f 01", errKey},
		"varint of 11 bytes":        {"08 8080808080808080808001", errVarint},
		"varint above 64 bits":      {"08 ffffffffffffffffff02", errVarint},
		"varint truncated":          {"08 80", errTruncated},
		"varint missing":            {"08", errTruncated},
		"key truncated":             {"80", errTruncated},
		"length missing":            {"12", errTruncated},
		"length beyond the end":     {"12 02 61", errTruncated},
		"greatest length":           {"12 ffffffffffffffffff01 61", errTruncated},
		"fixed64 truncated":         {"49 01020304050607", errTruncated},
		"fixed32 truncated":         {"4d 010203", errTruncated},
		"group without end":         {"4b 0801", errTruncated},
		"group with other end":      {"4b 54", errGroup},
		"group end alone":           {"4c", errGroup},
		"group end, known number":   {"0c", errGroup},
		"groups crossed":            {"4b 53 4c 54", errGroup},
		"number 0 in group":         {"4b 0001 4c", errNumber},
		"text not UTF-8":            {"12 01 ff", nil},
		"text not UTF-8, replaced":  {"12 01 ff 120161", nil},
		"text with a surrogate":     {"12 03 eda080", nil},
		"varint as bytes":           {"0a 0107", nil},
		"varint as fixed32":         {"0d 01020304", nil},
		"varint as group":           {"0b 0c", nil},
		"string as varint":          {"10 01", nil},
		"bytes as fixed64":          {"19 0102030405060708", nil},
		"message as varint":         {"20 01", nil},
		"message as group":          {"23 24", nil},
		"list as fixed32":           {"2d 01020304", nil},
		"list element truncated":    {"2a 01 80", errTruncated},
		"sub-message truncated":     {"22 01 08", errTruncated},
		"sub-message overruns":      {"22 02 0a 01 61", nil},
		"groups nested 101 times":   {strings.Repeat("4b", 101) + strings.Repeat("4c", 101), errDepth},
		"field in the 100th group":  {strings.Repeat("4b", 100) + "0801" + strings.Repeat("4c", 100), errDepth},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(NewReader(unhex(t, c.hex)))
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %+v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// TestReaderDepth nests messages, which count like groups.
func TestReaderDepth(t *testing.T) {
	nested := func(n int) []byte {
		var b []byte
		for range n {
			b = AppendMessage(nil, 4, b)
		}
		return b
	}
	if _, err := read(NewReader(nested(MaxDepth))); err != nil {
		t.Errorf("nested %d times: %v", MaxDepth, err)
	}
	if _, err := read(NewReader(nested(MaxDepth + 1))); !errors.Is(err, errDepth) {
		t.Errorf("nested %d times: %v", MaxDepth+1, err)
	}
	// A group counts from where it stands.
	group := bytes.Repeat([]byte{0x4b}, MaxDepth)
	group = append(group, bytes.Repeat([]byte{0x4c}, MaxDepth)...)
	if _, err := read(NewReader(AppendMessage(nil, 4, group))); !errors.Is(err, errDepth) {
		t.Errorf("%d groups in a message: %v", MaxDepth, err)
	}
}

// TestReaderStops: after an error nothing more is read, and the error stays.
func TestReaderStops(t *testing.T) {
	r := NewReader(unhex(t, "0a0107 0807"))
	if !r.Next() || r.Varint() != 0 || r.Next() || r.Err() == nil {
		t.Fatal("reading went on after an error")
	}
	first := r.Err().Error()
	if r.Text() != "" || r.Bytes() != nil || r.Varints(nil) != nil || r.Message().Next() || r.Err().Error() != first {
		t.Error("the reader gives values after an error")
	}
}

func TestAppend(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"default string":         {AppendText(nil, 1, ""), ""},
		"string":                 {AppendText(nil, 1, "ab"), "0a026162"},
		"present empty string":   {AppendPresentText(nil, 1, ""), "0a00"},
		"default bytes":          {AppendBytes(nil, 2, nil), ""},
		"bytes":                  {AppendBytes(nil, 2, []byte{0xff}), "1201ff"},
		"empty message":          {AppendMessage(nil, 3, nil), "1a00"},
		"default varint":         {AppendVarint(nil, 1, 0), ""},
		"negative":               {AppendVarint(nil, 1, uint64(1<<64-1)), "08ffffffffffffffffff01"},
		"empty list":             {AppendPacked[uint32](nil, 2, nil), ""},
		"list":                   {AppendPacked(nil, 2, []uint32{0, 1, 300}), "1204 0001ac02"},
		"number above 15, after": {AppendVarint([]byte{1}, 16, 5), "01800105"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hex.EncodeToString(c.got); got != strings.ReplaceAll(c.want, " ", "") {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// FuzzReader: whatever comes, reading ends, and what was read survives writing.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"", "0807", "120161", "22020801", "2a020102", "2801", "4b08014c", "4d01020304", "0880", "12ff01", "00"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := read(NewReader(b))
		if err != nil {
			return
		}
		again, err := read(NewReader(m.append(nil)))
		if err != nil || again.String() != m.String() {
			t.Errorf("%x reads as %s, again as %s, %v", b, m.String(), again.String(), err)
		}
	})
}

func (m message) append(b []byte) []byte {
	b = AppendVarint(b, 1, m.n)
	b = AppendText(b, 2, m.text)
	b = AppendBytes(b, 3, m.bytes)
	if m.sub != nil {
		b = AppendMessage(b, 4, m.sub.append(nil))
	}
	return AppendPacked(b, 5, m.list)
}

func (m message) String() string {
	sub := "none"
	if m.sub != nil {
		sub = m.sub.String()
	}
	return fmt.Sprintf("%d %q %x (%s) %d", m.n, m.text, m.bytes, sub, m.list)
}
