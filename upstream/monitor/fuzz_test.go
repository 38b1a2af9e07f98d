package monitor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg/vlog"
)

// FuzzProofsAgree: two programs that share no code judge a consistency proof. What the
// watcher takes leads, by the protocol package's arithmetic, to the same roots; the
// watcher may refuse more.
func FuzzProofsAgree(f *testing.F) {
	var leaves []leaf
	for i := range 21 {
		leaves = append(leaves, numbered(i, 5))
	}
	ledger := bytes.NewReader(packed(leaves))
	for _, c := range [][2]uint64{{1, 2}, {3, 5}, {8, 16}, {7, 21}, {20, 21}} {
		bundle, err := buildConsistency(ledger, c[0], c[1])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bundle, c[0], c[1])
	}
	var inputs []*struct{ Kind, Hex string }
	text, err := os.ReadFile("../../warg/testdata/decode.json")
	if err == nil {
		err = json.Unmarshal(text, &inputs)
	}
	if err != nil {
		f.Fatal(err)
	}
	for _, in := range inputs {
		if in == nil || in.Kind != "logbundle" {
			continue
		}
		b, err := hex.DecodeString(in.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint64(3), uint64(5))
	}
	f.Fuzz(func(t *testing.T, bundle []byte, m, n uint64) {
		if n > 1<<40 {
			return
		}
		old, root, err := consistency(bundle, m, n)
		if err != nil {
			return
		}
		from, to := vlog.Point{Length: m, Root: old}, vlog.Point{Length: n, Root: root}
		if err := vlog.VerifyConsistency(bundle, from, to); err != nil {
			t.Errorf("the watcher takes %x from %d to %d, the protocol package says %v", bundle, m, n, err)
		}
	})
}

// FuzzJournal: whatever stands in the watcher's journal, it is read or refused, and
// what is read is read again the same.
func FuzzJournal(f *testing.F) {
	m := durable.NewMemory()
	about := identity{Format: stateFormat, Registry: "up.example"}
	s, err := openState(m, "/state", "", about)
	if err != nil {
		f.Fatal(err)
	}
	if err := s.close(); err != nil {
		f.Fatal(err)
	}
	tree := m.Tree("/state")
	f.Add([]byte(tree["/state/"+journalFile]), []byte(tree["/state/"+committedFile]))
	f.Add([]byte("registry {}\n"), []byte("{} 00\n"))
	f.Fuzz(func(t *testing.T, lines, counted []byte) {
		m := durable.NewMemory()
		must(0, durable.MkdirAll(m, "/state"))(t)
		must(0, durable.Replace(m, "/state/"+journalFile, lines, nil))(t)
		// As if it were what was committed: sums over anything can be made.
		var c committed
		if json.Unmarshal(counted, &c) != nil {
			c = committed{Format: stateFormat}
		}
		j := &journal{fsys: m, dir: "/state"}
		var sealed []byte
		for text := range bytes.Lines(lines) {
			content, _, _ := cutLast(bytes.TrimSuffix(text, []byte("\n")))
			j.chain = lineSum(j.chain, content)
			sealed = append(append(append(append(sealed, content...), ' '), j.chain.Hex()[:sumLen]...), '\n')
		}
		c.Journal, c.Chain = int64(len(sealed)), j.chain.Hex()
		must(0, durable.Replace(m, "/state/"+journalFile, sealed, nil))(t)
		must(0, j.writeCommitted(c))(t)
		one, err := openState(m, "/state", "", about)
		if err != nil {
			return
		}
		lines1, views := one.lines, len(one.views)
		must(0, one.close())(t)
		two, err := openState(m, "/state", "", about)
		if err != nil {
			t.Fatalf("opened once, and then: %v", err)
		}
		defer two.close()
		if two.lines != lines1 || len(two.views) != views {
			t.Errorf("%d lines and %d views, then %d and %d", lines1, views, two.lines, len(two.views))
		}
	})
}
