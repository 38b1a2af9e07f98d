package monitor

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// evidences returns one evidence file for each kind of proof.
func evidences(t *testing.T) map[string][]byte {
	t.Helper()
	kinds := []string{
		"another map root for one length", "a shorter length with another map root",
		"a longer length of another history, whose ledger it shows", "a rewind that is signed later",
	}
	files := map[string][]byte{}
	files["after a key rotation"], _ = rotated(t)
	for _, c := range crimes() {
		if !slices.Contains(kinds, c.name) {
			continue
		}
		by := c.only
		if by == "" {
			by = ByLedger
		}
		s, w := observed(t, by == ByProof)
		c.do(s)
		files[c.name] = w.evidence(w.look(StatusForked))
	}
	if len(files) != 1+len(kinds) {
		t.Fatalf("%d kinds of evidence", len(files))
	}
	return files
}

func trustAlice() []warg.KeyID { return []warg.KeyID{wargtest.Alice().Public().ID()} }

// facts is what a verdict says that is proven.
func facts(v Verdict) Verdict {
	v.Registry = ""
	slices.SortFunc(v.Checkpoints, func(a, b Statement) int { return int(a.LogLength) - int(b.LogLength) })
	return v
}

// TestAlteredEvidence changes every byte of every kind of evidence. Each change must
// be refused, or must not matter: in text that is not evidence, or in white space.
func TestAlteredEvidence(t *testing.T) {
	for name, file := range evidences(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := facts(convicts(t, file, evidenceClass(t, file)))
			harmless := 0
			for i := range file {
				altered := bytes.Clone(file)
				altered[i] ^= 1
				v, err := CheckEvidence(altered, trustAlice())
				if err != nil {
					continue
				}
				if harmless++; !reflect.DeepEqual(facts(v), want) {
					t.Fatalf("byte %d, %q for %q: another verdict: %+v, want %+v", i, altered[i], file[i], v, want)
				}
			}
			if harmless > 300 {
				t.Errorf("%d of %d changes do not matter", harmless, len(file))
			}
			for _, n := range []int{0, 1, len(file) / 2, len(file) - 2} {
				if _, err := CheckEvidence(file[:n], trustAlice()); err == nil {
					t.Errorf("%d of %d bytes were believed", n, len(file))
				}
			}
		})
	}
}

func evidenceClass(t *testing.T, file []byte) string {
	t.Helper()
	return must(readEvidence(file))(t).Class
}

