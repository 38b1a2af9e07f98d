package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/entrepot/entrepot/internal/observer"
)

// The suite kernel: of the system calls on files that one publish makes, one fails or
// ends the process. The list of calls comes from a trace of the real server; they are
// made to fail by strace. What was answered must be durable, an error must end the
// server with status 74, and a sync that failed may not be tried again.

// fileCalls are the calls that change files.
const fileCalls = "openat,write,pwrite64,fdatasync,fsync,rename,renameat,renameat2,unlinkat,ftruncate,mkdirat,link,linkat"

const (
	attachWithin = 20 * time.Second
	stopsWithin  = 10 * time.Second // for a server that met an error
)

// call is one call of the trace.
type call struct {
	name string
	path string // relative to the data folder
	nth  int    // of that name on that file, by its thread
}

func (c call) String() string { return fmt.Sprintf("%s %d of %s", c.name, c.nth, c.path) }

// kernelActions are what happens to a call.
func kernelActions() []string { return []string{"error=EIO", "error=ENOSPC", "signal=KILL"} }

func runKernel(ctx context.Context, s *suite) error {
	s.parallel = 1
	k, err := newKernel(s)
	if err != nil {
		return err
	}
	defer func() { s.acknowledged(k.watch.Promises()); _ = k.watch.Close() }()
	calls, err := k.listen(ctx)
	if err != nil {
		return fmt.Errorf("tracing a publish: %w", err)
	}
	const fewest = 12 // calls: a publish cannot do with less
	if len(calls) < fewest {
		return fmt.Errorf("the trace of a publish has %d calls on files: %v", len(calls), calls)
	}
	actions := kernelActions()
	order := k.rng.Perm(len(calls) * len(actions))
	for i := range s.points {
		at := order[i%len(order)]
		c, action := calls[at/len(actions)], actions[at%len(actions)]
		if err := k.fail(ctx, c, action); err != nil {
			return fmt.Errorf("%v, %s: %w", c, action, err)
		}
	}
	return nil
}

// kernel is a registry whose calls fail.
type kernel struct {
	s      *suite
	launch launch
	watch  *observer.Observer
	author *author
	rng    *rand.Rand
}

func newKernel(s *suite) (*kernel, error) {
	k := &kernel{s: s, launch: launch{bin: s.bin, data: filepath.Join(s.dir, "data")}, rng: newRand(s.seed, 0)}
	var err error
	if k.watch, err = observer.Open(filepath.Join(s.dir, "book"), "", ""); err != nil {
		return nil, err
	}
	k.author, err = newAuthor(k.watch, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, k.rng, "local:thing")
	return k, err
}

// traced is a server with a strace attached to it.
type traced struct {
	*server
	strace *exec.Cmd
	out    string
}

// start starts a server, lets it publish twice so that nothing is the first time, and
// attaches strace.
func (k *kernel) start(ctx context.Context, args ...string) (*traced, error) {
	s, err := k.launch.start()
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("%w:\n%s", err, s.tail())
	}
	k.watch.At(s.url)
	v, err := k.watch.Review(ctx, observer.Options{})
	k.s.mu.Lock()
	k.s.verdict.Add(v)
	k.s.mu.Unlock()
	for range 2 {
		if err == nil {
			err = k.release(ctx, s)
		}
	}
	if err != nil || v.Bad() {
		s.kill()
		return nil, fmt.Errorf("before anything failed: %w %v\n%s", err, v.Reasons, s.tail())
	}
	t := &traced{server: s, out: filepath.Join(k.s.dir, "trace")}
	args = append([]string{"-f", "-y", "-s", "0", "-o", t.out, "-p", strconv.Itoa(s.cmd.Process.Pid)}, args...)
	t.strace = exec.Command("strace", args...)
	t.strace.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := t.strace.StderrPipe()
	if err == nil {
		err = t.strace.Start()
	}
	if err != nil {
		s.kill()
		return nil, err
	}
	attached := make(chan error, 1)
	go func() {
		line, err := bufio.NewReader(pipe).ReadString('\n')
		if err == nil && !strings.Contains(line, "attached") {
			err = errors.New(strings.TrimSpace(line))
		}
		attached <- err
		_, _ = io.Copy(io.Discard, pipe)
	}()
	select {
	case err = <-attached:
	case <-time.After(attachWithin):
		err = errors.New("strace does not attach")
	}
	if err != nil {
		t.end()
		return nil, fmt.Errorf("attaching strace: %w", err)
	}
	return t, nil
}

// release publishes a record with content, whatever the author's mood.
func (k *kernel) release(ctx context.Context, s *server) error {
	for {
		with := k.author.flight != nil && k.author.flight.content != nil
		before := k.author.version
		if err := k.author.publish(ctx, s.url); err != nil {
			return err
		}
		if with || k.author.version > before {
			return nil
		}
	}
}

