package pkglog_test

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// field returns a length-delimited field, of a number below 16, as hexadecimal digits.
func field(num byte, content string) string {
	b := []byte{num<<3 | 2}
	for n := len(content) / 2; ; n >>= 7 {
		if n < 0x80 {
			b = append(b, byte(n))
			break
		}
		b = append(b, byte(n)|0x80)
	}
	return hex.EncodeToString(b) + content
}

func text(s string) string { return hex.EncodeToString([]byte(s)) }

// TestDecode has rules of the encoding that the known answers leave out.
func TestDecode(t *testing.T) {
	const at5 = "1a020805"
	pub := alice(t).Public()
	hash := content().String()
	initial := field(4, field(1, field(1, text(pub.String()))+field(2, text("sha256"))))
	entry := func(variant byte, message string) string { return field(4, field(variant, message)) }
	one := func(e pkglog.Entry) pkglog.Record {
		return pkglog.Record{Time: warg.Timestamp{Seconds: 5}, Entries: []pkglog.Entry{e}}
	}
	timed := func(seconds int64, nanos int32) pkglog.Record {
		r := one(pkglog.Init{Key: pub})
		r.Time = warg.Timestamp{Seconds: seconds, Nanos: nanos}
		return r
	}
	versioned := timed(5, 0)
	versioned.Version = 1
	yank := pkglog.Yank{Version: version(t, "1.0.0")}
	v1 := field(1, text("1.0.0"))
	both := []pkglog.Permission{pkglog.PermissionYank, pkglog.PermissionRelease, pkglog.PermissionYank}

	for name, c := range map[string]struct {
		hex  string
		want pkglog.Record
	}{
		"times merge":               {at5 + "1a021009" + initial, timed(5, 9)},
		"times merge, last wins":    {at5 + "1a021009 1a04 0806 1000" + initial, timed(6, 0)},
		"wide nanos":                {"1a08 0805 10 8780808010" + initial, timed(5, 7)},
		"entries before time":       {initial + at5, timed(5, 0)},
		"version 2^32+1":            {"108180808010" + at5 + initial, versioned},
		"explicit default":          {"1000" + at5 + initial, timed(5, 0)},
		"no entries":                {at5, pkglog.Record{Time: warg.Timestamp{Seconds: 5}}},
		"unknown in time":           {"1a04 0805 1801" + initial, timed(5, 0)},
		"permission 2^32+1":         {at5 + entry(3, field(1, text("k"))+"10 8180808010"), one(pkglog.Revoke{KeyID: "k", Permissions: both[1:2]})},
		"permissions merge":         {at5 + field(4, field(3, "1002")+field(3, field(1, text("k"))+"1202 0102")), one(pkglog.Revoke{KeyID: "k", Permissions: both})},
		"other variant resets":      {at5 + field(4, field(3, field(1, text("k"))+"1002")+field(5, v1)+field(3, "1001")), one(pkglog.Revoke{Permissions: both[1:2]})},
		"no permissions, no key id": {at5 + entry(3, ""), one(pkglog.Revoke{Permissions: []pkglog.Permission{}})},
		"yank, unknown field 2":     {at5 + entry(5, v1+"1201ff"), one(yank)},
		"yank, unknown varint 2":    {at5 + entry(5, v1+"1001"), one(yank)},
		"unknown variants":          {at5 + field(4, "3001"+field(5, v1)+field(6, "ff")), one(yank)},
		"group in entry":            {at5 + field(4, "4b0801 4c"+field(5, v1)), one(yank)},
		"release, last content wins": {
			at5 + entry(4, v1+field(2, text("nonsense"))+field(2, text(hash))), one(pkglog.Release{Version: yank.Version, Content: content()}),
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(c.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := pkglog.Decode(b)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}

	for name, in := range map[string]string{
		"prev empty":                    "0a00" + at5 + initial,
		"version as bytes":              "120100" + at5 + initial,
		"time as varint":                "1805" + initial,
		"seconds as bytes":              "1a03 0a0105" + initial,
		"nanos as fixed32":              "1a05 1501000000" + initial,
		"smallest time, carried down":   "1a16 0880808080808080808001 10ffffffffffffffffff01" + initial,
		"entry as varint":               at5 + "2001",
		"variant as varint":             at5 + field(4, "2801"),
		"variant as group":              at5 + field(4, "2b2c"),
		"entry empty":                   at5 + "2200",
		"string field as varint":        at5 + entry(5, "0801"),
		"permission as fixed32":         at5 + entry(3, "1501000000"),
		"permission 3":                  at5 + entry(3, "1003"),
		"permission -1":                 at5 + entry(3, "10ffffffffffffffffff01"),
		"permission 0 among others":     at5 + entry(3, "1203010002"),
		"replaced variant not UTF-8":    at5 + field(4, field(3, field(1, "ff"))+field(5, v1)),
		"replaced variant, wrong type":  at5 + field(4, field(3, "0801")+field(5, v1)),
		"key id not UTF-8":              at5 + entry(3, field(1, "ff")),
		"bad version":                   at5 + entry(5, field(1, text("1.0"))),
		"bad content":                   at5 + entry(4, v1+field(2, text("sha256:0"))),
		"no content":                    at5 + entry(4, v1),
		"bad key":                       at5 + entry(2, field(1, text("ecdsa-p256:AAAA"))),
		"no key":                        at5 + entry(2, ""),
		"init, fields as operators do":  at5 + entry(1, field(2, text(pub.String()))+field(1, text("sha256"))),
		"init, unknown algorithm":       at5 + entry(1, field(1, text(pub.String()))+field(2, text("SHA256"))),
		"last entry bad":                at5 + initial + entry(5, ""),
		"group in entry never closed":   at5 + field(4, "4b0801"+field(5, v1)),
		"group spanning the entry":      at5 + field(4, "4b"+field(5, v1)) + "4c",
		"entry longer than the record":  at5 + "2203 2a00",
		"variant longer than the entry": at5 + "2202 2a05" + v1,
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(in, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := pkglog.Decode(b); err == nil {
				t.Errorf("got %+v", got)
			} else if !strings.HasPrefix(err.Error(), "decoding package record: ") {
				t.Errorf("error %v", err)
			}
		})
	}
}
