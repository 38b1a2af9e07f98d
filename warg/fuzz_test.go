package warg

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// addSeeds adds the inputs of the known answers of one group.
func addSeeds(f *testing.F, group string) {
	f.Helper()
	inputs := DecodeTestdata[[]*string](f, group, ReadTestdata[map[string]json.RawMessage](f, "parse.json")[group])
	for _, in := range inputs {
		if in != nil {
			f.Add(*in)
		}
	}
}

// fuzzText checks that what parses prints back as it was.
func fuzzText[T interface{ String() string }](f *testing.F, group string, parse func(string) (T, error)) {
	addSeeds(f, group)
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parse(s); err == nil && v.String() != s {
			t.Errorf("%q prints as %q", s, v)
		}
	})
}

func FuzzAnyHash(f *testing.F)     { fuzzText(f, "hash", ParseAnyHash) }
func FuzzPackageName(f *testing.F) { fuzzText(f, "name", ParsePackageName) }
func FuzzSignature(f *testing.F)   { fuzzText(f, "signature", ParseSignature) }

func FuzzDigest(f *testing.F) {
	f.Add(Sum(nil).String())
	fuzzText(f, "hash", ParseDigest)
}

// FuzzID: the ids of logs and of records are digests, and print as they were.
func FuzzID(f *testing.F) {
	f.Add(LogID(Sum(nil)).String())
	f.Add("sha256:00")
	f.Fuzz(func(t *testing.T, s string) {
		log, err := ParseLogID(s)
		id, idErr := ParseRecordID(s)
		d, digestErr := ParseDigest(s)
		if (err == nil) != (digestErr == nil) || (idErr == nil) != (digestErr == nil) {
			t.Fatalf("%q: %v, %v, %v", s, err, idErr, digestErr)
		}
		if err == nil && (log.String() != s || id.String() != s || Digest(log) != d || Digest(id) != d) {
			t.Errorf("%q prints as %s and %s", s, log, id)
		}
	})
}

// FuzzCheckpoint: two checkpoints that differ are signed as different bytes, and one
// opens only with what was signed.
func FuzzCheckpoint(f *testing.F) {
	key, err := ParsePrivateKey("ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint64(1), uint64(1_700_000_000), []byte("log"), []byte("map"), uint64(2), uint64(1_700_000_000))
	f.Add(uint64(0), uint64(0), []byte{}, []byte{}, uint64(0), uint64(1))
	f.Fuzz(func(t *testing.T, length, at uint64, logRoot, mapRoot []byte, otherLength, otherAt uint64) {
		c := Checkpoint{LogLength: length, LogRoot: Sum(logRoot), MapRoot: Sum(mapRoot), Timestamp: at}
		o := Checkpoint{LogLength: otherLength, LogRoot: Sum(mapRoot), MapRoot: Sum(logRoot), Timestamp: otherAt}
		if same := bytes.Equal(c.Claims().Encode(), o.Claims().Encode()); same != (c == o) {
			t.Fatalf("%+v and %+v are signed as the same bytes", c, o)
		}
		signed := c.Sign(key)
		if opened, err := signed.Open(key.Public()); err != nil || opened != c {
			t.Fatalf("%+v opens as %+v, %v", c, opened, err)
		}
		forged := NewSignedCheckpoint(o.Claims(), signed.KeyID(), signed.Signature())
		if _, err := forged.Open(key.Public()); (err == nil) != (c == o) {
			t.Fatalf("%+v opens with the signature of %+v: %v", o, c, err)
		}
	})
}

func FuzzVersion(f *testing.F) {
	inputs := DecodeTestdata[[]*string](f, "version", ReadTestdata[map[string]json.RawMessage](f, "parse.json")["version"])
	for _, in := range inputs {
		if in != nil {
			f.Add(*in, "1.2.3-rc.1+5")
		}
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		v, err := ParseVersion(s)
		if err != nil {
			return
		}
		if v.String() != s {
			t.Errorf("%q prints as %q", s, v)
		}
		o, err := ParseVersion(other)
		if err != nil {
			return
		}
		if v.Compare(o) != -o.Compare(v) || (v.Compare(o) == 0) != (v == o) || (v == o) != (s == other) {
			t.Errorf("%s compared with %s: %d, reversed %d", v, o, v.Compare(o), o.Compare(v))
		}
	})
}

