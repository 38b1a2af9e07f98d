package warg

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestVectorGroups fails if the files hold a group that no test reads.
func TestVectorGroups(t *testing.T) {
	here := []string{
		"hash", "pubkey", "privkey", "signature", "name", "version", "versionOrder", "req", "operatorLogId", "nameEncode",
		"logLeaf", "mapLeaf", "oddCheckpoint", "checkpoints", "signatures", "rfc6979", "sigRawDer", "logs", "scenarios", "decode",
	}
	elsewhere := []string{
		"json",                                      // api
		"log", "unitLog25", "unitLogU8", "registry", // vlog
		"map", // vmap
	}
	groups := ReadTestdata[map[string]json.RawMessage](t, "vectors.json")
	for group := range groups {
		if !slices.Contains(here, group) && !slices.Contains(elsewhere, group) {
			t.Errorf("no test reads group %q", group)
		}
	}
	if len(groups) != len(here)+len(elsewhere) {
		t.Errorf("%d groups, want %d", len(groups), len(here)+len(elsewhere))
	}
}

// parseCase is a case of one of the parser groups.
type parseCase struct {
	In, Err, ID, Pub string
	OK               *string
}

// runParse runs a parser group: parse returns the value printed back.
func runParse(t *testing.T, group string, labels bool, parse func(*testing.T, parseCase) (string, error)) {
	t.Helper()
	inputs := ReadTestdata[map[string][]json.RawMessage](t, "parse.json")[group]
	cases := ReadGroup[[]*parseCase](t, group)
	if len(inputs) != len(cases) {
		t.Fatalf("%d inputs, %d answers", len(inputs), len(cases))
	}
	ran := 0
	for i, c := range cases {
		if c == nil {
			continue
		}
		if in := DecodeTestdata[string](t, "input", inputs[i]); in != c.In {
			t.Fatalf("case %d: input %q, answer for %q", i, in, c.In)
		}
		ran++
		t.Run(c.In, func(t *testing.T) { checkParse(t, *c, labels, parse) })
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

func checkParse(t *testing.T, c parseCase, labels bool, parse func(*testing.T, parseCase) (string, error)) {
	got, err := parse(t, c)
	var pe *ParseError
	switch {
	case (c.OK == nil) == (c.Err == ""):
		t.Fatal("the answer is neither a value nor an error")
	case c.OK != nil && (err != nil || got != *c.OK):
		t.Errorf("got %q, %v, want %q", got, err, *c.OK)
	case c.OK == nil && err == nil:
		t.Errorf("got %q, want error %s", got, c.Err)
	case c.OK == nil && !errors.As(err, &pe):
		t.Errorf("got error %v of type %T", err, err)
	case c.OK == nil && labels && pe.Label != c.Err:
		t.Errorf("got error %s (%v), want %s", pe.Label, err, c.Err)
	}
}

func TestVectorHash(t *testing.T) {
	runParse(t, "hash", true, func(_ *testing.T, c parseCase) (string, error) {
		h, err := ParseAnyHash(c.In)
		return h.String(), err
	})
}

func TestVectorPublicKey(t *testing.T) {
	runParse(t, "pubkey", true, func(t *testing.T, c parseCase) (string, error) {
		k, err := ParsePublicKey(c.In)
		if err == nil && string(k.ID()) != c.ID {
			t.Errorf("key id %s, want %s", k.ID(), c.ID)
		}
		return k.String(), err
	})
}

func TestVectorPrivateKey(t *testing.T) {
	runParse(t, "privkey", true, func(t *testing.T, c parseCase) (string, error) {
		k, err := ParsePrivateKey(c.In)
		if err != nil {
			return "", err
		}
		if k.Public().String() != c.Pub {
			t.Errorf("public key %s, want %s", k.Public(), c.Pub)
		}
		return k.Text(), nil
	})
}

func TestVectorSignature(t *testing.T) {
	runParse(t, "signature", true, func(_ *testing.T, c parseCase) (string, error) {
		s, err := ParseSignature(c.In)
		return s.String(), err
	})
}

func TestVectorVersion(t *testing.T) {
	runParse(t, "version", false, func(_ *testing.T, c parseCase) (string, error) {
		v, err := ParseVersion(c.In)
		return v.String(), err
	})
}

func TestVectorName(t *testing.T) {
	type nameCase struct {
		In, Err, LogID string
		OK             []string
	}
	inputs := ReadTestdata[map[string][]json.RawMessage](t, "parse.json")["name"]
	ran := 0
	for i, c := range ReadGroup[[]*nameCase](t, "name") {
		if c == nil {
			continue
		}
		ran++
		t.Run(c.In, func(t *testing.T) {
			if in := DecodeTestdata[string](t, "input", inputs[i]); in != c.In {
				t.Fatalf("input %q", in)
			}
			n, err := ParsePackageName(c.In)
			if (err != nil) != (c.Err != "") || (err == nil) != (len(c.OK) == 2) {
				t.Fatalf("got %v, want %q", err, c.Err)
			}
			if err != nil {
				return
			}
			if n.Namespace() != c.OK[0] || n.Name() != c.OK[1] || n.String() != c.In || n.LogID().String() != c.LogID {
				t.Errorf("got %q %q %s %s", n.Namespace(), n.Name(), n, n.LogID())
			}
		})
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

func TestVectorVersionOrder(t *testing.T) {
	want := ReadGroup[[]string](t, "versionOrder")
	var versions []Version
	for _, s := range want {
		v, err := ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	for i, a := range versions {
		for j, b := range versions {
			if got, want := a.Compare(b), max(-1, min(1, i-j)); got != want {
				t.Errorf("%s compared with %s: %d, want %d", a, b, got, want)
			}
		}
	}
	shuffled := slices.Clone(versions)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	slices.SortFunc(shuffled, Version.Compare)
	if !slices.Equal(shuffled, versions) {
		t.Errorf("sorted %v", shuffled)
	}
	t.Logf("%d cases", len(versions)*len(versions))
}

func TestVectorRequirement(t *testing.T) {
	type reqCase struct {
		Req, Ver, Err string
		OK            *bool
	}
	inputs := ReadTestdata[map[string][]json.RawMessage](t, "parse.json")["req"]
	ran := 0
	for i, c := range ReadGroup[[]*reqCase](t, "req") {
		if c == nil {
			continue
		}
		if in := DecodeTestdata[[2]string](t, "input", inputs[i]); in != [2]string{c.Req, c.Ver} {
			t.Fatalf("case %d: input %q, answer for %q %q", i, in, c.Req, c.Ver)
		}
		ran++
		t.Run(c.Req+" "+c.Ver, func(t *testing.T) {
			v, err := ParseVersion(c.Ver)
			if err != nil {
				t.Fatal(err)
			}
			r, err := ParseRequirement(c.Req)
			switch {
			case (c.OK == nil) == (c.Err == ""):
				t.Fatal("the answer is neither a value nor an error")
			case (err != nil) != (c.Err != ""):
				t.Errorf("got error %v, want %q", err, c.Err)
			case err == nil && r.Matches(v) != *c.OK:
				t.Errorf("matches: %v", !*c.OK)
			case err == nil && r.String() != c.Req:
				t.Errorf("prints %q", r)
			}
		})
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

func TestVectorIDs(t *testing.T) {
	if want := ReadGroup[string](t, "operatorLogId"); OperatorLogID.String() != want {
		t.Errorf("operator log id %s, want %s", OperatorLogID, want)
	}
	enc := ReadGroup[struct{ Name, Hex, LogID string }](t, "nameEncode")
	name, err := ParsePackageName(enc.Name)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(appendStr([]byte(tagPackageName), enc.Name)); got != enc.Hex {
		t.Errorf("name encodes as %s, want %s", got, enc.Hex)
	}
	if name.LogID().String() != enc.LogID {
		t.Errorf("log id %s, want %s", name.LogID(), enc.LogID)
	}
}

func TestVectorLeaves(t *testing.T) {
	type leafCase struct{ LogID, RecordID, Hex, Hash string }
	check := func(t *testing.T, c leafCase, got []byte) {
		t.Helper()
		if hex.EncodeToString(got) != c.Hex || Sum(got).String() != c.Hash {
			t.Errorf("got %x, hash %s", got, Sum(got))
		}
	}
	logCase := ReadGroup[leafCase](t, "logLeaf")
	logID, err1 := ParseLogID(logCase.LogID)
	recordID, err2 := ParseRecordID(logCase.RecordID)
	mapCase := ReadGroup[leafCase](t, "mapLeaf")
	mapRecord, err3 := ParseRecordID(mapCase.RecordID)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	t.Run("log", func(t *testing.T) { check(t, logCase, Leaf{logID, recordID}.LogValue()) })
	t.Run("map", func(t *testing.T) { check(t, mapCase, Leaf{logID, mapRecord}.MapValue()) })
}
