package upstream

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestEvidenceAfterKeyRotation: the checkpoints are signed by a key that a third
// party has never heard of; the file says why it counts.
func TestEvidenceAfterKeyRotation(t *testing.T) {
	w := newWorld(t)
	next := wargtest.Stranger("next")
	if err := w.up.Operate(wargtest.Alice(), oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
		t.Fatal(err)
	}
	w.up.UseKey(next)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.tap.checkpoint = func(v warg.View) warg.View {
		c := v.Checkpoint
		c.MapRoot[0] ^= 1
		return warg.View{Signed: c.Sign(next), Checkpoint: c}
	}
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassEquivocation {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.options.EvidenceDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]warg.PrivateKey{"who began the operator log": wargtest.Alice(), "who signed": next} {
		if _, err := monitor.CheckEvidence(text, []warg.KeyID{key.Public().ID()}); err != nil {
			t.Errorf("for a reader who trusts %s: %v", name, err)
		}
	}
	if _, err := monitor.CheckEvidence(text, []warg.KeyID{wargtest.Bob().Public().ID()}); err == nil {
		t.Error("the evidence convicts a third party")
	}
}
