package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// readConns is the number of keep-alive connections of a read load.
const readConns = 16

// read is one path of the read benchmark; request renders it for a server.
type read struct {
	name    string
	goal    string
	request func(addr string, f facts) []byte
}

// facts are what a read needs to know of a seeded server.
type facts struct {
	length       uint64
	small, large warg.Digest
	heads        []uint64 // registry indexes of the heads of the packages
}

var reads = []read{
	{"fetch/checkpoint", "≤ 0.6×", func(addr string, f facts) []byte { return get(addr, "/v1/fetch/checkpoint") }},
	{"fetch/logs, 1 package", "≤ 0.6×", func(addr string, f facts) []byte { return post(addr, "/v1/fetch/logs", logsBody(f, 1)) }},
	{"fetch/logs, 50 packages", "≤ 0.3×", func(addr string, f facts) []byte { return post(addr, "/v1/fetch/logs", logsBody(f, packages)) }},
	{"proof/inclusion, 5 leaves", "≤ 0.2×", func(addr string, f facts) []byte {
		return post(addr, "/v1/proof/inclusion", encode(map[string]any{"logLength": f.length, "leafs": f.heads[:5]}))
	}},
	{"proof/consistency", "≤ 0.7×", func(addr string, f facts) []byte {
		return post(addr, "/v1/proof/consistency", encode(map[string]any{"from": f.length / 2, "to": f.length}))
	}},
	{"content 32 KiB", "≤ 0.2×", func(addr string, f facts) []byte { return get(addr, "/content/sha256-"+f.small.Hex()) }},
	{"content 1 MiB", "≤ 0.25×", func(addr string, f facts) []byte { return get(addr, "/content/sha256-"+f.large.Hex()) }},
}

func logsBody(f facts, n int) []byte {
	logs := map[string]any{}
	for i := range n {
		name, err := warg.ParsePackageName(fmt.Sprintf("bench:p%d", i))
		if err != nil {
			panic(err) // the text is made above
		}
		logs[name.LogID().String()] = nil
	}
	return encode(map[string]any{"logLength": f.length, "packages": logs})
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers always encode
	}
	return b
}

func benchReads(o options) error {
	p, err := startPair(o)
	if err != nil {
		return err
	}
	defer p.stop()
	key, err := warg.GenerateKey()
	if err != nil {
		return err
	}
	small, large := noise(32<<10), noise(1<<20)
	known := map[*server]facts{}
	for _, s := range p.each() {
		if err := seed(s.addr, key, small, large); err != nil {
			return fmt.Errorf("seeding %s: %w", s.name, err)
		}
		if known[s], err = learn(s.addr, warg.Sum(small), warg.Sum(large)); err != nil {
			return err
		}
	}
	fmt.Printf("%d connections, %d rounds of %v, median [least–greatest]\n\n", readConns, o.rounds, o.length)
	fmt.Println("| path | server | rate | p50 | p99 | CPU per request | CPU ratio | goal |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- |")
	for _, r := range reads {
		if err := compare(o, p, r, known); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// compare runs one path on both servers in turn and prints two rows.
func compare(o options, p *pair, r read, known map[*server]facts) error {
	samples := map[*server][]sample{}
	for range o.rounds {
		for _, s := range p.each() {
			l := load{s.addr, r.request(s.addr, known[s]), readConns, o.length}
			one, err := l.run(s.cpu)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			samples[s] = append(samples[s], one)
		}
	}
	cpu := func(s sample) time.Duration { return s.cpu }
	ratio := float64(median(column(samples[p.ours], cpu))) / float64(median(column(samples[p.reference], cpu)))
	for _, s := range p.each() {
		mine, last, goal := samples[s], "", ""
		if s == p.ours {
			last, goal = fmt.Sprintf("**%.2f×**", ratio), r.goal
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", r.name, s.name,
			spread(column(mine, func(s sample) float64 { return s.rate }), perSec),
			spread(column(mine, func(s sample) time.Duration { return s.p50 }), millis),
			spread(column(mine, func(s sample) time.Duration { return s.p99 }), millis),
			spread(column(mine, cpu), micros), last, goal)
	}
	return nil
}

// learn asks a seeded server for its length and the heads of its packages.
func learn(addr string, small, large warg.Digest, headers ...string) (facts, error) {
	f := facts{small: small, large: large}
	var checkpoint struct {
		Contents struct {
			LogLength uint64 `json:"logLength"`
		} `json:"contents"`
	}
	if err := ask(http.MethodGet, addr, "/v1/fetch/checkpoint", nil, &checkpoint, headers...); err != nil {
		return f, err
	}
	f.length = checkpoint.Contents.LogLength
	var logs struct {
		Packages map[string][]struct {
			RegistryIndex uint64 `json:"registryIndex"`
		} `json:"packages"`
	}
	if err := ask(http.MethodPost, addr, "/v1/fetch/logs", logsBody(f, packages), &logs, headers...); err != nil {
		return f, err
	}
	for _, records := range logs.Packages {
		f.heads = append(f.heads, records[len(records)-1].RegistryIndex)
	}
	return f, nil
}

// ask makes a request. headers are "Name: value".
//
// size: six parameters, each of another kind.
func ask(method, addr, path string, body []byte, into any, headers ...string) error {
	p := newPublisher(addr, 1, 0)
	answer, err := p.do(method, p.base+path, body, headers...)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return json.Unmarshal(text, into)
}

// noise makes content that does not compress and differs between runs.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}
