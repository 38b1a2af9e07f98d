// Program fuzz runs every fuzz target of the module for a while, one after another, and
// says how much each of them did:
//
//	make fuzz                             30 seconds each
//	make fuzz FUZZTIME=5s FUZZ=Decode     some, shortly
//
// A target that finds something does not keep the others from running; the program
// fails at the end. The seeds of all targets run with the unit tests.
package main

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is a fuzz target.
type target struct {
	dir, name string
}

func main() {
	only := flag.String("only", "", "run only targets whose folder and name match")
	length := flag.Duration("time", 30*time.Second, "how long each target runs")
	flag.Parse()
	if err := run(*only, *length); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// run fuzzes the targets below the current folder.
func run(only string, length time.Duration) error {
	pick, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	all, err := targets(".")
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(t target) bool { return !pick.MatchString(t.dir + " " + t.name) })
	if len(all) == 0 {
		return fmt.Errorf("no target matches %q", only)
	}
	total, failed := uint64(0), 0
	for _, t := range all {
		n, out, err := t.fuzz(length)
		total += n
		fmt.Printf("%-28s %-24s %12d executions\n", t.dir, t.name, n)
		if err != nil {
			failed++
			fmt.Printf("%s\n%v\n", out, err)
		}
	}
	fmt.Printf("%d targets, %d executions, %d failed\n", len(all), total, failed)
	if failed > 0 {
		return fmt.Errorf("%d of %d targets found something", failed, len(all))
	}
	return nil
}

// targets returns the fuzz targets below a folder, sorted.
func targets(root string) (all []target, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				all = append(all, target{filepath.ToSlash(filepath.Dir(path)), fn.Name.Name})
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b target) int {
		return strings.Compare(a.dir+" "+a.name, b.dir+" "+b.name)
	})
	return all, err
}

// fuzz runs a target and returns how often it was executed: not at all if the time was
// over before what earlier runs had found was gone through.
func (t target) fuzz(length time.Duration) (executions uint64, out string, err error) {
	// Go would spend most of the time on making inputs shorter that are only new.
	cmd := exec.Command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", length.String(), "-fuzzminimizetime", "1x", "./"+t.dir)
	b, err := cmd.CombinedOutput()
	executions = count(string(b))
	if err == nil && !strings.Contains(string(b), "fuzz: elapsed:") {
		err = errors.New("nothing was executed")
	}
	return executions, string(b), err
}

var executed = regexp.MustCompile(`(?m)^fuzz: elapsed: .*execs: (\d+) `)

// count returns the number of executions that the Go command reported last.
func count(out string) (n uint64) {
	for _, m := range executed.FindAllStringSubmatch(out, -1) {
		if v, err := strconv.ParseUint(m[1], 10, 64); err == nil {
			n = max(n, v)
		}
	}
	return n
}
