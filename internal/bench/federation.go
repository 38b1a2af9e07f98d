package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// benchCold measures what a package costs that the replica does not have yet: two
// entrepots, one of them upstream of the other.
func benchCold(o options) error {
	return withFederation(o, func(f *federation) error {
		if err := f.herd(o); err != nil {
			return err
		}
		return f.firstByte(o)
	})
}

// benchFederatedReads measures what reads from a replica cost.
func benchFederatedReads(o options) error {
	return withFederation(o, func(f *federation) error { return f.reads(o) })
}

// withFederation runs f with a federation of its own.
func withFederation(o options, f func(*federation) error) error {
	return inFolder(func(dir string) error {
		running, err := startFederation(o, dir)
		if err != nil {
			return err
		}
		defer running.stop()
		return f(running)
	})
}

// inFolder runs f with a new folder that is deleted afterwards.
func inFolder(f func(dir string) error) error {
	dir, err := os.MkdirTemp(".", ".bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	return f(dir)
}

// federation is an upstream and a replica of it, seeded alike, the replica's server
// with a registry of its own besides.
type federation struct {
	up, here     *site
	key          warg.PrivateKey
	small, large []byte
}

func startFederation(o options, dir string) (_ *federation, err error) {
	f := &federation{small: noise(32 << 10), large: noise(1 << 20)}
	if f.key, err = warg.GenerateKey(); err != nil {
		return nil, err
	}
	if f.up, err = startUp(o, filepath.Join(dir, "up")); err != nil {
		return nil, err
	}
	if err = seed(f.up.addr, f.key, f.small, f.large); err == nil {
		f.here, err = startHere(o, filepath.Join(dir, "here"), f.up)
	}
	if err == nil {
		err = seed(f.here.addr, f.key, f.small, f.large)
	}
	if err != nil {
		f.stop()
		return nil, err
	}
	return f, nil
}

func (f *federation) stop() {
	for _, s := range []*site{f.up, f.here} {
		if s != nil {
			s.stop()
		}
	}
}

// reads runs the loads of the reads part against the replica and against our own
// registry, in one process, and compares. Both requests name their registry.
func (f *federation) reads(o options) error {
	if err := f.here.sync(); err != nil {
		return err
	}
	known, err := learn(f.here.addr, warg.Sum(f.small), warg.Sum(f.large))
	if err != nil {
		return err
	}
	theirs, err := learn(f.here.addr, warg.Sum(f.small), warg.Sum(f.large), onBehalf)
	if err != nil {
		return err
	}
	fmt.Printf("%d connections, %d rounds of %v, median [least–greatest]; one process answers both\n\n", readConns, o.rounds, o.length)
	fmt.Println("| path | registry | rate | p50 | p99 | CPU per request | CPU ratio | goal |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range reads {
		own := load{f.here.addr, naming(r.request(f.here.addr, known), hereName), readConns, o.length}
		replica := load{f.here.addr, federated(r.request(f.here.addr, theirs)), readConns, o.length}
		if err := f.compare(o, r.name, own, replica); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// compare runs one path on both registries in turn and prints two rows.
func (f *federation) compare(o options, name string, own, replica load) error {
	loads := []load{own, replica}
	samples := make([][]sample, len(loads))
	for range o.rounds {
		for i, l := range loads {
			one, err := l.run(f.here.cpu)
			if err != nil {
				return err
			}
			samples[i] = append(samples[i], one)
		}
	}
	cpu := func(s sample) time.Duration { return s.cpu }
	ratio := float64(median(column(samples[1], cpu))) / float64(median(column(samples[0], cpu)))
	for i, registry := range []string{"own", "upstream, replica"} {
		last, goal := "", ""
		if i == 1 {
			last, goal = fmt.Sprintf("**%.2f×**", ratio), "≤ 1.1×"
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", name, registry,
			spread(column(samples[i], func(s sample) float64 { return s.rate }), perSec),
			spread(column(samples[i], func(s sample) time.Duration { return s.p50 }), millis),
			spread(column(samples[i], func(s sample) time.Duration { return s.p99 }), millis),
			spread(column(samples[i], cpu), micros), last, goal)
	}
	return nil
}
