package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// chain signs the records of one package, each naming the one before.
type chain struct {
	name warg.PackageName
	key  warg.PrivateKey
	head *warg.AnyHash
	time time.Time
	n    int
}

func newChain(name string, key warg.PrivateKey) (*chain, error) {
	n, err := warg.ParsePackageName(name)
	return &chain{name: n, key: key, time: time.Now()}, err
}

// submission is a signed record, ready to be posted.
type submission struct {
	log  warg.LogID
	id   warg.RecordID
	body []byte
}

// release signs the next record: a release of content, after an init in the first one.
func (c *chain) release(content warg.Digest) submission {
	var entries []pkglog.Entry
	if c.head == nil {
		entries = append(entries, pkglog.Init{Key: c.key.Public()})
	}
	version, err := warg.ParseVersion(fmt.Sprintf("1.0.%d", c.n))
	if err != nil {
		panic(err) // the text is made above
	}
	entries = append(entries, pkglog.Release{Version: version, Content: content.AnyHash()})
	record := pkglog.Record{Prev: c.head, Time: warg.TimestampOf(c.time), Entries: entries}
	bytes := record.Encode()
	id := warg.PackageRecordID(bytes)
	head := warg.Digest(id).AnyHash()
	c.head, c.n = &head, c.n+1
	body, err := json.Marshal(map[string]any{
		"packageName": c.name.String(),
		"record": map[string]string{
			"contentBytes": base64.StdEncoding.EncodeToString(bytes),
			"keyId":        string(c.key.Public().ID()),
			"signature":    c.key.SignPackageRecord(bytes).String(),
		},
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return submission{c.name.LogID(), id, body}
}

// status is the part of a record's state that a publisher acts on.
type status struct {
	State          string                     `json:"state"`
	Reason         string                     `json:"reason"`
	RegistryIndex  uint64                     `json:"registryIndex"`
	MissingContent map[string]json.RawMessage `json:"missingContent"`
}

// publisher posts records and waits until they are published.
type publisher struct {
	base   string
	client *http.Client
	poll   time.Duration // between two questions for the state
}

func newPublisher(addr string, conns int, poll time.Duration) *publisher {
	transport := &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns}
	return &publisher{"http://" + addr, &http.Client{Transport: transport}, poll}
}

// publish posts one record, uploads content if it is asked for, and returns when
// the registry says published.
func (p *publisher) publish(s submission, content []byte) (status, error) {
	path := fmt.Sprintf("%s/v1/package/%s/record", p.base, s.log)
	st, err := p.exchange(http.MethodPost, path, s.body)
	if err != nil {
		return st, err
	}
	record := path + "/" + s.id.String()
	for digest := range st.MissingContent {
		if _, err := p.exchange(http.MethodPost, record+"/content/"+digest, content); err != nil {
			return st, err
		}
	}
	for {
		if st, err = p.exchange(http.MethodGet, record, nil); err != nil {
			return st, err
		}
		switch st.State {
		case "published":
			return st, nil
		case "rejected":
			return st, errors.New("rejected: " + st.Reason)
		}
		time.Sleep(p.poll)
	}
}

func (p *publisher) exchange(method, url string, body []byte) (st status, err error) {
	answer, err := p.do(method, url, body)
	if err != nil {
		return st, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return st, err
	}
	if answer.StatusCode/100 != 2 {
		return st, fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, text)
	}
	if len(text) == 0 {
		return st, nil
	}
	return st, json.Unmarshal(text, &st)
}

func (p *publisher) do(method, url string, body []byte, headers ...string) (*http.Response, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	return p.client.Do(request)
}

// publishLoad runs writers that publish until end and returns the time of each
// publish. Records are signed before the clock starts, at most ahead per writer.
func publishLoad(p *publisher, chains []*chain, content []byte, ahead int, length time.Duration) (sample, error) {
	digest := warg.Sum(content)
	queues := make([][]submission, len(chains))
	var wg sync.WaitGroup
	for i, c := range chains {
		wg.Go(func() {
			for range ahead {
				queues[i] = append(queues[i], c.release(digest))
			}
		})
	}
	wg.Wait()
	return publishQueues(p, queues, content, length)
}

// publishQueues runs one writer for each queue.
func publishQueues(p *publisher, queues [][]submission, content []byte, length time.Duration) (sample, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	start := time.Now()
	for _, queue := range queues {
		wg.Go(func() {
			times, err := publishAll(p, queue, content, start.Add(length))
			mu.Lock()
			defer mu.Unlock()
			all, first = append(all, times...), errors.Join(first, err)
		})
	}
	wg.Wait()
	return summary(all, time.Since(start)), first
}

// summary describes the times of operations that took a while together.
func summary(all []time.Duration, took time.Duration) sample {
	if len(all) == 0 {
		return sample{}
	}
	slices.Sort(all)
	return sample{
		requests: len(all), rate: float64(len(all)) / took.Seconds(),
		p50: quantile(all, 0.5), p99: quantile(all, 0.99),
	}
}

// publishFresh is publishLoad with content of its own for each release.
func publishFresh(p *publisher, chains []*chain, length time.Duration) (sample, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	start := time.Now()
	for _, c := range chains {
		wg.Go(func() {
			for time.Since(start) < length {
				content := noise(32 << 10)
				s := c.release(warg.Sum(content))
				t := time.Now()
				_, err := p.publish(s, content)
				mu.Lock()
				all, first = append(all, time.Since(t)), errors.Join(first, err)
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return summary(all, time.Since(start)), first
}

func publishAll(p *publisher, queue []submission, content []byte, end time.Time) ([]time.Duration, error) {
	var times []time.Duration
	for _, s := range queue {
		if time.Now().After(end) {
			break
		}
		t := time.Now()
		if _, err := p.publish(s, content); err != nil {
			return times, err
		}
		times = append(times, time.Since(t))
	}
	return times, nil
}
