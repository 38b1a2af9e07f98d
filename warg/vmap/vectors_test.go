package vmap

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// vectors are the groups of ../testdata/vectors.json about the map.
type vectors struct {
	Map struct {
		Roots        []*warg.Digest
		Early        []*string
		Proofs       []*string
		Updates      []*update1
		Empty        []*warg.Digest
		FooBar       warg.Digest
		FooBarBazBat warg.Digest
		Absent       bool
		ReverseSame  bool
	}
	Registry struct {
		Entries []struct {
			LogID      warg.LogID
			RecordID   warg.RecordID
			Checkpoint string
		}
		Leafs     []uint64
		MapBundle string
	}
	MapLeaf struct{ Hex string }
	Decode  []*struct {
		Name string
		Ok   *struct {
			Reencode string
			Roots    []warg.Digest
		}
		Panic bool
	}
}

// update1 is [key number, root or null].
type update1 struct {
	key  int
	root *warg.Digest
}

func (u *update1) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[]any{&u.key, &u.root}) }

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
	for name, into := range map[string]any{"map": &v.Map, "registry": &v.Registry, "mapLeaf": &v.MapLeaf, "decode": &v.Decode} {
		if err := json.Unmarshal(raw[name], into); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return v
}

// packageEntry is the entry of package test:pkg-n<i> in its r-th version.
func packageEntry(t testing.TB, i, r int) Entry {
	t.Helper()
	name, err := warg.ParsePackageName(fmt.Sprintf("test:pkg-n%d", i))
	if err != nil {
		t.Fatal(err)
	}
	id := warg.PackageLogID(name)
	record := warg.RecordID(warg.Sum(fmt.Appendf(nil, "rec-%d-%d", i, r)))
	return Entry{id[:], warg.MapValue(record)}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectorEmpty(t *testing.T) {
	v := readVectors(t)
	for i, height := range []int{0, 1, 2, 255, 256} {
		if want := v.Map.Empty[i]; want != nil && Empty(height) != *want {
			t.Errorf("E[%d] is %s, want %s", height, Empty(height), want)
		}
	}
	if root := (Map{}).Root(); root != *v.Map.Roots[0] {
		t.Errorf("the empty map has root %s", root)
	}
}

func TestVectorTexts(t *testing.T) {
	v := readVectors(t)
	m := Map{}.Update([]Entry{{[]byte("foo"), []byte("bar")}})
	if m.Root() != v.Map.FooBar {
		t.Errorf("foo: %s, want %s", m.Root(), v.Map.FooBar)
	}
	m = m.Update([]Entry{{[]byte("baz"), []byte("bat")}})
	if m.Root() != v.Map.FooBarBazBat {
		t.Errorf("foo, baz: %s, want %s", m.Root(), v.Map.FooBarBazBat)
	}
	if _, ok := m.Prove([]byte("qux")); ok == v.Map.Absent {
		t.Error("there is a proof for a key that is not in the map")
	}
}

// TestVectorGrowth adds 300 entries one by one and checks every root and proof.
func TestVectorGrowth(t *testing.T) {
	v := readVectors(t)
	versions := []Map{{}}
	var entries []Entry
	for i := range 300 {
		entries = append(entries, packageEntry(t, i, 0))
		versions = append(versions, versions[i].Update(entries[i:]))
	}
	roots, proofs := 0, 0
	for n, want := range v.Map.Roots {
		if want != nil {
			roots++
			if got := versions[n].Root(); got != *want {
				t.Errorf("root of %d entries is %s, want %s", n, got, *want)
			}
			if got := (Map{}).Update(entries[:n]).Root(); got != *want {
				t.Errorf("root of %d entries at once is %s, want %s", n, got, *want)
			}
		}
	}
	for i, want := range v.Map.Early {
		if want != nil {
			proofs++
			sameBundle(t, versions[i+1], entries[:i+1], *want)
		}
	}
	for i, want := range v.Map.Proofs {
		if want != nil {
			proofs++
			sameBundle(t, versions[300], entries[i:i+1], *want)
		}
	}
	if roots < 100 || proofs < 100 {
		t.Errorf("only %d roots and %d proofs", roots, proofs)
	}
	backwards := slices.Clone(entries)
	slices.Reverse(backwards)
	if same := (Map{}).Update(backwards).Root() == versions[300].Root(); same != v.Map.ReverseSame {
		t.Error("the order of entries matters")
	}
	m := versions[300]
	for _, u := range v.Map.Updates {
		m = m.Update([]Entry{packageEntry(t, u.key, 1)})
		if u.root != nil && m.Root() != *u.root {
			t.Errorf("root after updating %d is %s, want %s", u.key, m.Root(), *u.root)
		}
	}
}

// sameBundle checks the bundle that m makes, and that the given one verifies.
func sameBundle(t *testing.T, m Map, entries []Entry, want string) {
	t.Helper()
	var keys [][]byte
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	b, err := m.ProveAll(keys)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b.Encode()); got != want {
		t.Errorf("bundle %s, want %s", got, want)
	}
	if err := VerifyInclusion(unhex(t, want), m.Root(), entries); err != nil {
		t.Error(err)
	}
}

func TestVectorRegistry(t *testing.T) {
	v := readVectors(t)
	m := Map{}
	var asked []Entry
	for _, e := range v.Registry.Entries {
		leaf := warg.Leaf{LogID: e.LogID, RecordID: e.RecordID}
		m = m.Update([]Entry{{leaf.MapKey(), leaf.MapValue()}})
		if !strings.Contains(e.Checkpoint, `"mapRoot":"`+m.Root().String()+`"`) {
			t.Errorf("root %s is not in %s", m.Root(), e.Checkpoint)
		}
	}
	for _, i := range v.Registry.Leafs {
		leaf := warg.Leaf{LogID: v.Registry.Entries[i].LogID, RecordID: v.Registry.Entries[i].RecordID}
		asked = append(asked, Entry{leaf.MapKey(), leaf.MapValue()})
	}
	sameBundle(t, m, asked, v.Registry.MapBundle)
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
	name, err := warg.ParsePackageName("test:component")
	if err != nil {
		t.Fatal(err)
	}
	id, value := warg.PackageLogID(name), unhex(t, v.MapLeaf.Hex)
	ran := 0
	for i, in := range inputs {
		if in == nil || v.Decode[i] == nil || in.Kind != "mapbundle" {
			continue
		}
		ran++
		t.Run(in.Name, func(t *testing.T) {
			b, err := ParseBundle(unhex(t, in.Hex))
			switch want := v.Decode[i]; {
			case want.Name != in.Name:
				t.Fatalf("answer is for %s", want.Name)
			case want.Panic:
				if _, err := b[0].Evaluate(id[:], value); !errors.Is(err, ErrTooManySiblings) {
					t.Errorf("evaluating: %v", err)
				}
			case want.Ok == nil:
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("parsing: %v", err)
				}
			case err != nil:
				t.Error(err)
			default:
				if got := hex.EncodeToString(b.Encode()); got != want.Ok.Reencode {
					t.Errorf("printed back as %s, want %s", got, want.Ok.Reencode)
				}
				var roots []warg.Digest
				for _, p := range b {
					root, err := p.Evaluate(id[:], value)
					if err != nil {
						t.Fatal(err)
					}
					roots = append(roots, root)
				}
				if !slices.Equal(roots, want.Ok.Roots) {
					t.Errorf("evaluates to %s, want %s", roots, want.Ok.Roots)
				}
			}
		})
	}
	if ran < 5 {
		t.Errorf("only %d cases", ran)
	}
}
