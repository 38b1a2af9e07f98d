package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vmap"
)

// mapBatch is the number of entries of one map update: what a busy sequencer
// takes at a time.
const mapBatch = 1024

// benchMap times our map beside the reference's, in processes of their own, over
// the same keys, and compares the roots first.
func benchMap(o options) error {
	theirs, err := runPeer(o)
	if err != nil {
		return err
	}
	ours, root := timeMap(o.records)
	if root.String() != theirs.root {
		return fmt.Errorf("roots differ: ours is %s, the reference's %s", root, theirs.root)
	}
	fmt.Printf("%d keys, equal roots; ours in batches of %d on %d cores, the reference one by one\n\n", o.records, mapBatch, runtime.NumCPU())
	fmt.Println("| map | ours | the reference | ratio | goal |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	for _, what := range []string{"insert", "update"} {
		a, b := ours[what], theirs.rates[what]
		fmt.Printf("| %s | %s | %s | **%.1f×** | ≥ 3× |\n", what, perSec(a), perSec(b), a/b)
	}
	fmt.Printf("\nthe reference at the start: %.1f s for map and log, %s bytes of memory a leaf\n",
		theirs.seconds["insert"]+theirs.seconds["log"], strconv.FormatFloat(theirs.resident, 'f', 0, 64))
	return nil
}

// peerFigures is what the peer program prints.
type peerFigures struct {
	rates    map[string]float64 // operations per second
	seconds  map[string]float64
	resident float64 // bytes a key
	root     string
}

func runPeer(o options) (peerFigures, error) {
	if _, err := os.Stat(o.peer); err != nil {
		return peerFigures{}, errors.New("the peer program is not there: `make bench` builds it with cargo")
	}
	out, err := exec.Command(o.peer, strconv.Itoa(o.records)).Output()
	if err != nil {
		return peerFigures{}, err
	}
	f := peerFigures{rates: map[string]float64{}, seconds: map[string]float64{}}
	for scanner := bufio.NewScanner(bytes.NewReader(out)); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		switch {
		case len(fields) == 2 && fields[0] == "root":
			f.root = fields[1]
		case len(fields) == 3:
			count, err1 := strconv.ParseFloat(fields[1], 64)
			value, err2 := strconv.ParseFloat(fields[2], 64)
			if err := errors.Join(err1, err2); err != nil {
				return f, err
			}
			if fields[0] == "resident" {
				f.resident = value
			} else {
				f.seconds[fields[0]], f.rates[fields[0]] = value, count/value
			}
		}
	}
	return f, nil
}

// timeMap does in batches what the peer does one by one, and returns the rates
// and the root after the inserts.
func timeMap(count int) (map[string]float64, warg.Digest) {
	var m vmap.Map
	insert := timeBatches(count, func(i int) vmap.Entry { return vmap.Entry{Key: mapKey(i), Value: mapKey(i)} }, &m)
	root := m.Root()
	update := timeBatches(count/10, func(i int) vmap.Entry { return vmap.Entry{Key: mapKey(i * 10), Value: mapKey(i)} }, &m)
	return map[string]float64{"insert": insert, "update": update}, root
}

func timeBatches(count int, entry func(int) vmap.Entry, m *vmap.Map) float64 {
	var took time.Duration
	for first := 0; first < count; first += mapBatch {
		batch := make([]vmap.Entry, 0, mapBatch)
		for i := first; i < min(first+mapBatch, count); i++ {
			batch = append(batch, entry(i))
		}
		start := time.Now()
		*m = m.Update(batch)
		took += time.Since(start)
	}
	return float64(count) / took.Seconds()
}

// mapKey is the i-th key of the map benchmark.
func mapKey(i int) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(i))
	d := warg.Sum(b[:])
	return d[:]
}
