package warg

import (
	"encoding/json"
	"os"
	"testing"
)

// TestStateTimestampVectors: the texts that the reference reads and writes as the
// timestamp of a log's state.
func TestStateTimestampVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		JSON struct {
			Answers map[string]struct{ Ok, Err string } `json:"stateTimestamp"`
			Inputs  struct {
				Texts map[string]string `json:"stateTimestamp"`
			} `json:"inputs"`
		} `json:"json"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	type state struct {
		Head struct {
			Timestamp string `json:"timestamp"`
		} `json:"head"`
	}
	for name, answer := range vectors.JSON.Answers {
		t.Run(name, func(t *testing.T) {
			var in, out state
			if err := json.Unmarshal([]byte(vectors.JSON.Inputs.Texts[name]), &in); err != nil {
				t.Fatal(err)
			}
			got, err := ParseTimestamp(in.Head.Timestamp)
			if answer.Err != "" {
				if err == nil {
					t.Fatalf("got %v; want an error", got)
				}
				return
			}
			if err := json.Unmarshal([]byte(answer.Ok), &out); err != nil {
				t.Fatal(err)
			}
			if err != nil || got.String() != out.Head.Timestamp {
				t.Errorf("got %v, %v; want %s", got, err, out.Head.Timestamp)
			}
		})
	}
	if len(vectors.JSON.Answers) == 0 {
		t.Error("no cases")
	}
	t.Logf("%d cases", len(vectors.JSON.Answers))
}