// end ends both.
func (t *traced) end() {
	t.kill()
	_ = t.strace.Wait() // it ends with what it traces
}

var callLine = regexp.MustCompile(`^(\d+)\s+([a-z0-9_]+)\((.*)`)

// listen traces one publish and returns the calls on files of the data folder.
func (k *kernel) listen(ctx context.Context) ([]call, error) {
	t, err := k.start(ctx, "-e", "trace="+fileCalls)
	if err != nil {
		return nil, err
	}
	err = k.release(ctx, t.server)
	t.end()
	if err != nil {
		return nil, err
	}
	trace, err := os.ReadFile(t.out)
	if err != nil {
		return nil, err
	}
	path := regexp.MustCompile(regexp.QuoteMeta(k.launch.data) + `/([^">]*)`)
	seen := map[string]int{}
	var calls []call
	for line := range strings.Lines(string(trace)) {
		found := callLine.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		where := path.FindStringSubmatch(found[3])
		if where == nil || strings.HasPrefix(where[1], "run/") {
			continue
		}
		key := found[1] + found[2] + where[1]
		seen[key]++
		calls = append(calls, call{name: found[2], path: where[1], nth: seen[key]})
	}
	return calls, nil
}

// fail lets one call of one publish fail.
func (k *kernel) fail(ctx context.Context, c call, action string) error {
	// The runtime of Go writes as well, and does not forgive it when that fails: only
	// calls on the one file are touched.
	t, err := k.start(ctx, "-e", "trace="+fileCalls, "-P", filepath.Join(k.launch.data, c.path),
		"-e", fmt.Sprintf("inject=%s:%s:when=%d", c.name, action, c.nth))
	if err != nil {
		return err
	}
	err = k.release(ctx, t.server)
	var status *statusError
	answered := errors.As(err, &status)
	if err != nil && !answered && !errors.Is(err, errGone) {
		t.end()
		return err
	}
	if err != nil || t.failed() && !mayGoOn(c, action) {
		_ = t.ended(stopsWithin) // an error may end it, soon after its answer
	}
	running := t.running()
	t.end()
	trace, readErr := os.ReadFile(t.out)
	if readErr != nil {
		return readErr
	}
	word, fault := judgeCall(t.server, c, action, string(trace), running)
	if word == "late" && c.nth > 1 {
		c.nth = 1 // the first one of any thread surely comes
		return k.fail(ctx, c, action)
	}
	k.s.point(word, observer.Verdict{})
	if fault != nil {
		return fmt.Errorf("%w; the trace ends:\n%s\nthe log:\n%s", fault, last(string(trace)), t.tail())
	}
	return nil
}

// failed reports whether a call was made to fail already.
func (t *traced) failed() bool {
	trace, err := os.ReadFile(t.out)
	return err == nil && strings.Contains(string(trace), "(INJECTED)")
}

// judgeCall judges how the server took it.
func judgeCall(s *server, c call, action, trace string, running bool) (word string, err error) {
	const ioError = 74
	killed := action == "signal=KILL"
	injected := strings.Contains(trace, "(INJECTED)") || killed && s.status() == -int(syscall.SIGKILL) && !running
	switch {
	case s.panicked():
		return "panics", errors.New("the server panicked")
	case !injected:
		return "late", nil // this time another thread made the call
	case killed:
		return "killed", nil
	}
	if _, after, _ := strings.Cut(trace, "(INJECTED)"); c.name == "fsync" || c.name == "fdatasync" {
		again := c.name + "("
		for line := range strings.Lines(after) {
			if strings.Contains(line, again) && strings.Contains(line, c.path+">") {
				return "", errors.New("a sync that failed was tried again")
			}
		}
	}
	switch {
	case !running && s.status() == ioError:
		return "ended with 74", nil
	case !running:
		return "", fmt.Errorf("the server ended with status %d", s.status())
	case mayGoOn(c, action):
		return "went on", nil
	}
	return "", errors.New("the server went on after an error of the disk")
}

// mayGoOn reports whether a server may go on after an error of a call: the index is made
// anew when it is damaged, a file that is not removed or opened is no loss, and a lack of space that a
// write meets is answered with 507.
func mayGoOn(c call, action string) bool {
	switch {
	case strings.Contains(c.path, "index/"), c.name == "unlinkat", c.name == "openat":
		return true
	case action == "error=ENOSPC":
		return c.name != "fsync" && c.name != "fdatasync"
	}
	return false
}

// last returns the last lines of a text.
func last(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-logTail):], "\n\t")
}
