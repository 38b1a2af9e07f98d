package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one way to break a promise.
type mutant struct {
	name    string
	promise string // of docs/promises.md, G1 to G18
	file    string // below the module's root
	old     string // stands in the file exactly once
	new     string // what stands there instead
	pkg     string // folder of the test that notices
	test    string // its name; "TestA/sub" where one case is meant
	short   bool   // one of the few that every change is checked against
}

// all returns the tables, one after another.
func all() []mutant {
	return slices.Concat(
		storageMutants,
		signingMutants,
		admissionMutants,
		logMutants,
		upstreamMutants,
		transportMutants,
		replicaMutants,
		cacheMutants,
		clientMutants,
		peerMutants,
		fenceMutants,
		federationMutants,
		checkMutants,
	)
}

// mutate returns the file's text with the change.
func (m mutant) mutate(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, fmt.Errorf("reading what mutant %q changes: %w", m.name, err)
	}
	switch n := strings.Count(string(text), m.old); {
	case n != 1:
		return nil, fmt.Errorf("mutant %q: the old text stands in %s %d times, not once", m.name, m.file, n)
	case m.old == m.new:
		return nil, fmt.Errorf("mutant %q changes nothing", m.name)
	}
	return []byte(strings.Replace(string(text), m.old, m.new, 1)), nil
}

// pattern returns the test's name as an argument of -test.run.
func (m mutant) pattern() string {
	parts := strings.Split(m.test, "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	return strings.Join(parts, "/")
}

// moduleRoot finds the folder of go.mod at or above the current one.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("looking for go.mod: not in a module")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
