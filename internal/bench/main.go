package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// options are the command's flags.
type options struct {
	entrepot, reference, peer string
	rounds                    int
	length                    time.Duration
	records                   int
	only                      *regexp.Regexp
}

func main() {
	o, err := parseFlags()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() (options, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return options{}, err
	}
	clients := filepath.Join(cache, "entrepot-clients")
	if dir := os.Getenv("ENTREPOT_CLIENTS"); dir != "" {
		clients = dir
	}
	var o options
	flag.StringVar(&o.entrepot, "entrepot", "bin/entrepot", "our binary")
	flag.StringVar(&o.reference, "reference", filepath.Join(clients, "warg-server-0.10.0/bin/warg-server"), "the reference server's binary")
	flag.StringVar(&o.peer, "peer", filepath.Join(clients, "bench-peer/bin/entrepot-bench-peer"), "the peer program of the map benchmark")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each read load, alternating between the servers")
	flag.DurationVar(&o.length, "length", 2*time.Second, "length of one load")
	flag.IntVar(&o.records, "records", 1_000_000, "records of the restart and map benchmarks")
	only := flag.String("only", "", "run only the parts that match: reads, publish, map, restart, federation-cold, -reads, -ingest")
	flag.Parse()
	o.only, err = regexp.Compile(*only)
	return o, err
}

// part is one piece of the benchmark.
type part struct {
	name string
	run  func(options) error
}

func run(o options) error {
	parts := []part{
		{"reads", benchReads}, {"publish", benchPublish}, {"map", benchMap}, {"restart", benchRestart},
		{"federation-cold", benchCold}, {"federation-reads", benchFederatedReads}, {"federation-ingest", benchIngest},
	}
	parts = slices.DeleteFunc(parts, func(p part) bool { return !o.only.MatchString(p.name) })
	if len(parts) == 0 {
		return fmt.Errorf("no part matches %q", o.only)
	}
	for _, p := range parts {
		fmt.Printf("\n## %s (%s)\n\n", p.name, calibrate())
		if err := p.run(o); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// median returns the middle of values.
func median[T int64 | float64 | time.Duration](values []T) T {
	s := slices.Clone(values)
	slices.Sort(s)
	return s[len(s)/2]
}

// column collects one figure over the rounds.
func column[T int64 | float64 | time.Duration](samples []sample, f func(sample) T) []T {
	var values []T
	for _, s := range samples {
		values = append(values, f(s))
	}
	return values
}

// spread renders a median with the least and greatest value.
func spread[T int64 | float64 | time.Duration](values []T, format func(T) string) string {
	return fmt.Sprintf("%s [%s–%s]", format(median(values)), format(slices.Min(values)), format(slices.Max(values)))
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1fµs", float64(d)/1e3) }
func millis(d time.Duration) string { return fmt.Sprintf("%.2fms", float64(d)/1e6) }
func perSec(f float64) string       { return fmt.Sprintf("%.0f/s", f) }
