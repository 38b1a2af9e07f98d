//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What a request to a registry is about, as far as a tap tells requests apart.
const (
	aboutCheckpoint = "checkpoint"
	aboutLogs       = "logs"
	aboutLedger     = "ledger"
	aboutProof      = "proof"
	aboutContent    = "content" // the bytes, on their way down
	aboutPublish    = "publish"
	aboutUpload     = "upload" // the bytes, on their way up
	aboutRest       = "rest"
)

// tap stands between a registry and whoever asks it, and does what a bad network, a
// bad mirror or a bad operator could do. It is honest until a fault is turned on.
// Clients see nothing of what is behind it: the registry's own address in its answers
// becomes that of the tap.
type tap struct {
	url    string
	behind string // URL of the registry
	key    string // its operator key, with which a bad operator would sign
	passage

	mu      sync.Mutex
	fault   fault
	changed chan struct{}              // closed when another fault is turned on
	waiting int                        // requests that are held in the middle of their answer
	signed  map[uint64]json.RawMessage // a checkpoint of each length that was seen
}

// answer is an answer on its way through a tap.
type answer struct {
	about  string
	asked  []byte // the request's body
	status int
	header http.Header
	body   []byte
	broken bool // the connection breaks in the middle of the body
	held   bool // the second half of the body waits until another fault is turned on
	silent bool // the connection breaks before the first byte
}

// openTap opens a tap in front of a registry.
func openTap(behind, key string) (*tap, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &tap{
		url: "http://" + listener.Addr().String(), behind: behind, key: key,
		changed: make(chan struct{}), signed: map[uint64]json.RawMessage{},
	}
	t.server = &http.Server{Handler: t, ReadHeaderTimeout: time.Minute}
	go func() { _ = t.server.Serve(listener) }()
	return t, nil
}

func (t *tap) close() {
	t.turn(fault{})
	_ = t.server.Close()
}

// turn turns a fault on, and the one before it off. Answers that are held go on.
func (t *tap) turn(f fault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault = f
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *tap) current() (fault, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fault, t.changed
}

// holds reports how many answers are held.
func (t *tap) holds() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.waiting
}

func aboutPath(path string) string {
	switch {
	case path == "/v1/fetch/checkpoint":
		return aboutCheckpoint
	case path == "/v1/fetch/logs":
		return aboutLogs
	case strings.HasPrefix(path, "/v1/ledger"):
		return aboutLedger
	case strings.HasPrefix(path, "/v1/proof/"):
		return aboutProof
	case strings.HasPrefix(path, "/content/"):
		return aboutContent
	case strings.HasPrefix(path, "/v1/package/") && strings.HasSuffix(path, "/record"):
		return aboutPublish
	case strings.HasPrefix(path, "/v1/package/") && strings.Contains(path, "/content/"):
		return aboutUpload
	}
	return aboutRest
}

// ServeHTTP implements [http.Handler].
func (t *tap) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, changed := t.current()
	about := aboutPath(r.URL.Path)
	t.note(r)
	body, err := io.ReadAll(io.LimitReader(r.Body, answerLimit))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if f.request != nil {
		body = f.request(t, about, body)
	}
	a, err := t.forward(r, about, body)
	if err != nil {
		panic(http.ErrAbortHandler) // whoever asked sees that nobody answers
	}
	if f.answer != nil {
		f.answer(t, a)
	}
	if a.silent {
		panic(http.ErrAbortHandler)
	}
	t.write(w, a, changed)
}

// forward asks the registry, and remembers its checkpoints.
func (t *tap) forward(r *http.Request, about string, body []byte) (*answer, error) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, t.behind+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = r.Header.Clone()
	request.Header.Set("Accept-Encoding", "identity")
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	got, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return nil, err
	}
	a := &answer{about: about, asked: body, status: response.StatusCode, header: response.Header, body: got}
	if response.Header.Get("Content-Type") == "application/json" {
		a.body = bytes.ReplaceAll(got, []byte(t.behind), []byte(t.url))
	}
	if about == aboutCheckpoint && a.status == http.StatusOK {
		return a, t.remember(a.body)
	}
	return a, nil
}

func (t *tap) remember(signed []byte) error {
	c, err := parseCheckpoint(signed)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signed[c.Contents.LogLength] = slices.Clone(signed)
	return nil
}

// lengths returns the lengths of the checkpoints that were seen, ascending.
func (t *tap) lengths() []uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.signed))
}

func (t *tap) seen(length uint64) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signed[length]
}

// write sends an answer, or as much of it as it is to be.
func (t *tap) write(w http.ResponseWriter, a *answer, changed <-chan struct{}) {
	if a.held && len(a.body) == 0 { // the middle of nothing is before it
		a.held = false
		if t.hold(changed); t.breaksHeld() {
			panic(http.ErrAbortHandler)
		}
	}
	a.header.Del("Transfer-Encoding")
	a.header.Set("Content-Length", strconv.Itoa(len(a.body)))
	maps.Copy(w.Header(), a.header)
	w.WriteHeader(a.status)
	half := len(a.body) / 2
	_, _ = w.Write(a.body[:half])
	if a.broken || a.held {
		_ = http.NewResponseController(w).Flush()
	}
	if a.held {
		t.hold(changed)
		a.broken = t.breaksHeld()
	}
	if a.broken {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(a.body[half:])
}

// hold waits until another fault is turned on.
func (t *tap) hold(changed <-chan struct{}) {
	t.mu.Lock()
	t.waiting++
	t.mu.Unlock()
	<-changed
	t.mu.Lock()
	t.waiting--
	t.mu.Unlock()
}

func (t *tap) breaksHeld() bool {
	f, _ := t.current()
	return f.breaksHeld
}

// newest asks the registry itself how long its log is.
func (t *tap) newest() (uint64, error) {
	address, err := url.JoinPath(t.behind, "v1/fetch/checkpoint")
	if err != nil {
		return 0, err
	}
	client := http.Client{Timeout: readyWithin}
	response, err := client.Get(address)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return 0, err
	}
	c, err := parseCheckpoint(body)
	if err != nil {
		return 0, fmt.Errorf("asking the registry behind the tap: %w", err)
	}
	return c.Contents.LogLength, nil
}
