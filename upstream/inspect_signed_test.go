package upstream

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// inspected is a replica that has grown a few times, closed.
func inspected(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.refresh()
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		w.publish("test:a", version)
		w.refresh()
	}
	w.replica.Close()
	return w
}

func (w *world) inspectSigned(pin warg.KeyID) (int, []Flaw, error) {
	return InspectSigned(durable.OS{}, w.options.Dir, w.options.Domain, w.store, pin)
}

func TestInspectSigned(t *testing.T) {
	w := inspected(t)
	n, flaws, err := w.inspectSigned(w.options.OperatorKey)
	if err != nil || len(flaws) > 0 || n < 4 {
		t.Fatalf("%d verified, %v, %v", n, flaws, err)
	}
	if n, flaws, err := w.inspectSigned(""); err != nil || len(flaws) > 0 || n < 4 {
		t.Errorf("without a pin: %d verified, %v, %v", n, flaws, err)
	}
	if _, flaws, err := w.inspectSigned(wargtest.Bob().Public().ID()); err != nil || len(flaws) != 1 || !strings.Contains(flaws[0].Reason, "pinned") {
		t.Errorf("with another pin: %v, %v", flaws, err)
	}
	if _, _, err := InspectSigned(durable.OS{}, w.options.Dir, w.options.Domain, newMemStore(), ""); !errors.Is(err, ErrNotHeld) {
		t.Errorf("with an empty store: %v", err)
	}
}

// TestInspectForged changes what stands there and makes the checksums right again:
// Inspect has nothing to say, InspectSigned has.
func TestInspectForged(t *testing.T) {
	for name, c := range map[string]struct {
		file   string
		forge  func(text []byte) []byte
		reason string
	}{
		"a signature in the head": {headFile, func(b []byte) []byte { return flipIn(b, `"signature":"ecdsa-p256:`) }, "verifying checkpoint"},
		"a root in the head":      {headFile, func(b []byte) []byte { return flipIn(b, `"logRoot":"sha256:`) }, "verifying checkpoint"},
		"a root that was accepted": {acceptedFile, func(b []byte) []byte {
			return flipIn(b, `"logRoot":"sha256:`)
		}, "verifying checkpoint"},
		"a key": {headFile, func(b []byte) []byte { return flipIn(b, `"keyId":"sha256:`) }, "does not know"},
	} {
		t.Run(name, func(t *testing.T) {
			w := inspected(t)
			file := filepath.Join(w.options.Dir, c.file)
			good, err := durable.ReadFile(durable.OS{}, file, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			first, rest, _ := bytes.Cut(good, []byte("\n"))
			text, err := cutChecksum(first)
			if err != nil {
				t.Fatal(err)
			}
			text = c.forge(bytes.Clone(text))
			forged := append(append(append([]byte{}, text...), ' '), checksum(text)...)
			forged = append(append(forged, '\n'), rest...)
			if bytes.Equal(forged, good) {
				t.Fatal("nothing was forged")
			}
			if err := durable.Replace(durable.OS{}, file, forged, nil); err != nil {
				t.Fatal(err)
			}
			if flaws, err := Inspect(durable.OS{}, w.options.Dir, w.options.Domain); err != nil || len(flaws) > 0 {
				t.Fatalf("without signatures: %v, %v", flaws, err)
			}
			_, flaws, err := w.inspectSigned("")
			if err != nil || len(flaws) != 1 || !strings.Contains(flaws[0].Reason, c.reason) || flaws[0].File != file {
				t.Errorf("found %v, %v", flaws, err)
			}
		})
	}
}

// flipIn changes one digit behind a mark, so that it is still one.
func flipIn(b []byte, mark string) []byte {
	at := bytes.Index(b, []byte(mark))
	if at < 0 {
		return b
	}
	at += len(mark) + 12
	if b[at] == 'a' {
		b[at] = 'b'
	} else {
		b[at] = 'a'
	}
	return b
}

// TestInspectOtherLedger: signatures are right, and the store has another ledger.
func TestInspectOtherLedger(t *testing.T) {
	w := inspected(t)
	held, err := w.store.Ledger(0, 100)
	if err != nil {
		t.Fatal(err)
	}
	held = bytes.Clone(held)
	held[len(held)-1] ^= 1
	_, flaws, err := InspectSigned(durable.OS{}, w.options.Dir, w.options.Domain, otherLedger{w.store, held}, "")
	if err != nil || len(flaws) == 0 || !strings.Contains(flaws[0].Reason, "log root") {
		t.Errorf("found %v, %v", flaws, err)
	}
}

type otherLedger struct {
	Store
	packed []byte
}

func (o otherLedger) Ledger(start uint64, _ int) ([]byte, error) {
	return o.packed[start*warg.LedgerEntrySize:], nil
}