func FuzzRequirement(f *testing.F) {
	for _, pair := range ReadTestdata[map[string][]json.RawMessage](f, "parse.json")["req"] {
		var in [2]string
		if json.Unmarshal(pair, &in) == nil {
			f.Add(in[0], in[1])
		}
	}
	f.Fuzz(func(t *testing.T, s, version string) {
		r, err := ParseRequirement(s)
		if err != nil {
			return
		}
		if r.String() != s {
			t.Errorf("%q prints as %q", s, r)
		}
		v, err := ParseVersion(version)
		if err != nil {
			return
		}
		spaced, err := ParseRequirement(" " + strings.ReplaceAll(s, ",", " , ") + " ")
		if err != nil || spaced.Matches(v) != r.Matches(v) {
			t.Errorf("%q with spaces around its comparators: %v", s, err)
		}
	})
}

// FuzzPublicKey: a key has several spellings, all of which print as one.
func FuzzPublicKey(f *testing.F) {
	addSeeds(f, "pubkey")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParsePublicKey(s)
		if err != nil {
			return
		}
		again, err := ParsePublicKey(k.String())
		if err != nil || again.String() != k.String() || again.ID() != k.ID() || !again.key.Equal(k.key) {
			t.Errorf("%q prints as %q, which reads as %q, %v", s, k, again, err)
		}
		b, _ := decodeAlgorithmText(s)
		if compressed := b[0] == 2 || b[0] == 3; compressed && k.String() != s {
			t.Errorf("%q prints as %q", s, k)
		}
	})
}

// FuzzPrivateKey: a short scalar prints padded.
func FuzzPrivateKey(f *testing.F) {
	addSeeds(f, "privkey")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParsePrivateKey(s)
		if err != nil {
			return
		}
		again, err := ParsePrivateKey(k.Text())
		if err != nil || again.Text() != k.Text() {
			t.Errorf("a key prints as one that reads as another: %v", err)
		}
		if b, _ := decodeAlgorithmText(s); len(b) == 32 && k.Text() != s {
			t.Errorf("%q prints as %q", s, k.Text())
		}
	})
}

func FuzzTimestamp(f *testing.F) {
	for _, s := range []string{"0.0", "1.5", "1700000000.70000000", "1.4294967295", "9223372036854775807.999999999", "-1.0", "1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ts, err := ParseTimestamp(s)
		if err != nil {
			return
		}
		if again, err := ParseTimestamp(ts.String()); err != nil || again != ts || ts.Nanos < 0 || ts.Nanos >= 1e9 {
			t.Errorf("%q prints as %s, which reads as %s, %v", s, ts, again, err)
		}
	})
}

func FuzzEnvelopeProto(f *testing.F) {
	for _, c := range ReadTestdata[[]*struct{ Kind, Hex string }](f, "decode.json") {
		if c == nil || c.Kind != "envelope" {
			continue
		}
		b, err := hex.DecodeString(c.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEnvelopeProto(b)
		if err != nil {
			return
		}
		proto := e.AppendProto(nil)
		again, err := ParseEnvelopeProto(proto)
		if err != nil || !bytes.Equal(again.Content, e.Content) || again.KeyID != e.KeyID || again.Signature != e.Signature {
			t.Errorf("%x reads as %+v, again as %+v, %v", b, e, again, err)
		}
		if !bytes.Equal(again.AppendProto(nil), proto) {
			t.Errorf("%x writes in two ways", b)
		}
	})
}

// TestFuzzSeeds: every fuzz target of the values and the logs has stored seeds.
func TestFuzzSeeds(t *testing.T) {
	targets := 0
	for _, dir := range []string{".", "internal/pb", "pkglog", "oplog"} {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, name := range fuzzTargets(t, file) {
				targets++
				seeds, err := os.ReadDir(filepath.Join(dir, "testdata", "fuzz", name))
				if err != nil || len(seeds) == 0 {
					t.Errorf("%s: %s has no seeds: %v", file, name, err)
				}
			}
		}
	}
	if targets < 13 {
		t.Errorf("%d fuzz targets", targets)
	}
}

func fuzzTargets(t *testing.T, file string) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Fuzz") {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
