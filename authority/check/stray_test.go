package check_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/check"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestStrayEntries puts entries into the index that are sound by themselves, and that
// nothing leads to: each is found, and only because of it.
func TestStrayEntries(t *testing.T) {
	m, db := rejecting(t)
	if r := run(t, m, db); len(r.Findings) > 0 {
		t.Fatalf("%v", r.Findings)
	}
	id := warg.Sum([]byte("nobody")) // of a log, a record or content that does not exist
	log := wargtest.NewPackage(wargtest.DefinedNamespace + ":p1").Name().LogID()
	key := func(parts ...string) string { return strings.Join(parts, "") }
	zeros := strings.Repeat("\x00", 64)
	for name, c := range map[string]struct{ key, payload string }{
		"a log":                       {key("L", string(id[:])), "\x00\x00\x00\x01" + wargtest.DefinedNamespace + ":ghost"},
		"a place of no log":           {key("P", string(id[:]), "\x00\x00\x00\x00"), zeros[:8+32+16]},
		"a place more":                {key("P", string(log[:]), "\x00\x00\x00\x01"), zeros[:8+32+16]},
		"a published record":          {key("R", string(id[:])), string(rune(warg.StatePublished)) + string(log[:]) + zeros[:12]},
		"a record beyond its log":     {key("R", string(id[:])), string(rune(warg.StatePublished)) + string(log[:]) + zeros[:11] + "\x07"},
		"a rejection":                 {key("R", string(id[:])), string(rune(warg.StateRejected)) + string(log[:]) + "no"},
		"a record in another log":     {key("R", string(id[:]), string(log[:])), string(rune(warg.StatePublished)) + string(log[:]) + zeros[:12]},
		"content":                     {key("C", string(id[:])), zeros[:8]},
		"a key that is too short":     {key("C", string(id[:8])), zeros[:8]},
		"a place of a wrong size":     {key("P", string(id[:]), "\x00\x00\x00\x00"), "x"},
		"a content of a wrong size":   {key("C", string(id[:])), "x"},
		"a record in no state":        {key("R", string(id[:])), "\x63" + zeros[:44]},
		"a record of another log too": {key("R", string(id[:]), string(id[:])), string(rune(warg.StatePublished)) + string(log[:]) + zeros[:12]},
	} {
		t.Run(name, func(t *testing.T) {
			copied := new(kv.Memory)
			copyInto(t, copied, db)
			put(t, copied, c.key, string(tree.Seal([]byte(c.key), []byte(c.payload))))
			r := run(t, m, copied)
			if len(r.Findings) != 1 || r.Findings[0].Class != check.Index || r.Findings[0].Harmless {
				t.Errorf("found %v", r.Findings)
			}
		})
	}
	t.Run("above the head", func(t *testing.T) { // as a crash leaves it
		copied := new(kv.Memory)
		copyInto(t, copied, db)
		far := "\x00\x00\x00\x00\x00\x00\xff\xff"
		for key, payload := range map[string]string{
			key("P", string(id[:]), "\x00\x00\x00\x00"): far + zeros[:32+16],
			key("L", string(id[:])):                     "\x00\x00\x00\x01" + wargtest.DefinedNamespace + ":ghost",
			key("R", string(id[:])):                     string(rune(warg.StatePublished)) + string(log[:]) + far + zeros[:4],
			key("C", string(id[:])):                     far,
		} {
			put(t, copied, key, string(tree.Seal([]byte(key), []byte(payload))))
		}
		if r := run(t, m, copied); len(r.Findings) > 0 {
			t.Errorf("found %v", r.Findings)
		}
	})
}

// rejecting is world with a record that was rejected.
func rejecting(t *testing.T) (*durable.Memory, *kv.Memory) {
	t.Helper()
	m, db := world(t, 3)
	o := options(m, db)
	o.Content = authority.ContentWasm
	a, err := authority.Open(t.Context(), o)
	must(t, err)
	p := wargtest.NewPackage(wargtest.DefinedNamespace + ":bad")
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", []byte("text"))))
	_, err = a.Publish(t.Context(), req)
	must(t, err)
	if err := a.Upload(t.Context(), req.LogID, req.Record.PackageRecordID(), warg.Sum([]byte("text")), strings.NewReader("text")); err == nil {
		t.Fatal("text was taken for a component")
	}
	must(t, a.Close())
	return m, db
}

func put(t *testing.T, db *kv.Memory, key, value string) {
	t.Helper()
	txn := db.Open().Begin()
	must(t, txn.Set([]byte(key), []byte(value)))
	must(t, txn.Commit())
}

// copyInto copies a database.
func copyInto(t *testing.T, to, from *kv.Memory) {
	t.Helper()
	must(t, from.Open().(kv.Lister).List(nil, func(key, value []byte) error {
		put(t, to, string(key), string(value))
		return nil
	}))
	if fmt.Sprint(to.Keys()) != fmt.Sprint(from.Keys()) {
		t.Fatal("the copy is not one")
	}
}
