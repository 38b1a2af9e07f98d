package observer

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// grown returns a registry whose every length was seen, with published records of several
// packages, and its observer.
func grown(t *testing.T, records int) (*liar, *Observer) {
	t.Helper()
	l := newLiar(t)
	o, _ := watched(t, l)
	packages := map[int]*wargtest.Package{}
	for i := range records {
		p := packages[i%7]
		if p == nil {
			p = wargtest.NewPackage(fmt.Sprintf("local:p%d", i%7))
			packages[i%7] = p
		}
		entry := wargtest.Init(wargtest.Bob())
		if i >= 7 {
			entry = wargtest.Release(fmt.Sprintf("1.%d.0", i), l.content)
		}
		env := p.Next(wargtest.Bob(), entry)
		l.add(p.LogID(), env)
		l.time++
		if _, v, err := o.Look(t.Context()); err != nil || v.Bad() {
			t.Fatalf("%+v, %v", v, err)
		}
		id, log := env.PackageRecordID().String(), p.LogID().String()
		for _, promise := range []Promise{
			{Kind: Sent, Log: log, Record: id, Key: string(env.KeyID), Signature: env.Signature.String()},
			{Kind: Published, Log: log, Record: id, Index: uint64(len(l.leaves) - 1)},
		} {
			if err := o.Promised(promise); err != nil {
				t.Fatal(err)
			}
		}
	}
	return l, o
}

// TestProofs: all proofs of an honest registry hold, and none is left out.
func TestProofs(t *testing.T) {
	_, o := grown(t, 70)
	v := judged(t, o, false)
	// Length 3 was never seen; each of 4 to 73 was, and each record is its log's newest at one.
	if v.Bad() || v.Proven < 69+1+70 {
		t.Errorf("%+v", v)
	}
	if v, err := o.Review(t.Context(), Options{}); err != nil || v.Bad() || v.Proven > 2 {
		t.Errorf("with nothing new: %+v, %v", v, err)
	}
}

// TestFalseProofs changes proofs that are served, byte by byte, and serves proofs in the
// place of others: every one is found.
func TestFalseProofs(t *testing.T) {
	l, o := grown(t, 4)
	if v := judged(t, o, false); v.Bad() {
		t.Fatalf("%+v", v)
	}
	for name, of := range map[string]struct{ path, member string }{
		"consistency": {"/v1/proof/consistency", "proof"},
		"log":         {"/v1/proof/inclusion", "log"},
		"map":         {"/v1/proof/inclusion", "map"},
	} {
		t.Run(name, func(t *testing.T) {
			size := 1
			for at := 0; at < size; at += 2 { // a flip in each second byte, whatever it is part of
				changed := false
				l.lie = func(path string, answer []byte) []byte {
					if path != of.path || changed {
						return answer
					}
					var members map[string][]byte
					if err := json.Unmarshal(answer, &members); err != nil {
						t.Fatal(err)
					}
					b := members[of.member]
					if size = max(size, len(b)); at >= len(b) {
						return answer
					}
					b[at] ^= 1
					changed = true
					return mustEncode(members, nil)
				}
				if v := judged(t, o, false); v.Corrupt == 0 && changed {
					t.Fatalf("byte %d of %d: %+v", at, size, v)
				}
			}
			if size < 40 {
				t.Errorf("the largest proof has %d bytes", size)
			}
		})
	}
	var kept []byte
	l.lie = func(path string, answer []byte) []byte {
		if !strings.HasPrefix(path, "/v1/proof/consistency") {
			return answer
		}
		if kept == nil {
			kept = answer
		}
		return kept // of other lengths
	}
	if v := judged(t, o, false); v.Corrupt == 0 {
		t.Errorf("a proof of other lengths: %+v", v)
	}
	l.lie = gone("/v1/proof/")
	if v, err := o.Review(t.Context(), Options{All: true}); err == nil && !v.Bad() {
		t.Errorf("no proofs: %+v", v)
	}
	l.lie = nil
	if v := judged(t, o, false); v.Bad() {
		t.Errorf("the truth again: %+v", v)
	}
}

// TestProofArithmetic compares with the registry's code at every pair of small lengths.
func TestProofArithmetic(t *testing.T) {
	l := newLiar(t)
	for i := len(l.leaves); i < 40; i++ {
		l.leaves = append(l.leaves, warg.Leaf{LogID: warg.LogID(warg.Sum(fmt.Appendf(nil, "log %d", i%5))), RecordID: warg.RecordID(warg.Sum(fmt.Append(nil, i)))})
	}
	roots := []hash{sum()}
	var own tree
	entries := make([]entry, len(l.leaves))
	for i, leaf := range l.leaves {
		entries[i] = entry{hash(leaf.LogID), hash(leaf.RecordID)}
		own.add(entries[i].leaf())
		roots = append(roots, own.root())
	}
	for to := uint64(1); to <= uint64(len(entries)); to++ {
		for from := uint64(1); from <= to; from++ {
			p, err := parseLogProof(l.bundle(t, to, []uint64{from}, nil))
			if err != nil {
				t.Fatal(err)
			}
			if a, b, err := p.extends(from); err != nil || a != roots[from] || b != roots[to] {
				t.Errorf("%d extends %d: %v", to, from, err)
			}
		}
		for at := range to {
			p, err := parseLogProof(l.bundle(t, to, nil, []uint64{at}))
			if err != nil {
				t.Fatal(err)
			}
			if root, err := p.includes(at, entries[at].leaf()); err != nil || root != roots[to] {
				t.Errorf("leaf %d of %d: %v", at, to, err)
			}
			if root, err := p.includes(at, entries[(at+1)%to].leaf()); to > 1 && err == nil && root == roots[to] {
				t.Errorf("another leaf at %d of %d is included", at, to)
			}
		}
	}
}
