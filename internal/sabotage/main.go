package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"time"
)

// options are the command's flags.
type options struct {
	only  *regexp.Regexp
	short bool
	find  bool
	jobs  int
	limit time.Duration
}

func main() {
	o, err := parseFlags()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sabotage:", err)
		os.Exit(1)
	}
}

func parseFlags() (options, error) {
	var o options
	only := flag.String("only", "", "run only mutants whose name, promise or package matches; `regexp`, or short")
	flag.BoolVar(&o.find, "find", false, "run every test of the mutant's package, and list those that fail")
	flag.IntVar(&o.jobs, "jobs", 1, "mutants at a time")
	flag.DurationVar(&o.limit, "limit", 3*time.Minute, "how long a test may take")
	flag.Parse()
	if o.short = *only == "short"; o.short {
		*only = ""
	}
	var err error
	o.only, err = regexp.Compile(*only)
	return o, err
}

// picks reports whether a mutant is to be run.
func (o options) picks(m mutant) bool {
	if o.short {
		return m.short
	}
	return o.only.MatchString(m.name) || o.only.MatchString(m.pkg) || o.only.MatchString(m.promise)
}

// run runs the mutants that were picked and prints what became of them.
func run(o options) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "sabotage-")
	if err != nil {
		return fmt.Errorf("making a folder for mutants: %w", err)
	}
	defer os.RemoveAll(dir)
	var picked []mutant
	for _, m := range all() {
		if o.picks(m) {
			picked = append(picked, m)
		}
	}
	if len(picked) == 0 {
		return fmt.Errorf("no mutant matches %q", o.only)
	}
	w := &workshop{o: o, root: root, dir: dir, healthy: map[string]error{}}
	began := time.Now()
	failed := w.all(picked)
	fmt.Printf("%d mutants, %d caught, %d not, in %s\n", len(picked), len(picked)-failed, failed, time.Since(began).Round(time.Second))
	if failed > 0 {
		return fmt.Errorf("%d of %d mutants were not caught", failed, len(picked))
	}
	return nil
}
