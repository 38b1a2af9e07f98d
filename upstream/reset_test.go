package upstream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

func setAside(t *testing.T, w *world, at time.Time) Reset {
	t.Helper()
	r, err := SetAside(durable.OS{}, w.options.Dir, "up.example", "a restored backup", at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestResetAfterFork(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.publish("test:b", "1.0.0")
	w.refresh()
	old := w.length()
	forked(2, 3)(w)
	w.clock.advance(time.Hour)
	if err := w.replica.Refresh(t.Context()); ClassOf(err) != ClassEquivocation {
		t.Fatalf("the fork: %v", err)
	}
	w.restart()
	if s := w.replica.Status(); s.State != StateQuarantined {
		t.Fatalf("after a restart: %+v", s)
	}
	w.replica.Close()

	at := time.Date(2026, 3, 4, 6, 6, 7, 0, time.FixedZone("", 3600))
	r := setAside(t, w, at)
	if r.Directory != w.options.Dir+".reset-20260304T050607Z" {
		t.Errorf("set aside as %s", r.Directory)
	}
	w.open()
	if s := w.replica.Status(); s.State != StateCold || s.LogLength != 0 || w.store.Trees().LogLength != 0 {
		t.Errorf("the new one begins with %+v", s)
	}
	w.refresh()
	if s := w.replica.Status(); s.State != StateOK || s.LogLength != w.length() || w.length() <= old || s.Pinned != pinnedByConfiguration {
		t.Errorf("the new history: %+v", s)
	}
	if records, err := w.fetch("test:evil"); err != nil || len(records) == 0 {
		t.Errorf("a package of the new history: %v %v", records, err)
	}

	var said Reset
	text, err := os.ReadFile(filepath.Join(r.Directory, resetFile))
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil || said.Reason != "a restored backup" || !said.At.Equal(at) || said.Length != old || said.Quarantine == nil || said.Quarantine.Class != "equivocation" {
		t.Fatalf("reset.json: %v %s", err, text)
	}
	if _, err := os.Stat(said.Quarantine.Evidence); err != nil {
		t.Errorf("the evidence: %v", err)
	}
	if kept, err := openTrusted(durable.OS{}, r.Directory, "up.example", w.replica.o.Log); err != nil || kept.current().view.LogLength != old {
		t.Errorf("the old one is not what it was: %v", err)
	}
}

func TestResetOfDamaged(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.replica.Close()
	if err := os.WriteFile(filepath.Join(w.options.Dir, headFile), []byte("{} 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Open(t.Context(), w.options); err == nil {
		r.Close()
		t.Fatal("a damaged head is believed")
	}
	if r := setAside(t, w, w.clock.now()); !strings.Contains(r.Damage, headFile) {
		t.Errorf("got %+v", r)
	}
	w.open()
	w.refresh()
}

func TestResetRefused(t *testing.T) {
	w := newWorld(t)
	w.publish("test:a", "1.0.0")
	w.refresh()
	w.replica.Close()
	at := w.clock.now()
	first := setAside(t, w, at)
	if _, err := SetAside(durable.OS{}, w.options.Dir, "up.example", "again", at); err == nil || !strings.Contains(err.Error(), "nothing is held") {
		t.Errorf("without a replica: %v", err)
	}
	w.open()
	w.refresh()
	w.replica.Close()
	if _, err := SetAside(durable.OS{}, w.options.Dir, "up.example", "again", at); err == nil || !strings.Contains(err.Error(), first.Directory) {
		t.Errorf("in the same second: %v", err)
	}
	w.open()
	if w.length() == 0 {
		t.Error("a refused reset took the replica away")
	}
}
