package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// publishCase is one load of the publish benchmark.
type publishCase struct {
	name    string
	writers int
	fresh   bool // each release has content of its own, to be uploaded
	goal    string
}

var publishCases = []publishCase{
	{"content known, 1 writer", 1, false, "p50 ≤ 10 ms"},
	{"content known, 64 writers", 64, false, "≥ 5000/s"},
	{"fresh 32 KiB content, 1 writer", 1, true, "reported"},
	{"fresh 32 KiB content, 64 writers", 64, true, "reported"},
}

// referenceLength is how long the reference is watched: its clock ticks every 5 s.
const referenceLength = 11 * time.Second

func benchPublish(o options) error {
	p, err := startPair(o)
	if err != nil {
		return err
	}
	defer p.stop()
	fmt.Println("| publish until `published` | server | rate | p50 | p99 | CPU per publish | syncs per publish | goal |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for i, c := range publishCases {
		for _, s := range p.each() {
			length, rounds, poll := o.length, 3, time.Millisecond
			if s == p.reference {
				length, rounds, poll = referenceLength, 1, 50*time.Millisecond
			}
			if err := publishRow(s, c, publishPlan{i, rounds, length, poll}); err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, s.name, err)
			}
		}
	}
	return nil
}

// publishPlan says how a case is run against one server.
type publishPlan struct {
	number int // of the case, so that package names differ
	rounds int
	length time.Duration
	poll   time.Duration
}

func publishRow(s *server, c publishCase, plan publishPlan) error {
	var samples []sample
	before, err := s.cpu()
	if err != nil {
		return err
	}
	total := 0
	for round := range plan.rounds {
		one, err := publishRound(s, c, plan, round)
		if err != nil {
			return err
		}
		samples = append(samples, one)
		total += one.requests
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	syncs, err := syncsPerPublish(s, c, plan)
	if err != nil {
		return err
	}
	goal := ""
	if s.name == "entrepot" {
		goal = c.goal
	}
	fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", c.name, s.name,
		spread(column(samples, func(s sample) float64 { return s.rate }), perSec),
		spread(column(samples, func(s sample) time.Duration { return s.p50 }), millis),
		spread(column(samples, func(s sample) time.Duration { return s.p99 }), millis),
		micros((after-before)/time.Duration(max(total, 1))), syncs, goal)
	return nil
}

// mostPerWriter bounds the records signed ahead for one writer and round.
const mostPerWriter = 4096

func publishRound(s *server, c publishCase, plan publishPlan, round int) (sample, error) {
	key, err := warg.GenerateKey()
	if err != nil {
		return sample{}, err
	}
	p := newPublisher(s.addr, c.writers, plan.poll)
	chains := make([]*chain, c.writers)
	for w := range chains {
		if chains[w], err = newChain(fmt.Sprintf("bench:c%d-r%d-w%d", plan.number, round, w), key); err != nil {
			return sample{}, err
		}
	}
	content := noise(32 << 10)
	if c.fresh {
		return publishFresh(p, chains, plan.length)
	}
	warm, err := newChain(fmt.Sprintf("bench:warm%d-r%d", plan.number, round), key)
	if err != nil {
		return sample{}, err
	}
	if _, err := p.publish(warm.release(warg.Sum(content)), content); err != nil {
		return sample{}, err
	}
	ahead := min(mostPerWriter, int(plan.length.Seconds()*20_000)/c.writers)
	return publishLoad(p, chains, content, ahead, plan.length)
}

// syncsPerPublish runs one more round with a tracer attached, which slows the
// server down, so that round's times do not count.
func syncsPerPublish(s *server, c publishCase, plan publishPlan) (string, error) {
	counter := countSyncs(s)
	one, err := publishRound(s, c, plan, plan.rounds)
	return counter.perOperation(one.requests), err
}

// syncCounter counts a process's syncs with strace, if it is installed.
type syncCounter struct {
	cmd *exec.Cmd
	out *strings.Builder
}

// countSyncs attaches to the server's process.
func countSyncs(s *server) *syncCounter {
	c := &syncCounter{out: new(strings.Builder)}
	if _, err := exec.LookPath("strace"); err != nil {
		return c
	}
	c.cmd = exec.Command("strace", "-f", "-c", "-U", "calls,name", "-e", "trace=fsync,fdatasync,msync,syncfs,sync_file_range",
		"-p", strconv.Itoa(s.cmd.Process.Pid))
	c.cmd.Stderr = c.out
	if c.cmd.Start() != nil {
		c.cmd = nil
	}
	return c
}

// perOperation detaches and renders the syncs per operation.
func (c *syncCounter) perOperation(operations int) string {
	if c.cmd == nil || operations == 0 {
		return "strace is not installed"
	}
	_ = c.cmd.Process.Signal(os.Interrupt)
	_ = c.cmd.Wait()
	calls := 0
	for scanner := bufio.NewScanner(strings.NewReader(c.out.String())); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		if len(fields) == 2 && fields[1] != "total" {
			n, _ := strconv.Atoi(fields[0])
			calls += n
		}
	}
	return fmt.Sprintf("%.3f", float64(calls)/float64(operations))
}
