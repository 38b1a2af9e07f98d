//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// honestLoad is clients that ask for ordinary things and check every answer.
type honestLoad struct {
	f      *fort
	checks []func(*http.Client) error
	most   int // connections at one time and of one kind; 0: any number
}

type honestResult struct {
	took     []time.Duration
	failures []string
}

// at returns the quantile q.
func (r honestResult) at(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(r.took))
	return s[min(int(q*float64(len(s))), len(s)-1)]
}

// steady returns the quantile q of a usual stretch of the time: the median of that of so
// many stretches, which one hiccup of the machine does not change.
func (r honestResult) steady(q float64, stretches int) time.Duration {
	var each []time.Duration
	for i := range stretches {
		part := honestResult{took: r.took[len(r.took)*i/stretches : len(r.took)*(i+1)/stretches]}
		each = append(each, part.at(q))
	}
	slices.Sort(each)
	return each[len(each)/2]
}

func (r honestResult) String() string {
	return fmt.Sprintf("%d requests, p50 %v, p99 %v, p99.9 %v", len(r.took), r.at(.5), r.at(.99), r.at(.999))
}

func newHonest(f *fort) *honestLoad {
	h := &honestLoad{f: f}
	want := func(method, path, body, has string) {
		h.checks = append(h.checks, func(c *http.Client) error { return ask(c, method, f.base()+path, body, has) })
	}
	want("GET", "/v1/fetch/checkpoint", "", `"logLength"`)
	want("POST", "/v1/fetch/names", `{"packages":[]}`, `"packages"`)
	want("GET", f.small, "", "smsm")
	want("POST", "/v1/proof/consistency", `{"from":1,"to":2}`, `"proof"`)
	return h
}

const (
	// honestEvery is the pause between two requests, whatever became of the first: the
	// load is open, so that a server that stalls is asked as often as one that does not.
	honestEvery = 5 * time.Millisecond

	// honestAtOnce bounds how many wait for an answer, so that a server that hangs does
	// not end the test's own machine.
	honestAtOnce = 2000
)

// run asks for d, each time at the moment that is due, and measures from that moment on.
// Every eighth request takes a connection of its own.
func (h *honestLoad) run(d time.Duration) (all honestResult) {
	keep := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: h.most}}
	fresh := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, MaxConnsPerHost: h.most}}
	defer keep.CloseIdleConnections()
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, honestAtOnce)
	start := time.Now()
	for i := range int(d / honestEvery) {
		due := start.Add(time.Duration(i) * honestEvery)
		time.Sleep(time.Until(due))
		client := keep
		if i%8 == 0 {
			client = fresh
		}
		slots <- struct{}{}
		wg.Go(func() {
			err := h.checks[i/8%len(h.checks)](client)
			took := time.Since(due)
			<-slots
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				all.failures = append(all.failures, err.Error())
				return
			}
			all.took = append(all.took, took)
		})
	}
	wg.Wait()
	return all
}

// ask sends a request and checks that it is answered with 200 and a text in the body.
func ask(c *http.Client, method, url, body, has string) error {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(all), has) {
		return fmt.Errorf("%s %s: %s %.200q, %w", method, url, answer.Status, all, err)
	}
	return nil
}
