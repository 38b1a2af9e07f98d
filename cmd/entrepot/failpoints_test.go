//go:build !failpoints

package main

import "testing"

// TestNoFailpoints: a build without the tag cannot be made to fail from outside.
func TestNoFailpoints(t *testing.T) {
	t.Setenv("ENTREPOT_FAILPOINT", "any:1:kill")
	step, err := failpoints(t.TempDir())
	if step != nil || err != nil {
		t.Errorf("a normal build has failpoints (%v)", err)
	}
}
