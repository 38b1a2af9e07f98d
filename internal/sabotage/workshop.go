package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// workshop builds mutants and runs tests on them.
type workshop struct {
	o    options
	root string // of the module
	dir  string // temporary

	mu      sync.Mutex
	healthy map[string]error // of a package's test without a change, by package and pattern
	failed  int
}

// all runs mutants and returns how many were not caught.
func (w *workshop) all(list []mutant) int {
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(w.o.jobs, 1))
	for i, m := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			found, err := w.try(m, fmt.Sprintf("m%d", i))
			w.report(m, found, err, time.Since(began))
		})
	}
	wg.Wait()
	return w.failed
}

func (w *workshop) report(m mutant, found string, err error, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	word := "caught"
	if err != nil {
		word, found = "MISSED", err.Error()
		w.failed++
	}
	fmt.Printf("%-7s %-4s %-42s %5.1fs  %s\n", word, m.promise, m.name, took.Seconds(), found)
}

// try builds one mutant and runs its test, and returns which tests noticed.
func (w *workshop) try(m mutant, id string) (string, error) {
	overlay, err := w.overlay(m, id)
	if err != nil {
		return "", err
	}
	binary, err := w.build(m.pkg, id, "-overlay", overlay)
	if err != nil {
		return "", fmt.Errorf("the mutant does not compile, which is no catch: %w", err)
	}
	defer os.Remove(binary)
	pattern := m.pattern()
	if w.o.find {
		pattern = "."
	} else if err := w.isHealthy(m, id); err != nil {
		return "", err
	}
	out, err := w.test(binary, m.pkg, pattern)
	names := failures(out)
	switch {
	case err == nil:
		return "", fmt.Errorf("%s %s passes", m.pkg, pattern)
	case strings.Contains(out, "panic: test timed out"):
		return "", fmt.Errorf("%s %s runs for more than %s, which is no catch", m.pkg, pattern, w.o.limit)
	case len(names) == 0:
		return "", fmt.Errorf("%s %s ends without naming a test: %w\n%s", m.pkg, pattern, err, tail(out))
	}
	return m.pkg + " " + strings.Join(names, " "), nil
}

// overlay writes the changed file and what lays it over the tree.
func (w *workshop) overlay(m mutant, id string) (string, error) {
	text, err := m.mutate(w.root)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(w.dir, id+"-"+filepath.Base(m.file))
	plan, err := json.Marshal(map[string]map[string]string{
		"Replace": {filepath.Join(w.root, filepath.FromSlash(m.file)): changed},
	})
	name := filepath.Join(w.dir, id+".json")
	return name, errors.Join(err, os.WriteFile(changed, text, 0o600), os.WriteFile(name, plan, 0o600))
}

// build compiles the tests of a package.
func (w *workshop) build(pkg, id string, flags ...string) (string, error) {
	binary := filepath.Join(w.dir, id+".test")
	args := append([]string{"test", "-c", "-vet=off", "-o", binary}, flags...)
	cmd := exec.Command("go", append(args, "./"+pkg)...)
	cmd.Dir = w.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, tail(string(out)))
	}
	return binary, nil
}

// isHealthy fails unless the mutant's test passes without the mutant.
func (w *workshop) isHealthy(m mutant, id string) error {
	key := m.pkg + " " + m.pattern()
	w.mu.Lock()
	err, known := w.healthy[key]
	w.mu.Unlock()
	if known {
		return err
	}
	binary, err := w.build(m.pkg, id+"-healthy")
	if err == nil {
		var out string
		out, err = w.test(binary, m.pkg, m.pattern())
		switch {
		case err != nil:
			err = fmt.Errorf("%s fails without any mutant: %w\n%s", key, err, tail(out))
		case !strings.Contains(out, "--- PASS: "):
			err = fmt.Errorf("%s is no test, or is skipped", key)
		}
		err = errors.Join(err, os.Remove(binary))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.healthy[key] = err
	return err
}

// maxMemory bounds the address space of a test, in KiB. The database maps two gigabytes.
const maxMemory = 8 << 20

// test runs a test binary where the Go command would.
func (w *workshop) test(binary, pkg, pattern string) (string, error) {
	args := []string{"-test.v", "-test.run", pattern, "-test.timeout", w.o.limit.String()}
	if w.o.find {
		args = append(args, "-test.short")
	}
	// A mutant may have lost a bound. What is lost with it must not be the machine.
	bounded := fmt.Sprintf(`ulimit -v %d; exec "$0" "$@"`, maxMemory)
	cmd := exec.Command("sh", append([]string{"-c", bounded, binary}, args...)...)
	cmd.Dir = filepath.Join(w.root, filepath.FromSlash(pkg))
	found := filepath.Join(cmd.Dir, "testdata", "rapid") // what a property test leaves when it fails
	if _, err := os.Stat(found); errors.Is(err, fs.ErrNotExist) {
		defer os.RemoveAll(found)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// failures returns the names of the tests that failed. One that panics is named by
// what the testing package prints on its way down, or ran last.
func failures(out string) (names []string) {
	for _, m := range failedTest.FindAllStringSubmatch(out, -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 && (strings.Contains(out, "\npanic: ") || strings.Contains(out, "\nfatal error: ")) {
		running := regexp.MustCompile(`(?m)^=== RUN +(\S+)`).FindAllStringSubmatch(out, -1)
		if len(running) > 0 {
			names = append(names, running[len(running)-1][1]+" (panic)")
		}
	}
	return names
}

// tail returns the last lines of an output.
func tail(out string) string {
	const lines = 30
	all := strings.Split(strings.TrimSpace(out), "\n")
	return strings.Join(all[max(len(all)-lines, 0):], "\n")
}