// TestFramedRegistry tries to make evidence against an honest registry out of what
// it signed.
func TestFramedRegistry(t *testing.T) {
	m := newRegistry(t, 4)
	four := must(m.Checkpoint(t.Context()))(t).Signed
	grow(t, m, "a", 5)
	nine := must(m.Checkpoint(t.Context()))(t).Signed
	m.Resign()
	nineLater := must(m.Checkpoint(t.Context()))(t).Signed
	ledger := must(m.Ledger(t.Context(), 0, 100))(t)
	proof := must(m.Consistency(t.Context(), 4, 9))(t)
	flipped := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
	claim := func(c *warg.CheckpointClaims, s warg.SignedCheckpoint) json.RawMessage {
		return api.AppendCheckpoint(nil, warg.NewSignedCheckpoint(*c, s.KeyID(), s.Signature()))
	}
	body := func(s warg.SignedCheckpoint) json.RawMessage { return api.AppendCheckpoint(nil, s) }
	early := four.Unverified()
	early.Timestamp += 1000
	stranger := latest(t, m)
	stranger.MapRoot[0] ^= 1

	base := evidenceFile{
		Format: 1, Registry: "registry.test", Class: ClassEquivocation, Reason: "because",
		PublicKeys: []string{wargtest.Alice().Public().String()},
	}
	for _, c := range []struct {
		name string
		edit func(*evidenceFile)
	}{
		{"nothing", func(*evidenceFile) {}},
		{"one checkpoint", func(e *evidenceFile) { e.Checkpoints = []json.RawMessage{body(nine)} }},
		{"one checkpoint twice", func(e *evidenceFile) { e.Checkpoints = []json.RawMessage{body(nine), body(nine)} }},
		{"three checkpoints", func(e *evidenceFile) { e.Checkpoints = []json.RawMessage{body(four), body(nine), body(nineLater)} }},
		{"signed anew", func(e *evidenceFile) { e.Checkpoints = []json.RawMessage{body(nine), body(nineLater)} }},
		{"growth", func(e *evidenceFile) { e.Checkpoints = []json.RawMessage{body(four), body(nine)} }},
		{"growth as a rewind", func(e *evidenceFile) {
			e.Class, e.Checkpoints = ClassRewind, []json.RawMessage{body(nine), body(four)}
		}},
		{"growth as a rewind, with another time", func(e *evidenceFile) {
			e.Class, e.Checkpoints = ClassRewind, []json.RawMessage{body(nine), claim(&early, four)}
		}},
		{"growth with its proof", func(e *evidenceFile) {
			e.Checkpoints, e.Consistency = []json.RawMessage{body(four), body(nine)}, proof
		}},
		{"growth with a changed proof", func(e *evidenceFile) {
			e.Checkpoints, e.Consistency = []json.RawMessage{body(four), body(nine)}, flipped(proof, len(proof)-1)
		}},
		{"growth with a proof about another log", func(e *evidenceFile) {
			other := newRegistry(t, 3)
			grow(t, other, "other", 6)
			e.Checkpoints, e.Consistency = []json.RawMessage{body(four), body(nine)}, must(other.Consistency(t.Context(), 4, 9))(t)
		}},
		{"one length with a proof", func(e *evidenceFile) {
			e.Checkpoints, e.Consistency = []json.RawMessage{body(nine), body(nineLater)}, must(m.Consistency(t.Context(), 9, 9))(t)
		}},
		{"growth with the ledger", func(e *evidenceFile) {
			e.Checkpoints, e.Ledger = []json.RawMessage{body(four), body(nine)}, ledger
		}},
		{"growth with a changed ledger", func(e *evidenceFile) {
			e.Checkpoints, e.Ledger = []json.RawMessage{body(four), body(nine)}, flipped(ledger, 70)
		}},
		{"a shorter ledger", func(e *evidenceFile) { e.Checkpoints, e.Ledger = []json.RawMessage{body(nine)}, ledger[:8*leafSize] }},
		{"half a leaf more", func(e *evidenceFile) {
			e.Checkpoints, e.Ledger = []json.RawMessage{body(nine)}, append(bytes.Clone(ledger), 0)
		}},
		{"a ledger of no checkpoint's length, with two in one", func(e *evidenceFile) {
			e.Checkpoints, e.Ledger = []json.RawMessage{body(four), body(nine)}, ledger[:6*leafSize]
		}},
		{"ledger and proof", func(e *evidenceFile) {
			e.Checkpoints, e.Consistency, e.Ledger = []json.RawMessage{body(four), body(nine)}, flipped(proof, len(proof)-1), ledger
		}},
		{"the word of a stranger", func(e *evidenceFile) {
			e.PublicKeys = append(e.PublicKeys, wargtest.Stranger("evil").Public().String())
			e.Checkpoints = []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Stranger("evil")))}
		}},
		{"the word of a stranger in the name of the key", func(e *evidenceFile) {
			claims := stranger.Claims()
			e.Checkpoints = []json.RawMessage{body(nine), claim(&claims, nine)}
		}},
		{"the word of a stranger who began a log", func(e *evidenceFile) {
			evil := wargtest.Stranger("evil")
			other := wargtest.NewMemory(wargtest.Options{Key: evil})
			page := must(other.Logs(t.Context(), warg.LogsRequest{LogLength: 1}))(t)
			e.OperatorLogs = [][]json.RawMessage{{publishedRecord(page.Operator[0])}}
			e.Checkpoints = []json.RawMessage{body(nine), body(stranger.Sign(evil))}
		}},
		{"the word of a publisher, whose log is called an operator's", func(e *evidenceFile) {
			log := wargtest.Name("test:a-p0").LogID()
			page := must(m.Logs(t.Context(), warg.LogsRequest{LogLength: 9, Packages: []warg.LogCursor{{LogID: log}}}))(t)
			e.OperatorLogs = [][]json.RawMessage{{publishedRecord(page.Packages[0].Records[0])}}
			e.Checkpoints = []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Bob()))}
		}},
		{"without the key", func(e *evidenceFile) {
			e.PublicKeys = nil
			e.Checkpoints = []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Alice()))}
		}},
		{"another format", func(e *evidenceFile) {
			e.Format, e.Checkpoints = 2, []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Alice()))}
		}},
		{"another class", func(e *evidenceFile) {
			e.Class, e.Checkpoints = ClassRewind, []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Alice()))}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := base
			e.PublicKeys = slices.Clone(base.PublicKeys)
			c.edit(&e)
			file := must(json.Marshal(e))(t)
			if v, err := CheckEvidence(file, trustAlice()); err == nil {
				t.Errorf("%+v", v)
			}
		})
	}
	e := base // and the same with what would convict
	e.Checkpoints = []json.RawMessage{body(nine), body(stranger.Sign(wargtest.Alice()))}
	convicts(t, must(json.Marshal(e))(t), ClassEquivocation)
}

func TestMalformedEvidence(t *testing.T) {
	var file []byte
	for _, f := range evidences(t) {
		file = f
		break
	}
	text := string(file)
	for name, altered := range map[string]string{
		"empty":                "",
		"null":                 "null",
		"a list":               "[" + text + "]",
		"twice":                text + text,
		"something behind it":  text + "x",
		"an unknown member":    strings.Replace(text, `"format"`, `"formal"`, 1),
		"a member in capitals": strings.Replace(text, `"checkpoints"`, `"Checkpoints"`, 1),
		"a member twice":       strings.Replace(text, `"format"`, `"format": 1, "format"`, 1),
	} {
		if v, err := CheckEvidence([]byte(altered), trustAlice()); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func FuzzCheckEvidence(f *testing.F) {
	f.Add([]byte(`{"format":1,"registry":"r","class":"rewind","reason":"","foundAt":"2026-01-02T03:04:05Z","publicKeys":["ecdsa-p256:A1OfZz5Y9Ny7VKPVwroCTQPAr9tmlI4U/UTYHZHA87AF"],"checkpoints":[{},{}],"consistency":"AA==","operatorLogs":[[{}]],"ledger":"AA=="}`))
	c := warg.Checkpoint{LogLength: 1, Timestamp: 1}
	d := warg.Checkpoint{LogLength: 2, Timestamp: 1}
	alice := wargtest.Alice()
	f.Add(must(json.Marshal(evidenceFile{
		Format: 1, Class: ClassRewind, PublicKeys: []string{alice.Public().String()},
		Checkpoints: []json.RawMessage{api.AppendCheckpoint(nil, c.Sign(alice)), api.AppendCheckpoint(nil, d.Sign(alice))},
	}))(f))
	f.Fuzz(func(t *testing.T, file []byte) {
		if v, err := CheckEvidence(file, trustAlice()); err == nil {
			t.Errorf("an honest key was convicted: %+v", v)
		}
	})
}
