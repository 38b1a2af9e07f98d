package vlog_test

import (
	"fmt"

	"github.com/entrepot/entrepot/warg/vlog"
)

// A registry appends leaves and proves one of them; a client that trusts the
// root of a signed checkpoint verifies the proof.
func Example() {
	var log vlog.Log
	for _, value := range []string{"first", "second", "third"} {
		log.Append(vlog.LeafHash([]byte(value)))
	}

	bundle, err := vlog.BuildBundle(&log, 3, nil, []uint64{1})
	if err != nil {
		fmt.Println(err)
		return
	}

	leaf := vlog.Leaf{Index: 1, Value: []byte("second")}
	fmt.Println(vlog.VerifyInclusion(bundle.Encode(), log.Root(), 3, []vlog.Leaf{leaf}))
	leaf.Value = []byte("forged")
	err = vlog.VerifyInclusion(bundle.Encode(), log.Root(), 3, []vlog.Leaf{leaf})
	fmt.Println(err != nil)
	// Output:
	// <nil>
	// true
}

// A client that saw a shorter log verifies that the longer one extends it.
func ExampleVerifyConsistency() {
	var log vlog.Log
	log.Append(vlog.LeafHash([]byte("first")))
	seen := vlog.Point{Length: log.Len(), Root: log.Root()}

	log.Append(vlog.LeafHash([]byte("second")))
	now := vlog.Point{Length: log.Len(), Root: log.Root()}
	bundle, err := vlog.BuildBundle(&log, now.Length, []uint64{seen.Length}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(vlog.VerifyConsistency(bundle.Encode(), seen, now))
	// Output: <nil>
}

// The right edge alone is enough to append and to know the root.
func ExampleEdge() {
	var log vlog.Log
	var edge vlog.Edge
	for i := range 1000 {
		leaf := vlog.LeafHash(fmt.Append(nil, i))
		log.Append(leaf)
		edge.Append(leaf)
	}
	fmt.Println(edge.Root() == log.Root(), len(edge.Hashes()))
	// Output: true 6
}
