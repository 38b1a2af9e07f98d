package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// load is a closed loop: each connection sends the request, waits for the whole
// answer, and sends it again.
type load struct {
	addr    string
	request []byte
	conns   int
	length  time.Duration
}

// stallLimit is how long after a load's end an answer may still come.
const stallLimit = 15 * time.Second

// sample is what one run of a load showed.
type sample struct {
	requests int
	rate     float64       // requests per second
	p50, p99 time.Duration // of one request
	cpu      time.Duration // server CPU per request
}

// run drives the load against the server whose CPU is read from cpu.
func (l load) run(cpu func() (time.Duration, error)) (sample, error) {
	before, err := cpu()
	if err != nil {
		return sample{}, err
	}
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		first error
	)
	start := time.Now()
	for range l.conns {
		wg.Go(func() {
			times, err := l.loop(start.Add(l.length))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			first = errors.Join(first, err)
		})
	}
	wg.Wait()
	took := time.Since(start)
	after, err := cpu()
	if err = errors.Join(first, err); err != nil {
		return sample{}, err
	}
	if len(all) == 0 {
		return sample{}, errors.New("no request was answered")
	}
	slices.Sort(all)
	return sample{
		requests: len(all),
		rate:     float64(len(all)) / took.Seconds(),
		p50:      quantile(all, 0.50),
		p99:      quantile(all, 0.99),
		cpu:      (after - before) / time.Duration(len(all)),
	}, nil
}

// quantile reads the q-quantile of sorted times.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(float64(len(sorted))*q), len(sorted)-1)]
}

func (l load) loop(end time.Time) ([]time.Duration, error) {
	var times []time.Duration
	for time.Now().Before(end) {
		more, err := l.connection(end)
		times = append(times, more...)
		if err != nil {
			return times, err
		}
	}
	return times, nil
}

// connection asks over one connection until the end, or until the server closes
// it, as servers do after many requests.
func (l load) connection(end time.Time) (times []time.Duration, err error) {
	c, err := net.Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(end.Add(stallLimit)); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(c, 64<<10)
	for last := false; !last && time.Now().Before(end); {
		t := time.Now()
		if _, err := c.Write(l.request); err != nil {
			return times, err
		}
		var status int
		if status, last, err = skipAnswer(r); err != nil {
			return times, err
		}
		if status != 200 {
			return times, fmt.Errorf("status %d for %.60q", status, l.request)
		}
		times = append(times, time.Since(t))
	}
	return times, nil
}

// skipAnswer reads one HTTP/1.1 answer that has a Content-Length and drops its
// body. last says that the server closes the connection behind it.
func skipAnswer(r *bufio.Reader) (status int, last bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 {
		return 0, false, fmt.Errorf("short status line %q", line)
	}
	status, err = strconv.Atoi(string(line[9:12]))
	if err != nil {
		return 0, false, err
	}
	length := -1
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, false, err
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(name, []byte("connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	if length < 0 {
		return 0, false, errors.New("answer without Content-Length")
	}
	_, err = io.CopyN(io.Discard, r, int64(length))
	return status, last, err
}

// get and post render a request that keeps the connection open.
func get(addr, path string, headers ...string) []byte {
	return render("GET", addr, path, nil, headers...)
}

func post(addr, path string, body []byte, headers ...string) []byte {
	return render("POST", addr, path, body, append(headers, "Content-Type: application/json")...)
}

func render(method, addr, path string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, addr)
	for _, h := range headers {
		fmt.Fprintf(&b, "%s\r\n", h)
	}
	if body != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
