package api

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

type vectorFile struct {
	Checkpoints []struct {
		LogLength uint64
		Envelope  string
	} `json:"checkpoints"`
	JSON struct {
		Body, Published string
		BodyTests       map[string]string
		CheckpointTests map[string]string
		PublishedTests  map[string]string
		Inputs          map[string]map[string]string
	} `json:"json"`
}

func vectors(t *testing.T) *vectorFile {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

// TestVectorGroups: a group that no test here knows is a gap. stateTimestamp is
// tested beside the timestamps themselves, in package warg.
func TestVectorGroups(t *testing.T) {
	known := map[string]bool{"bodyTests": true, "checkpointTests": true, "publishedTests": true, "stateTimestamp": true}
	inputs := vectors(t).JSON.Inputs
	if len(inputs) != len(known) {
		t.Errorf("%d groups, want %d", len(inputs), len(known))
	}
	for group := range inputs {
		if !known[group] {
			t.Errorf("unknown group %s", group)
		}
	}
}

// checkVectors runs one group: parse returns what the answer says behind "ok ".
func checkVectors(t *testing.T, inputs, answers map[string]string, parse func(body []byte) (string, error)) {
	t.Helper()
	if len(answers) == 0 || len(inputs) != len(answers) {
		t.Fatalf("%d inputs and %d answers", len(inputs), len(answers))
	}
	for name, input := range inputs {
		t.Run(name, func(t *testing.T) {
			want, ok := strings.CutPrefix(answers[name], "ok ")
			if !ok && !strings.HasPrefix(answers[name], "err: ") {
				t.Fatalf("unknown form of answer %q", answers[name])
			}
			got, err := parse([]byte(input))
			switch {
			case ok && err != nil:
				t.Fatal(err)
			case ok && got != want:
				t.Errorf("got %s, want %s", got, want)
			case !ok && err == nil:
				t.Errorf("accepted, want error like %q", answers[name])
			}
		})
	}
}

func TestVectorsEnvelope(t *testing.T) {
	v := vectors(t)
	checkVectors(t, v.JSON.Inputs["bodyTests"], v.JSON.BodyTests, func(body []byte) (string, error) {
		d := strictjson.NewDecoder(body)
		e := readEnvelope(d)
		return hex.EncodeToString(e.Content), d.Err()
	})
	d := strictjson.NewDecoder([]byte(v.JSON.Body))
	if got := string(AppendEnvelope(nil, readEnvelope(d))); got != v.JSON.Body {
		t.Errorf("got %s, want %s", got, v.JSON.Body)
	}
}

func TestVectorsCheckpoint(t *testing.T) {
	v := vectors(t)
	checkVectors(t, v.JSON.Inputs["checkpointTests"], v.JSON.CheckpointTests, func(body []byte) (string, error) {
		s, err := ParseCheckpoint(body)
		if err != nil {
			return "", err
		}
		return string(appendClaims(nil, s.Unverified())), nil
	})
	if len(v.Checkpoints) == 0 {
		t.Fatal("no checkpoints")
	}
	for _, c := range v.Checkpoints {
		s, err := ParseCheckpoint([]byte(c.Envelope))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(AppendCheckpoint(nil, s)); got != c.Envelope {
			t.Errorf("length %d: got %s, want %s", c.LogLength, got, c.Envelope)
		}
	}
}

func TestVectorsPublished(t *testing.T) {
	v := vectors(t)
	checkVectors(t, v.JSON.Inputs["publishedTests"], v.JSON.PublishedTests, func(body []byte) (string, error) {
		r, err := ParseRecord(body)
		if err != nil {
			return "", err
		}
		if got := string(AppendRecord(nil, r)); got != v.JSON.Published {
			t.Errorf("got %s, want %s", got, v.JSON.Published)
		}
		return "true", nil
	})
	r, err := ParseRecord([]byte(v.JSON.Published))
	if err != nil {
		t.Fatal(err)
	}
	r.Token = "t"
	want := strings.TrimSuffix(v.JSON.Published, "}") + `,"fetchToken":"t"}`
	if got := string(AppendRecord(nil, r)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(AppendRecord(nil, warg.Record{JSON: []byte(want)})); got != want {
		t.Errorf("ready JSON: got %s, want %s", got, want)
	}
}
