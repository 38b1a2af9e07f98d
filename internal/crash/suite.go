package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/observer"
)

// suite is one run of one suite.
type suite struct {
	name     string
	bin      string // built with the tag failpoints
	seed     uint64
	points   int
	parallel int
	dir      string // of this run, removed at the end of a good one

	mu      sync.Mutex
	began   time.Time
	drawn   time.Time // when progress was last shown
	done    int
	counts  map[string]int // by the suite's own words
	steps   map[string]int // how often a server ended there
	acks    int
	verdict observer.Verdict
}

// kind is a suite as the command line knows it.
type kind struct {
	points int // by default: the short form
	root   bool
	tools  []string // programs that it runs
	run    func(context.Context, *suite) error
}

// suites returns all suites by name. Their order is that of the run of all.
func suites() ([]string, map[string]kind) {
	return []string{"kill", "flip", "twice", "behind", "full", "readonly", "power", "kernel"}, map[string]kind{
		"kill":     {points: 120, run: runKill},
		"flip":     {points: 500, run: runFlip},
		"twice":    {points: 24, run: runTwice},
		"behind":   {points: 24, run: runBehind},
		"full":     {points: 12, root: true, tools: []string{"mount", "umount", "mkfs.ext4"}, run: runFull},
		"readonly": {points: 2, root: true, tools: []string{"mount", "umount", "mkfs.ext4"}, run: runReadonly},
		"power":    {points: 60, root: true, tools: []string{"mount", "umount", "mkfs.ext4", "mkfs.btrfs", "strace"}, run: runPower},
		"kernel":   {points: 60, root: true, tools: []string{"strace"}, run: runKernel},
	}
}

// run reads the command line and runs what it asks for.
func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "observe" {
		return observe(ctx, args[1:])
	}
	names, kinds := suites()
	flags := flag.NewFlagSet("crash", flag.ContinueOnError)
	bin := flags.String("bin", "bin/entrepot-failpoints", "the `program` under test, built with -tags failpoints")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "what the plan comes from")
	points := flags.Int("points", 0, "how often to crash; 0 = the short form")
	parallel := flags.Int("parallel", 2, "lives at the same time, where a suite has several")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: crash [flags] SUITE…\n       crash observe URL FILE\nsuites: %s\n", strings.Join(names, ", "))
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return errors.New("no suite is named")
	}
	program, err := filepath.Abs(*bin)
	if err != nil {
		return err
	}
	for _, name := range flags.Args() {
		k, ok := kinds[name]
		if !ok {
			return fmt.Errorf("there is no suite %q", name)
		}
		s := &suite{name: name, bin: program, seed: *seed, points: *points, parallel: max(1, *parallel), counts: map[string]int{}, steps: map[string]int{}}
		if err := s.all(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// all runs the suite and prints its line of figures. What a failure left is kept.
func (s *suite) all(ctx context.Context, k kind) (err error) {
	if k.root && os.Geteuid() != 0 {
		return fmt.Errorf("%s needs root", s.name)
	}
	for _, tool := range k.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s needs the program %s: %w", s.name, tool, err)
		}
	}
	if s.points == 0 {
		s.points = k.points
	}
	if s.dir, err = os.MkdirTemp("", "entrepot-crash-"); err != nil {
		return err
	}
	s.began = time.Now()
	err = k.run(ctx, s)
	s.line(true)
	if err == nil && s.verdict.Bad() {
		err = fmt.Errorf("broken promises:\n\t%s", strings.Join(s.verdict.Reasons, "\n\t"))
	}
	if err == nil && (s.done == 0 || s.acks == 0 || s.verdict.Proven == 0) {
		err = fmt.Errorf("%d points, %d acknowledgements and %d proofs show nothing", s.done, s.acks, s.verdict.Proven)
	}
	if err != nil {
		return fmt.Errorf("%s: %w\nwhat is left is in %s\nagain: go run ./internal/crash -seed %d -points %d %s", s.name, err, s.dir, s.seed, s.points, s.name)
	}
	return os.RemoveAll(s.dir)
}

// point counts a point that was judged.
func (s *suite) point(word string, v observer.Verdict) {
	s.mu.Lock()
	s.done++
	s.counts[word]++
	s.verdict.Add(v)
	s.mu.Unlock()
	s.line(false)
}

func (s *suite) acknowledged(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks += n
}

// drawEvery is how often progress is shown to a person.
const drawEvery = 200 * time.Millisecond

// line prints the figures: the last time for everybody, before that for a person.
func (s *suite) line(last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stat, err := os.Stderr.Stat()
	person := err == nil && stat.Mode()&os.ModeCharDevice != 0
	if !last && (!person || time.Since(s.drawn) < drawEvery) {
		return
	}
	s.drawn = time.Now()
	var words []string
	for word, n := range s.counts {
		words = append(words, fmt.Sprintf("%s %d", word, n))
	}
	slices.Sort(words)
	took := time.Since(s.began)
	text := fmt.Sprintf("%s: points %d (%s), acknowledgements %d, proofs %d, lost %d, forks %d, corruption served %d, %.2f s a point, seed %d",
		s.name, s.done, strings.Join(words, ", "), s.acks, s.verdict.Proven, s.verdict.Lost, s.verdict.Forks, s.verdict.Corrupt,
		took.Seconds()/float64(max(1, s.done)), s.seed)
	switch {
	case last && person:
		fmt.Fprintf(os.Stderr, "\r\033[K%s\n", text)
	case last:
		fmt.Fprintln(os.Stderr, text)
	default:
		fmt.Fprintf(os.Stderr, "\r\033[K%s %d/%d", s.name, s.done, s.points)
	}
}

// lives runs lives until all points are spent, several at a time. A life spends some
// points; life n of a seed always has the same plan.
func (s *suite) lives(ctx context.Context, each int, life func(ctx context.Context, n, points int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	numbers := make(chan int)
	var workers sync.WaitGroup
	for range s.parallel {
		workers.Go(func() {
			for n := range numbers {
				points := min(each, s.points-n*each)
				if err := life(ctx, n, points); err != nil {
					cancel(fmt.Errorf("life %d: %w", n, err))
					return
				}
			}
		})
	}
	go func() {
		defer close(numbers)
		for n := 0; n*each < s.points; n++ {
			select {
			case numbers <- n:
			case <-ctx.Done():
				return
			}
		}
	}()
	workers.Wait()
	return context.Cause(ctx)
}

// observe watches a registry until it is stopped, and reviews it at the end.
func observe(ctx context.Context, args []string) error {
	const argCount = 2
	if len(args) != argCount {
		return errors.New("usage: crash observe URL FILE")
	}
	watch, err := observer.Open(args[1], strings.TrimRight(args[0], "/"), "")
	if err != nil {
		return err
	}
	defer watch.Close()
	const every = 100 * time.Millisecond
	watch.Watch(ctx, every, func(v observer.Verdict) { fmt.Fprintln(os.Stderr, strings.Join(v.Reasons, "\n")) })
	v, err := watch.Review(context.WithoutCancel(ctx), observer.Options{All: true})
	fmt.Fprintf(os.Stderr, "length %d, lost %d, forks %d, corruption served %d\n", watch.Length(), v.Lost, v.Forks, v.Corrupt)
	if err == nil && v.Bad() {
		err = errors.New(strings.Join(v.Reasons, "\n"))
	}
	return err
}
