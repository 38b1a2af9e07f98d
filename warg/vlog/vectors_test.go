package vlog

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// vectors are the groups of ../testdata/vectors.json about the log.
type vectors struct {
	Log struct {
		Roots       []*string
		Stacklog    []*string
		Veclog      []*string
		Inclusion   []*triple
		Consistency []*triple
		Multi       *string
		Errors      map[string]*string
	}
	Registry struct {
		Entries []struct {
			LogID      warg.LogID
			RecordID   warg.RecordID
			Checkpoint string
		}
		Leafs           []uint64
		LogBundle       string
		Consistency3to5 string
	}
	UnitLog25, UnitLogU8 []*string
	LogLeaf              struct{ Hex string }
	Decode               []*struct {
		Name  string
		Ok    json.RawMessage
		Panic bool
	}
}

// triple is [a number, a length, a bundle].
type triple struct {
	a, length uint64
	bundle    string
}

func (t *triple) UnmarshalJSON(b []byte) error {
	return json.Unmarshal(b, &[]any{&t.a, &t.length, &t.bundle})
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	v := new(vectors)
	for name, into := range map[string]any{
		"log": &v.Log, "registry": &v.Registry, "unitLog25": &v.UnitLog25, "unitLogU8": &v.UnitLogU8,
		"logLeaf": &v.LogLeaf, "decode": &v.Decode,
	} {
		if err := json.Unmarshal(raw[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return v
}

// textLog is the log of the texts leaf-0, leaf-1, and so on.
func textLog(n int) *Log {
	l := new(Log)
	for i := range n {
		l.Append(LeafHash(leafText(uint64(i))))
	}
	return l
}

func leafText(i uint64) []byte { return fmt.Appendf(nil, "leaf-%d", i) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorRoots(t *testing.T) {
	v := readVectors(t)
	text25 := strings.Fields("93 67 30 37 23 75 57 89 76 42 9 14 40 59 26 66 77 38 47 34 8 81 101 102 103")
	cases := []struct {
		name  string
		first int // length of roots[0]
		roots []*string
		leaf  func(i int) []byte
	}{
		{"leaf-i", 0, v.Log.Roots, func(i int) []byte { return leafText(uint64(i)) }},
		{"25 texts", 1, v.UnitLog25, func(i int) []byte { return []byte(text25[i]) }},
		{"7 bytes", 1, v.UnitLogU8, func(i int) []byte { return []byte{[]byte{100, 102, 104, 106, 108, 110, 112}[i]} }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var l Log
			var e Edge
			ran := 0
			for i, want := range c.roots {
				for int(l.Len()) < i+c.first {
					leaf := LeafHash(c.leaf(int(l.Len())))
					l.Append(leaf)
					e.Append(leaf)
				}
				if want == nil {
					continue
				}
				ran++
				if got := l.Root().String(); got != *want {
					t.Errorf("root of %d leaves is %s, want %s", l.Len(), got, *want)
				}
				if e.Root() != l.Root() || e.Len() != l.Len() {
					t.Errorf("edge of %d leaves: %s", e.Len(), e.Root())
				}
			}
			if ran == 0 {
				t.Error("no roots")
			}
			t.Logf("%d roots", ran)
		})
	}
}

func TestVectorInclusion(t *testing.T) {
	v := readVectors(t)
	l := textLog(40)
	ran := 0
	for _, c := range v.Log.Inclusion {
		if c == nil {
			continue
		}
		ran++
		b, err := BuildBundle(l, c.length, nil, []uint64{c.a})
		if err != nil {
			t.Fatalf("leaf %d of %d: %v", c.a, c.length, err)
		}
		if got := hex.EncodeToString(b.Encode()); got != c.bundle {
			t.Errorf("leaf %d of %d: bundle %s, want %s", c.a, c.length, got, c.bundle)
		}
		root, err := Root(l, c.length)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifyInclusion(unhex(t, c.bundle), root, c.length, []Leaf{{c.a, leafText(c.a)}}); err != nil {
			t.Errorf("leaf %d of %d: %v", c.a, c.length, err)
		}
	}
	if ran < 100 {
		t.Errorf("only %d cases", ran)
	}
}

func TestVectorConsistency(t *testing.T) {
	v := readVectors(t)
	l := textLog(40)
	ran := 0
	for _, c := range v.Log.Consistency {
		if c == nil {
			continue
		}
		ran++
		b, err := BuildBundle(l, c.length, []uint64{c.a}, nil)
		if err != nil {
			t.Fatalf("%d to %d: %v", c.a, c.length, err)
		}
		if got := hex.EncodeToString(b.Encode()); got != c.bundle {
			t.Errorf("%d to %d: bundle %s, want %s", c.a, c.length, got, c.bundle)
		}
		if err := VerifyConsistency(unhex(t, c.bundle), pointOf(t, l, c.a), pointOf(t, l, c.length)); err != nil {
			t.Errorf("%d to %d: %v", c.a, c.length, err)
		}
	}
	if ran < 100 {
		t.Errorf("only %d cases", ran)
	}
}

func pointOf(t testing.TB, r NodeReader, length uint64) Point {
	t.Helper()
	root, err := Root(r, length)
	if err != nil {
		t.Fatal(err)
	}
	return Point{length, root}
}

// label is what the vectors call an error: the outermost reason.
func label(err error) string {
	var e Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e) && e == ErrHashNotKnown:
		return "hash not available"
	case errors.Is(err, ErrNoProofs):
		return "no proofs"
	}
	return string(e)
}

func TestVectorBuildErrors(t *testing.T) {
	v := readVectors(t)
	l := textLog(40)
	ask := map[string]struct {
		length               uint64
		consistent, included []uint64
	}{
		"none":                    {length: 40},
		"consistency 0->5":        {length: 5, consistent: []uint64{0}},
		"consistency 6->5":        {length: 5, consistent: []uint64{6}},
		"consistency 5->5":        {length: 5, consistent: []uint64{5}},
		"consistency 5->41":       {length: 41, consistent: []uint64{5}},
		"inclusion leaf 5 len 5":  {length: 5, included: []uint64{5}},
		"inclusion leaf 0 len 41": {length: 41, included: []uint64{0}},
		"inclusion leaf 0 len 64": {length: 64, included: []uint64{0}},
	}
	for name, want := range v.Log.Errors {
		t.Run(name, func(t *testing.T) {
			if want == nil {
				t.Skip("not part of this set")
			}
			if *want == "different lengths" {
				return // BuildBundle takes one length, so this cannot be asked for
			}
			q, ok := ask[name]
			if !ok {
				t.Fatal("unknown case")
			}
			b, err := BuildBundle(l, q.length, q.consistent, q.included)
			got := label(err)
			if err == nil {
				got += " " + hex.EncodeToString(b.Encode())
			}
			if got != *want {
				t.Errorf("got %s, want %s", got, *want)
			}
		})
	}
}

func TestVectorMany(t *testing.T) {
	v := readVectors(t)
	b, err := BuildBundle(textLog(40), 13, []uint64{5, 7}, []uint64{4, 0, 4})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b.Encode()); got != *v.Log.Multi {
		t.Errorf("got %s, want %s", got, *v.Log.Multi)
	}
}

