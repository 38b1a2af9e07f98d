package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/warg"
)

const (
	fillWriters = 256
	fillBatch   = 50_000 // packages signed ahead at a time
)

// benchRestart fills our registry with one record in each of many packages, and
// measures how long a restart takes until the first answer, and memory a leaf.
// The reference keeps nothing over a restart; what it would have to do again,
// building its map and log, is what the map part times.
func benchRestart(o options) error {
	dir, err := os.MkdirTemp(".", ".bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	s, err := startOurs(o, dir)
	if err != nil {
		return err
	}
	empty, err := s.resident()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := fill(s.addr, o.records); err != nil {
		s.stop()
		return err
	}
	filling := time.Since(began)
	full, err := s.resident()
	s.stop()
	if err != nil {
		return err
	}
	fmt.Printf("filled %d records in %v (%.0f/s), resident %d MiB, %d bytes a leaf\n",
		o.records, filling.Round(time.Second), float64(o.records)/filling.Seconds(), full>>20, (full-empty)/int64(o.records))
	for range 3 {
		if err := restart(o, dir, empty); err != nil {
			return err
		}
	}
	return nil
}

func restart(o options, dir string, empty int64) error {
	began := time.Now()
	s, err := startOurs(o, dir)
	if err != nil {
		return err
	}
	defer s.stop()
	answered := time.Since(began)
	resident, err := s.resident()
	if err != nil {
		return err
	}
	fmt.Printf("restart: first answer after %v (goal ≤ 2 s), resident %d MiB, %d bytes a leaf (goal ≤ 200)\n",
		answered.Round(time.Millisecond), resident>>20, max(resident-empty, 0)/int64(o.records))
	return nil
}

// fill publishes one record in each of n new packages.
func fill(addr string, n int) error {
	key, err := warg.GenerateKey()
	if err != nil {
		return err
	}
	p := newPublisher(addr, fillWriters, 2*time.Millisecond)
	content := noise(1 << 10)
	for done := 0; done < n; {
		count := min(fillBatch, n-done)
		queues, err := signPackages(key, content, done, count)
		if err != nil {
			return err
		}
		if _, err := publishQueues(p, queues, content, time.Hour); err != nil {
			return err
		}
		done += count
		fmt.Fprintf(os.Stderr, "\rfilled %d of %d", done, n)
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// signPackages signs the first record of count packages, spread over the writers.
func signPackages(key warg.PrivateKey, content []byte, first, count int) ([][]submission, error) {
	queues := make([][]submission, fillWriters)
	for i := range count {
		c, err := newChain(fmt.Sprintf("bench:n%d", first+i), key)
		if err != nil {
			return nil, err
		}
		w := i % fillWriters
		queues[w] = append(queues[w], c.release(warg.Sum(content)))
	}
	return queues, nil
}
