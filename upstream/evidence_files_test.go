package upstream

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestEvidenceFiles(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	if files, err := w.replica.Evidence(); len(files) != 0 || err != nil {
		t.Errorf("before anything happened: %v, %v", files, err)
	}
	w.tap.checkpoint = func(v warg.View) warg.View {
		c := v.Checkpoint
		c.MapRoot = warg.Sum([]byte("another"))
		v.Signed = c.Sign(wargtest.Alice())
		return v
	}
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassEquivocation {
		t.Fatal(err)
	}
	for _, other := range []string{
		"up.example-org-equivocation-0123456789abcdef.json", "up.example-equivocation-0123456789abcdeg.json", "up.example-equivocation-0.json",
		"up.example-gossip-0123456789abcdef.json", "up.example-equivocation-0123456789abcdef.json.tmp", "other.example-rewind-0123456789abcdef.json", "README",
	} {
		if err := os.WriteFile(filepath.Join(w.options.EvidenceDir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := w.replica.Evidence()
	if want := []string{w.replica.Status().Quarantine.Evidence}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v, %v; want %v", files, err, want)
	}
}
