package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// ingestCase is one shape of an upstream registry's log.
type ingestCase struct {
	name    string
	records int // of each package
}

var ingestCases = []ingestCase{{"10 records a package", 10}, {"1 record a package", 1}}

// benchIngest measures how fast a replica fetches, verifies and stores everything of
// an upstream, and how that compares with what verifying its signatures costs alone.
// The upstream runs on the same processors, and where they are busy with something
// else the shares by CPU are the better figures: that of both is what this machine
// could reach if it were idle, that of the mirror what it could if upstream were
// elsewhere, where upstreams are.
func benchIngest(o options) error {
	return inFolder(func(dir string) error { return ingest(o, dir) })
}

func ingest(o options, dir string) error {
	fmt.Println("| mirror ingest | records | rate | CPU per record, mirror | upstream | ECDSA limit | of the limit | by CPU of both | by CPU of the mirror | goal |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	for i, c := range ingestCases {
		if err := ingestRow(o, c, filepath.Join(dir, fmt.Sprintf("ingest%d", i))); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func ingestRow(o options, c ingestCase, dir string) error {
	up, err := startUp(o, filepath.Join(dir, "up"))
	if err != nil {
		return err
	}
	defer up.stop()
	records := min(o.records, mostIngested) / c.records * c.records
	if err := fillChains(up.addr, records/c.records, c.records); err != nil {
		return err
	}
	var rates, limits, shares, ofBoth, ofMirror []float64
	var mine, theirs []time.Duration
	for round := range ingestRounds {
		one, err := ingestOnce(o, up, filepath.Join(dir, fmt.Sprintf("here%d", round)))
		if err != nil {
			return err
		}
		rate := float64(records) / one.took.Seconds()
		rates, limits = append(rates, rate), append(limits, one.limit.rate)
		mine = append(mine, one.cpu/time.Duration(records))
		theirs = append(theirs, one.upstream/time.Duration(records))
		shares = append(shares, rate/one.limit.rate)
		signatures := float64(one.limit.cpu) * float64(records)
		ofBoth = append(ofBoth, signatures/float64(one.cpu+one.upstream))
		ofMirror = append(ofMirror, signatures/float64(one.cpu))
	}
	fmt.Printf("| %s | %d | %s | %s | %s | %s | **%.0f %%** | %.0f %% | %.0f %% | ≥ 15000/s, ≥ 50 %% |\n", c.name, records,
		spread(rates, perSec), micros(median(mine)), micros(median(theirs)), spread(limits, perSec), 100*median(shares), 100*median(ofBoth), 100*median(ofMirror))
	return nil
}

const (
	mostIngested = 100_000
	ingestRounds = 3
)

// ingested is what one filling of a replica cost.
type ingested struct {
	took          time.Duration
	cpu, upstream time.Duration
	limit         signatures // measured before and after
}

// ingestOnce fills a new replica with the command for that, which ends when all is
// stored.
func ingestOnce(o options, up *site, dir string) (ingested, error) {
	here, err := startHere(o, dir, up) // makes its own registry
	if err != nil {
		return ingested{}, err
	}
	here.stop()
	file, err := configure(dir, here.addr, up, "full")
	if err != nil {
		return ingested{}, err
	}
	before := verifySignatures()
	theirs, err := up.cpu()
	if err != nil {
		return ingested{}, err
	}
	command := exec.Command(o.entrepot, "mirror", "sync", "--config", file)
	began := time.Now()
	out, err := command.CombinedOutput()
	one := ingested{took: time.Since(began)}
	if err != nil {
		return one, fmt.Errorf("mirror sync: %w: %s", err, out)
	}
	after, err := up.cpu()
	one.cpu = command.ProcessState.UserTime() + command.ProcessState.SystemTime()
	one.upstream = after - theirs
	verify := verifySignatures()
	one.limit = signatures{(before.rate + verify.rate) / 2, (before.cpu + verify.cpu) / 2}
	return one, err
}

// signatures is what verifying signatures alone costs on this machine.
type signatures struct {
	rate float64       // a second, on all processors
	cpu  time.Duration // of one
}

// verifySignatures measures it.
func verifySignatures() signatures {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system's randomness does not fail
	}
	sum := sha256.Sum256([]byte("record"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	const each = 10_000
	var group sync.WaitGroup
	began, used := time.Now(), ownCPU()
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for range each {
				if !ecdsa.VerifyASN1(&key.PublicKey, sum[:], signature) {
					panic("a good signature does not verify")
				}
			}
		})
	}
	group.Wait()
	all := each * runtime.GOMAXPROCS(0)
	return signatures{float64(all) / time.Since(began).Seconds(), (ownCPU() - used) / time.Duration(all)}
}

// ownCPU returns the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillChains publishes as many records in each of n new packages.
func fillChains(addr string, n, records int) error {
	if records == 1 {
		return fill(addr, n)
	}
	key, err := warg.GenerateKey()
	if err != nil {
		return err
	}
	p := newPublisher(addr, fillWriters, 2*time.Millisecond)
	content := noise(1 << 10)
	for done := 0; done < n; {
		count := min(fillBatch/records, n-done)
		queues := make([][]submission, fillWriters)
		for i := range count {
			c, err := newChain(fmt.Sprintf("bench:c%d", done+i), key)
			if err != nil {
				return err
			}
			for range records {
				queues[i%fillWriters] = append(queues[i%fillWriters], c.release(warg.Sum(content)))
			}
		}
		if _, err := publishQueues(p, queues, content, time.Hour); err != nil {
			return err
		}
		done += count
	}
	return nil
}
