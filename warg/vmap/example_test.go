package vmap_test

import (
	"fmt"

	"github.com/entrepot/entrepot/warg/vmap"
)

// A registry sets the latest record of two logs and proves one of them; a client
// that trusts the root of a signed checkpoint verifies the proof.
func Example() {
	entries := []vmap.Entry{
		{Key: []byte("log a"), Value: []byte("record 7")},
		{Key: []byte("log b"), Value: []byte("record 3")},
	}
	m := vmap.Map{}.Update(entries)

	bundle, err := m.ProveAll([][]byte{[]byte("log b")})
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(vmap.VerifyInclusion(bundle.Encode(), m.Root(), entries[1:]))
	stale := []vmap.Entry{{Key: []byte("log b"), Value: []byte("record 2")}}
	fmt.Println(vmap.VerifyInclusion(bundle.Encode(), m.Root(), stale) != nil)
	// Output:
	// <nil>
	// true
}

// Updating makes a new version; the old one stays as it was.
func ExampleMap_Update() {
	old := vmap.Map{}.Update([]vmap.Entry{{Key: []byte("log a"), Value: []byte("record 7")}})
	now := old.Update([]vmap.Entry{{Key: []byte("log b"), Value: []byte("record 0")}})

	_, inOld := old.Prove([]byte("log b"))
	_, inNow := now.Prove([]byte("log b"))
	fmt.Println(inOld, inNow)
	// Output: false true
}
