package monitor

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/vmap"
)

// vectors are the groups of the reference implementation's answers that are about
// trees, checkpoints and operator logs.
type vectors struct {
	Log struct {
		Roots       []*string
		Consistency []*triple
	}
	Map      struct{ Empty []*string }
	Registry struct {
		Entries []struct {
			LogID, RecordID warg.Digest
			Checkpoint      string
		}
		Leafs                []uint64
		LogBundle, MapBundle string
		Consistency3to5      string
	}
	LogLeaf, MapLeaf struct {
		LogID, RecordID warg.Digest
		Hex             string
	}
	Checkpoints []struct {
		LogLength, Timestamp uint64
		TcHex                string
		Envelope             string
	}
	Scenarios []*struct {
		Name, Kind string
		Records    []struct{ ContentBytes, RecordID, Signature string }
		Error      *struct {
			Record int
			Error  string
		}
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

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../../warg/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func plainLeaf(value string) hash { return warg.Sum([]byte{0}, []byte(value)) }

func TestLogRootsOfTheReference(t *testing.T) {
	var v vectors
	readJSON(t, "vectors.json", &v)
	roots := map[uint64]string{}
	var e edge
	for n, want := range v.Log.Roots {
		if want != nil {
			if roots[uint64(n)] = *want; text(e.root()) != *want {
				t.Errorf("root of %d leaves is %s, want %s", n, text(e.root()), *want)
			}
		}
		e.append(plainLeaf(fmt.Sprintf("leaf-%d", n)))
	}
	if len(roots) < 20 {
		t.Fatalf("only %d roots", len(roots))
	}
}

func TestConsistencyProofsOfTheReference(t *testing.T) {
	var v vectors
	readJSON(t, "vectors.json", &v)
	rootAt := func(n uint64) hash {
		var e edge
		for i := range n {
			e.append(plainLeaf(fmt.Sprintf("leaf-%d", i)))
		}
		return e.root()
	}
	cases := 0
	for _, c := range v.Log.Consistency {
		if c == nil {
			continue
		}
		cases++
		old, root, err := consistency(unhex(t, c.bundle), c.a, c.length)
		if err != nil || old != rootAt(c.a) || root != rootAt(c.length) {
			t.Errorf("%d to %d: %s %s %v", c.a, c.length, text(old), text(root), err)
		}
	}
	if cases < 100 {
		t.Fatalf("only %d proofs", cases)
	}
}

func TestMapOfTheReference(t *testing.T) {
	var v vectors
	readJSON(t, "vectors.json", &v)
	empty := emptyTrees()
	for i, h := range []int{0, 1, 2, 255, 256} {
		if want := v.Map.Empty[i]; want != nil && text(empty[h]) != *want {
			t.Errorf("E[%d] = %s, want %s", h, text(empty[h]), *want)
		}
	}
}

func TestRegistryOfTheReference(t *testing.T) {
	var v vectors
	readJSON(t, "vectors.json", &v)
	if got := logLeaf(leaf{v.LogLeaf.LogID, v.LogLeaf.RecordID}); got != plainLeaf(string(unhex(t, v.LogLeaf.Hex))) {
		t.Errorf("log leaf: %s", got.Hex())
	}
	if got := mapLeaf(v.MapLeaf.RecordID); got != plainLeaf(string(unhex(t, v.MapLeaf.Hex))) {
		t.Errorf("map leaf: %s", got.Hex())
	}
	trees, at := newTrees(), map[uint64]roots{}
	for _, e := range v.Registry.Entries {
		trees.add(leaf{e.LogID, e.RecordID})
		at[trees.log.length] = trees.roots()
		signed, err := api.ParseCheckpoint([]byte(e.Checkpoint))
		if err != nil {
			t.Fatal(err)
		}
		c, err := readCheckpoint(signed)
		if err != nil || (roots{c.logRoot, c.mapRoot}) != trees.roots() || c.length != trees.log.length {
			t.Errorf("length %d: %v %v, want %v", c.length, err, trees.roots(), c)
		}
	}
	if old, root, err := consistency(unhex(t, v.Registry.Consistency3to5), 3, 5); err != nil || old != at[3].logRoot || root != at[5].logRoot {
		t.Errorf("consistency: %v", err)
	}
	bundle, err := vmap.ParseBundle(unhex(t, v.Registry.MapBundle))
	if err != nil || len(bundle) != len(v.Registry.Leafs) {
		t.Fatal(err)
	}
	for i, index := range v.Registry.Leafs {
		e := v.Registry.Entries[index]
		var siblings []*hash
		for _, s := range bundle[i] {
			siblings = append(siblings, &s.Hash)
		}
		if root, ok := mapProofRoot(emptyTrees(), leaf{e.LogID, e.RecordID}, siblings); !ok || root != at[5].mapRoot {
			t.Errorf("map proof of leaf %d leads to %s", index, root.Hex())
		}
	}
}

func TestSignedTextOfTheReference(t *testing.T) {
	var v vectors
	readJSON(t, "vectors.json", &v)
	alice := aliceKey(t)
	for _, k := range v.Checkpoints {
		signed, err := api.ParseCheckpoint([]byte(k.Envelope))
		if err != nil {
			t.Fatal(err)
		}
		claims := signed.Unverified()
		logRoot, _ := claims.LogRoot.Digest()
		mapRoot, _ := claims.MapRoot.Digest()
		c := checkpoint{k.LogLength, logRoot, mapRoot, k.Timestamp, signed}
		if want := "WARG-CHECKPOINT-SIGNATURE-V0:" + string(unhex(t, k.TcHex)); string(signedText(c)) != want {
			t.Errorf("signed text of length %d is %x", k.LogLength, signedText(c))
		}
		if !c.signedBy(alice) {
			t.Errorf("the signature for length %d does not verify", k.LogLength)
		}
		c.timestamp++
		if c.signedBy(alice) {
			t.Errorf("the signature for length %d verifies for another time", k.LogLength)
		}
	}
	if len(v.Checkpoints) == 0 {
		t.Fatal("no checkpoints")
	}
}

// scenario is the input of a state machine case, of which only who signs is needed:
// the answers have the bytes.
type scenario struct {
	Name, Kind string
	Records    []struct{ Signer, KeyID string }
}

// TestOperatorScenariosOfTheReference replays operator logs that the reference
// accepts or refuses.
func TestOperatorScenariosOfTheReference(t *testing.T) {
	var v vectors
	var inputs []*scenario
	readJSON(t, "vectors.json", &v)
	readJSON(t, "scenarios.json", &inputs)
	cases, refused := 0, 0
	for i, answer := range v.Scenarios {
		if answer == nil || answer.Kind != "operator" {
			continue
		}
		records, complete := scenarioRecords(t, inputs[i], answer.Records)
		if !complete {
			continue
		}
		cases++
		t.Run(answer.Name, func(t *testing.T) {
			_, err := replay(records)
			if (err != nil) != (answer.Error != nil) {
				t.Errorf("%v, want %v", err, answer.Error)
			}
		})
		if answer.Error != nil {
			refused++
		}
	}
	if cases < 20 || refused < 10 {
		t.Fatalf("only %d cases, %d of them refused", cases, refused)
	}
}

func scenarioRecords(t *testing.T, in *scenario, answers []struct{ ContentBytes, RecordID, Signature string }) ([]warg.Record, bool) {
	t.Helper()
	var records []warg.Record
	for i, r := range answers {
		if r.Signature == "" || i >= len(in.Records) {
			return nil, false
		}
		signature, err := warg.ParseSignature(r.Signature)
		if err != nil {
			t.Fatal(err)
		}
		id := in.Records[i].KeyID
		if id == "" {
			id = string(keyNamed(in.Records[i].Signer).Public().ID())
		}
		records = append(records, warg.Record{
			Envelope: warg.Envelope{Content: unhex(t, r.ContentBytes), KeyID: warg.KeyID(id), Signature: signature},
			Index:    uint64(i),
		})
	}
	return records, true
}
