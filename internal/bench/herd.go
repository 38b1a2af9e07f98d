package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// herdClients is how many clients want the same package at the same time.
const herdClients = 1000

// herdResources is what a package that is not here needs from its registry, by the
// operation that it is asked for with.
func herdResources() map[string]string {
	return map[string]string{
		"checkpoint":     "1: the checkpoint",
		"ledger":         "1: the list of pages",
		"ledger_records": "1: the page",
		"logs":           "2: operator log, package log",
		"names":          "1: the package's name",
		"sources":        "1: where the content is",
		"content":        "1: the content",
	}
}

// herd lets many clients ask for one package of which the replica has nothing, and
// counts what reaches the upstream.
func (f *federation) herd(options) error {
	content := noise(256 << 10)
	c, err := newChain("bench:herd", f.key)
	if err != nil {
		return err
	}
	s := c.release(warg.Sum(content))
	if _, err := newPublisher(f.up.addr, 1, time.Millisecond).publish(s, content); err != nil {
		return err
	}
	before, err := f.up.requests()
	if err != nil {
		return err
	}
	times, err := f.rush(s.log, warg.Sum(content))
	if err != nil {
		return err
	}
	after, err := f.up.requests()
	if err != nil {
		return err
	}
	fmt.Printf("%d clients at once, each fetches checkpoint, records and %d KiB of content of a package that is not here: p50 %s, p99 %s\n\n",
		herdClients, len(content)>>10, millis(quantile(times, 0.5)), millis(quantile(times, 0.99)))
	fmt.Println("| reached the upstream | requests | goal |")
	fmt.Println("| --- | --- | --- |")
	resources := herdResources()
	for _, op := range slices.Sorted(maps.Keys(after)) {
		if n := after[op] - before[op]; n > 0 || resources[op] != "" {
			fmt.Printf("| %s | %d | %s |\n", op, n, resources[op])
		}
	}
	return nil
}

// rush runs the clients and returns how long each took, sorted.
func (f *federation) rush(log warg.LogID, digest warg.Digest) ([]time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: herdClients}}
	defer client.CloseIdleConnections()
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		times []time.Duration
		first error
	)
	for range herdClients {
		group.Go(func() {
			began := time.Now()
			err := f.install(client, log, digest)
			mu.Lock()
			defer mu.Unlock()
			times, first = append(times, time.Since(began)), errors.Join(first, err)
		})
	}
	group.Wait()
	slices.Sort(times)
	return times, first
}

// install does what a client does for a package it has never seen.
func (f *federation) install(client *http.Client, log warg.LogID, digest warg.Digest) error {
	base := "http://" + f.here.addr
	var checkpoint struct {
		Contents struct {
			LogLength uint64 `json:"logLength"`
		} `json:"contents"`
	}
	if err := fetchJSON(client, http.MethodGet, base+"/v1/fetch/checkpoint", nil, &checkpoint); err != nil {
		return err
	}
	body := encode(map[string]any{"logLength": checkpoint.Contents.LogLength, "packages": map[string]any{log.String(): nil}})
	var logs struct {
		Packages map[string][]json.RawMessage `json:"packages"`
	}
	if err := fetchJSON(client, http.MethodPost, base+"/v1/fetch/logs", body, &logs); err != nil {
		return err
	}
	if len(logs.Packages[log.String()]) != 1 {
		return errors.New("the package's records did not come")
	}
	answer, err := client.Get(base + "/content/" + upDomain + "/sha256-" + digest.Hex())
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || warg.Sum(content) != digest) {
		err = fmt.Errorf("content: %s, %d bytes", answer.Status, len(content))
	}
	return err
}

// fetchJSON asks the replica.
func fetchJSON(client *http.Client, method, url string, body []byte, into any) error {
	request, err := federatedRequest(method, url, body)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, answer.Status, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}
