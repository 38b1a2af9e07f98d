package wargtest

import (
	"slices"
	"testing"
)

// TestRegistry checks everything that [warg.Registry] promises. newSubject makes
// the implementation under test; it is called once, and what it opens it should
// close with t.Cleanup.
func TestRegistry(t *testing.T, newSubject func(t *testing.T) Subject) {
	s := &scene{Subject: newSubject(t)}
	s.build(t)
	for _, c := range registryChecks() {
		t.Run(c.name, func(t *testing.T) { c.run(t, s) })
	}
}

func registryChecks() []check {
	return slices.Concat(checkpointChecks(), logsChecks(), namesChecks(), proofChecks(), recordChecks(), contentChecks(), ledgerChecks(), verifyChecks(),
		[]check{{"concurrent", checkConcurrent}})
}
