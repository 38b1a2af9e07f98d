//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// readyWithin bounds a start, journal replay included.
	readyWithin = 30 * time.Second
	// stopWithin bounds a clean stop: what runs is finished, bounded by the server itself.
	stopWithin = 30 * time.Second
	// pollEvery is how often a start is looked at.
	pollEvery = 20 * time.Millisecond
)

// server is one registry process that a script started: ours or the reference.
type server struct {
	name string
	cmd  *exec.Cmd
	log  string        // both output streams, appended to over restarts
	done chan struct{} // closed when the process has ended
	err  error         // what Wait said; read only after done
}

// startServer runs the command with its output appended to the log file. The process is
// placed in a group of its own, so that a Ctrl-C at the terminal reaches only the test, and
// dies with the test, however that ends.
func startServer(name, log string, cmd *exec.Cmd) (*server, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s := &server{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The signal is sent at the end of the thread that started the process.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return s, nil
}

// awaitReady polls until probe returns the base URL of a server that answers.
func (s *server) awaitReady(limit time.Duration, probe func() (string, error)) (string, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		url, err := probe()
		if err == nil {
			return url, nil
		}
		select {
		case <-s.done:
			return "", fmt.Errorf("%s ended before it was ready (%v); its log ends:\n%s", s.name, s.cmd.ProcessState, s.tail())
		case <-deadline.C:
			return "", fmt.Errorf("%s not ready within %v: %w; its log ends:\n%s", s.name, limit, err, s.tail())
		case <-tick.C:
		}
	}
}

// signal sends sig to the process, and to what it started, and waits for the end. The exit status is in the error.
func (s *server) signal(sig syscall.Signal) error {
	if err := s.send(sig); err != nil {
		return err
	}
	return s.awaitEnd(sig)
}

func (s *server) send(sig syscall.Signal) error {
	if err := syscall.Kill(-s.cmd.Process.Pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signalling %s: %w", s.name, err)
	}
	return nil
}

// awaitEnd waits for the end that a signal is to bring.
func (s *server) awaitEnd(sig syscall.Signal) error {
	select {
	case <-s.done:
		return s.err
	case <-time.After(stopWithin):
		return fmt.Errorf("%s still runs %v after %v; its log ends:\n%s", s.name, stopWithin, sig, s.tail())
	}
}

// end is for clean-up: whatever the state, the process is gone afterwards.
func (s *server) end() {
	select {
	case <-s.done:
		return
	default:
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	<-s.done
}

// tail returns the last lines of the log, for failures.
func (s *server) tail() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-40):], "\n\t")
}

// readyByFile is the probe for our own server: the address stands in DATA/run/listen,
// and /readyz answers 200 there.
func readyByFile(data string) func() (string, error) { return answersByFile(data, "/readyz") }

// answersByFile is a probe for our own server at another path.
func answersByFile(data, path string) func() (string, error) {
	return func() (string, error) {
		address, err := os.ReadFile(filepath.Join(data, "run", "listen"))
		if err != nil {
			return "", err
		}
		url := "http://" + strings.TrimSpace(string(address))
		return url, answers(url + path)
	}
}

// readyByAddress is the probe for the reference server, which has no health endpoint.
func readyByAddress(address string) func() (string, error) {
	return func() (string, error) {
		url := "http://" + address
		return url, answers(url + "/v1/fetch/checkpoint")
	}
}

func answers(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

// freeAddress returns a loopback address that nobody listens on now. A server that is
// stopped and started again keeps it, as the clients remember their registry by it.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
