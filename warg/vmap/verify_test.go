package vmap

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func bundleOf(t testing.TB, m Map, entries []Entry) Bundle {
	t.Helper()
	var keys [][]byte
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	b, err := m.ProveAll(keys)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVerifyRefuses(t *testing.T) {
	entries := numbered(0, 20)
	m := Map{}.Update(entries)
	three := bundleOf(t, m, entries[:3])
	long := append(make(Proof, Depth+1-len(three[0])), three[0]...)
	cases := []struct {
		name    string
		bundle  []byte
		root    warg.Digest
		entries []Entry
		want    Error
	}{
		{"nothing asked", three.Encode(), m.Root(), nil, ErrNoProofs},
		{"nothing asked, nothing given", nil, m.Root(), nil, ErrNoProofs},
		{"no proofs", nil, m.Root(), entries[:3], ErrMismatch},
		{"fewer proofs", three[:2].Encode(), m.Root(), entries[:3], ErrMismatch},
		{"more proofs", three.Encode(), m.Root(), entries[:2], ErrMismatch},
		{"another order", Bundle{three[1], three[0]}.Encode(), m.Root(), entries[:2], ErrWrongRoot},
		{"another root", three.Encode(), Empty(Depth), entries[:3], ErrWrongRoot},
		{"another value", three[:1].Encode(), m.Root(), []Entry{{entries[0].Key, nil}}, ErrWrongRoot},
		{"another key", three[:1].Encode(), m.Root(), []Entry{{entries[1].Key, entries[0].Value}}, ErrWrongRoot},
		{"empty proof", Bundle{{}}.Encode(), m.Root(), entries[:1], ErrWrongRoot},
		{"257 siblings, the first absent", Bundle{long}.Encode(), m.Root(), entries[:1], ErrTooManySiblings},
		{"not a bundle", []byte{0xff}, m.Root(), entries[:1], ErrMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := VerifyInclusion(c.bundle, c.root, c.entries); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestVerifyMany verifies as many proofs as all processors share, and finds the
// wrong one among them.
func TestVerifyMany(t *testing.T) {
	entries := numbered(0, 1000)
	m := Map{}.Update(entries)
	bundle := bundleOf(t, m, entries).Encode()
	if err := VerifyInclusion(bundle, m.Root(), entries); err != nil {
		t.Error(err)
	}
	for _, i := range []int{0, 31, 32, 500, 999} {
		right := entries[i]
		entries[i].Value = []byte("wrong")
		if err := VerifyInclusion(bundle, m.Root(), entries); !errors.Is(err, ErrWrongRoot) {
			t.Errorf("entry %d is wrong: %v", i, err)
		}
		entries[i] = right
	}
}

// TestAbsentSiblings: absent elements and missing ones stand for empty subtrees.
func TestAbsentSiblings(t *testing.T) {
	entries := numbered(0, 5)
	m := Map{}.Update(entries)
	for _, e := range entries {
		p, _ := m.Prove(e.Key)
		full := append(make(Proof, Depth-len(p)), p...)
		spare := append(Proof{}, full...)
		for h := range spare {
			if spare[h].Hash == Empty(h) {
				spare[h] = Sibling{}
			}
			if !full[h].Present {
				full[h] = Sibling{Empty(h), true}
			}
		}
		for _, p := range []Proof{p, full, spare} {
			if root, err := p.Evaluate(e.Key, e.Value); err != nil || root != m.Root() {
				t.Errorf("%d elements lead to %s, %v", len(p), root, err)
			}
		}
	}
}

// TestEveryFlippedBit flips each bit of bundles: none of what results may verify.
func TestEveryFlippedBit(t *testing.T) {
	for _, size := range []int{1, 2, 3, 20} {
		entries := numbered(0, size)
		m := Map{}.Update(entries)
		asked := entries[:min(size, 3)]
		bundle := bundleOf(t, m, asked).Encode()
		if err := VerifyInclusion(bundle, m.Root(), asked); err != nil {
			t.Fatal(err)
		}
		for bit := range 8 * len(bundle) {
			bundle[bit/8] ^= 1 << (bit % 8)
			if VerifyInclusion(bundle, m.Root(), asked) == nil && !sameAfterFlip(t, bundle, m, asked) {
				t.Errorf("%d entries: bit %d flipped and not noticed in %x", size, bit, bundle)
			}
			bundle[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// sameAfterFlip reports whether a flipped bundle still says the same. That can be:
// an empty subtree may be written out or left absent, and a flip can turn the
// one into an unknown field and so into the other.
func sameAfterFlip(t *testing.T, bundle []byte, m Map, asked []Entry) bool {
	t.Helper()
	got, err := ParseBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range asked {
		want, _ := m.Prove(e.Key)
		for h := range Depth {
			if siblingAt(got[i], h) != siblingAt(want, h) {
				return false
			}
		}
	}
	return true
}

// siblingAt returns the sibling at a height, which a proof may leave out.
func siblingAt(p Proof, height int) warg.Digest {
	if j := height - (Depth - len(p)); j >= 0 && p[j].Present {
		return p[j].Hash
	}
	return Empty(height)
}

func TestParse(t *testing.T) {
	hash := string(make([]byte, warg.DigestSize))
	one := "\x0a\x24\x0a\x22\x0a\x20" + hash
	cases := []struct {
		name, bundle string
		ok           bool
	}{
		{"empty", "", true},
		{"one", one, true},
		{"proof without elements", "\x0a\x00", true},
		{"absent", "\x0a\x02\x0a\x00", true},
		{"empty hash", "\x0a\x04\x0a\x02\x0a\x00", false},
		{"31 bytes", "\x0a\x23\x0a\x21\x0a\x1f" + hash[1:], false},
		{"33 bytes", "\x0a\x25\x0a\x23\x0a\x21" + hash + "x", false},
		{"hash as a number", "\x0a\x04\x0a\x02\x08\x01", false},
		{"element as a number", "\x0a\x02\x08\x01", false},
		{"proof as a number", "\x08\x01", false},
		{"unknown fields", one + "\x10\x01\x1b\x1c", true},
		{"group that ends too early", one + "\x1c", false},
		{"truncated", one[:20], false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, err := ParseBundle([]byte(c.bundle))
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%+v, %v", b, err)
			}
		})
	}
}

// TestCorruptStore changes each field of each stored node: an update that passes
// by must notice, whatever it sets.
func TestCorruptStore(t *testing.T) {
	stored := memory{}
	v := NewLazy(stored, Link{})
	v, err := v.Update(numbered(0, 12))
	if err != nil {
		t.Fatal(err)
	}
	saveFresh(stored, v, -1)
	good, err := v.Update(numbered(0, 200))
	if err != nil {
		t.Fatal(err)
	}
	flips := 0
	for ref, n := range stored {
		for name, flip := range map[string]func(*Node){
			"left hash":  func(n *Node) { n.Left.Hash[3] ^= 1 },
			"right hash": func(n *Node) { n.Right.Hash[31] ^= 128 },
			"leaf":       func(n *Node) { n.Leaf[0] ^= 1 },
			"base":       func(n *Node) { n.Base[9] ^= 4 },
			"path":       func(n *Node) { n.Path[0] ^= 1 },
			"its prefix": func(n *Node) { n.Path[0] ^= 0x80 },
			"end of path": func(n *Node) {
				n.Path[31] ^= 1
			},
		} {
			bad := n
			flip(&bad)
			if n.Single == (name == "left hash" || name == "right hash") {
				continue
			}
			flips++
			stored[ref] = bad
			// 200 new entries push every leaf down and replace the twelve.
			next, err := NewLazy(stored, v.Root()).Update(numbered(12, 200))
			if err == nil {
				next, err = next.Update(numbered(0, 12))
			}
			if !errors.Is(err, ErrCorrupt) && (err != nil || next.Root().Hash != good.Root().Hash) {
				t.Errorf("node %d, %s: root %s, %v", ref, name, next.Root().Hash, err)
			}
			stored[ref] = n
		}
	}
	if flips < 50 {
		t.Errorf("only %d flips", flips)
	}
}

// TestCycle: a fork that leads back to itself ends at the leaves.
func TestCycle(t *testing.T) {
	stored := memory{}
	v, err := NewLazy(stored, Link{}).Update(numbered(0, 2))
	if err != nil {
		t.Fatal(err)
	}
	saveFresh(stored, v, -1)
	v = NewLazy(stored, v.Root())
	root := stored[v.Root().Ref]
	root.Left.Ref, root.Right.Ref = v.Root().Ref, v.Root().Ref
	stored[v.Root().Ref] = root
	if _, err := v.Update(numbered(0, 3)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("updating: %v", err)
	}
	if _, _, err := v.Prove(Path{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("proving: %v", err)
	}
}

// TestMissingNode: an error of the store comes back.
func TestMissingNode(t *testing.T) {
	stored := memory{}
	v, err := NewLazy(stored, Link{}).Update(numbered(0, 30))
	if err != nil {
		t.Fatal(err)
	}
	saveFresh(stored, v, -1)
	v = NewLazy(stored, v.Root())
	for ref := range stored {
		n := stored[ref]
		delete(stored, ref)
		if _, err := v.Update(numbered(0, 30)); err == nil || errors.Is(err, ErrCorrupt) {
			t.Errorf("without node %d: %v", ref, err)
		}
		stored[ref] = n
	}
}

// TestCompactNumbers: a path must meet few runs of numbers.
func TestCompactNumbers(t *testing.T) {
	v, err := Lazy{}.Update(numbered(0, 20_000))
	if err != nil {
		t.Fatal(err)
	}
	const block = 128
	numbers := make(map[*single]int)
	f := v.Fresh(block, func(number int, _ bool) Ref { return Ref(number + 1) })
	for i, l := range f.links {
		if l.single != nil {
			numbers[l.single] = i
		}
	}
	if f.Node(0).Single || f.Len() < 40_000 {
		t.Fatalf("%d nodes, the first is %+v", f.Len(), f.Node(0))
	}
	runs := 0
	for i := range 1000 {
		path := PathOf(numbered(i*20, i*20+1)[0].Key)
		seen := map[int]bool{}
		at := v.top()
		for depth := 0; ; depth++ {
			seen[int(at.ref-1)/block] = true
			if at.single != nil {
				break
			}
			if path.Right(depth) {
				at = at.fork.right
			} else {
				at = at.fork.left
			}
		}
		runs += len(seen)
	}
	if perPath := float64(runs) / 1000; perPath > 5 {
		t.Errorf("a path meets %.1f runs", perPath)
	}
}

func FuzzParseBundle(f *testing.F) {
	entries := numbered(0, 20)
	m := Map{}.Update(entries)
	for _, n := range []int{1, 2, 7} {
		f.Add(bundleOf(f, m, entries[:n]).Encode())
	}
	f.Add(Bundle{make(Proof, Depth), make(Proof, Depth+1)}.Encode())
	f.Add([]byte("\x0a\x02\x0a\x00\x10\x01\x1b\x1c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBundle(data)
		if err != nil {
			return
		}
		printed := b.Encode()
		again, err := ParseBundle(printed)
		if err != nil {
			t.Fatalf("%x printed as %x, which does not parse: %v", data, printed, err)
		}
		if !bytes.Equal(again.Encode(), printed) {
			t.Fatalf("%x printed as %x, then as %x", data, printed, again.Encode())
		}
		for _, p := range b[:min(len(b), 2)] {
			if _, err := p.Evaluate([]byte("key"), nil); (err != nil) != (len(p) > Depth) {
				t.Fatalf("proof of %d elements: %v", len(p), err)
			}
		}
	})
}

// TestStops: a climb reports at every stop, whatever the order of the ends.
func TestStops(t *testing.T) {
	var climbs [7]climb
	var paths [7]Path
	var got [7][4]warg.Digest
	for i := range climbs {
		paths[i] = PathOf(fmt.Append(nil, i))
		climbs[i].start(&paths[i], LeafHash(fmt.Append(nil, i)), 0)
		for k := range i % 5 {
			climbs[i].stopAt(stopHeight(i, k), &got[i][k])
		}
	}
	runClimbs(climbs[:])
	for i := range climbs {
		for k := range i % 5 {
			if want := foldEmpty(&paths[i], LeafHash(fmt.Append(nil, i)), stopHeight(i, k)); got[i][k] != want {
				t.Errorf("climb %d at height %d: %s, want %s", i, stopHeight(i, k), got[i][k], want)
			}
		}
	}
}

func stopHeight(i, k int) int { return []int{0, 3 * i, 3 * i, 250}[k] }
