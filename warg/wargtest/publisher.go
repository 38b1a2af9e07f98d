package wargtest

import (
	"slices"
	"testing"
)

// TestPublisher checks everything that [warg.Publisher] promises, and how its states
// show in the registry. newSubject makes the implementation under test; it is called
// once, and what it opens it should close with t.Cleanup.
func TestPublisher(t *testing.T, newSubject func(t *testing.T) Subject) {
	s := &scene{Subject: newSubject(t)}
	for _, c := range publisherChecks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

func publisherChecks() []check {
	return slices.Concat(publishChecks(), uploadChecks(), admissionChecks(), rejectionChecks())
}