func TestVectorRegistry(t *testing.T) {
	v := readVectors(t)
	l := new(Log)
	var leaves []Leaf
	for i, e := range v.Registry.Entries {
		value := warg.Leaf{LogID: e.LogID, RecordID: e.RecordID}.LogValue()
		l.Append(LeafHash(value))
		leaves = append(leaves, Leaf{uint64(i), value})
		if !strings.Contains(e.Checkpoint, `"logRoot":"`+l.Root().String()+`"`) {
			t.Errorf("root of length %d is %s, not in %s", l.Len(), l.Root(), e.Checkpoint)
		}
	}
	b, err := BuildBundle(l, l.Len(), nil, v.Registry.Leafs)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b.Encode()); got != v.Registry.LogBundle {
		t.Errorf("inclusion bundle %s, want %s", got, v.Registry.LogBundle)
	}
	var asked []Leaf
	for _, i := range v.Registry.Leafs {
		asked = append(asked, leaves[i])
	}
	if err := VerifyInclusion(unhex(t, v.Registry.LogBundle), l.Root(), l.Len(), asked); err != nil {
		t.Error(err)
	}
	if err := VerifyConsistency(unhex(t, v.Registry.Consistency3to5), pointOf(t, l, 3), pointOf(t, l, 5)); err != nil {
		t.Error(err)
	}
}

func TestVectorDecode(t *testing.T) {
	v := readVectors(t)
	var inputs []*struct{ Name, Kind, Hex string }
	b, err := os.ReadFile("../testdata/decode.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &inputs); err != nil {
		t.Fatal(err)
	}
	leaf := LeafHash(unhex(t, v.LogLeaf.Hex))
	ran := 0
	for i, in := range inputs {
		if in == nil || v.Decode[i] == nil || in.Kind != "logbundle" {
			continue
		}
		ran++
		t.Run(in.Name, func(t *testing.T) {
			b, err := ParseBundle(unhex(t, in.Hex))
			switch want := v.Decode[i]; {
			case want.Name != in.Name:
				t.Fatalf("answer is for %s", want.Name)
			case want.Panic:
				if _, _, err := b.Consistency(0); err == nil {
					t.Error("evaluated without an error")
				}
			case want.Ok == nil:
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("parsing: %v", err)
				}
			case err != nil:
				t.Error(err)
			default:
				evaluated(t, b, leaf, want.Ok)
			}
		})
	}
	if ran < 10 {
		t.Errorf("only %d cases", ran)
	}
}

func evaluated(t *testing.T, b Bundle, leaf warg.Digest, want json.RawMessage) {
	got := struct {
		Consistencies []string `json:"consistencies"`
		Inclusions    []string `json:"inclusions"`
	}{[]string{}, []string{}}
	show := func(text string, err error) string {
		var e Error
		if errors.As(err, &e) {
			return "err: " + string(e)
		}
		return text
	}
	for i := range b.Included {
		root, err := b.Inclusion(i, leaf)
		got.Inclusions = append(got.Inclusions, show(root.String(), err))
	}
	for i := range b.Consistent {
		shorter, longer, err := b.Consistency(i)
		got.Consistencies = append(got.Consistencies, show(shorter.String()+" "+longer.String(), err))
	}
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, want); err != nil {
		t.Fatal(err)
	}
	if string(text) != compact.String() {
		t.Errorf("evaluates to %s, want %s", text, compact.String())
	}
}
