package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	readyWithin = time.Minute
	readyPoll   = 2 * time.Millisecond
	stopWithin  = time.Minute
	logTail     = 30 // lines of a log that a failure shows
)

// server is a process of the program under test.
type server struct {
	data string
	url  string
	cmd  *exec.Cmd
	log  *os.File      // standard error, appended to over restarts
	from int64         // where in the log this process began
	done chan struct{} // closed when it has ended

	stopped bool // by the clock of a plan
}

// launch says how a server is started.
type launch struct {
	bin  string
	data string
	args []string // beside --data and --listen
	env  []string // beside PATH and HOME
	log  string   // file; "" = data + ".log"

	under []string // a program that runs it, with its arguments
	joins bool     // another one may serve the same folder already
}

// forget removes the address that the last server of a folder left: somebody else may
// have it by now.
func forget(data string) error {
	if err := os.Remove(filepath.Join(data, "run", "listen")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// start starts a server and does not wait for it to be ready. It dies with this program.
func (l launch) start() (*server, error) {
	if !l.joins {
		if err := forget(l.data); err != nil {
			return nil, err
		}
	}
	if l.log == "" {
		l.log = l.data + ".log"
	}
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	end, err := log.Seek(0, 2)
	if err != nil {
		return nil, err
	}
	s := &server{data: l.data, log: log, from: end, done: make(chan struct{})}
	argv := slices.Concat(l.under, []string{l.bin, "serve", "--data", l.data, "--listen", "127.0.0.1:0"}, l.args)
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Dir = filepath.Dir(l.log)
	s.cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + s.cmd.Dir}, l.env...)
	s.cmd.Stderr = log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started the process
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // its status is in ProcessState
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, log.Close())
	}
	return s, nil
}

// errEnded says that a server ended while it was waited for.
var errEnded = errors.New("the server ended")

// ready waits until the server serves and returns true, or has ended: false.
func (s *server) ready(ctx context.Context) error {
	deadline := time.Now().Add(readyWithin)
	client := http.Client{Timeout: readyWithin, Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Now().Before(deadline) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errEnded
		case <-time.After(readyPoll):
		}
		address, err := os.ReadFile(filepath.Join(s.data, "run", "listen"))
		if err != nil || !bytes.HasSuffix(address, []byte("\n")) {
			continue
		}
		s.url = "http://" + strings.TrimSpace(string(address))
		if response, err := client.Get(s.url + "/healthz"); err == nil {
			response.Body.Close()
			return nil
		}
	}
	return fmt.Errorf("not ready after %v", readyWithin)
}

func (s *server) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// signal sends a signal and waits for the end.
func (s *server) signal(sig syscall.Signal) error {
	if s.running() {
		to := s.cmd.Process.Pid
		if sig == syscall.SIGKILL {
			to = -to // what runs it as well
		}
		if err := syscall.Kill(to, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return s.ended(stopWithin)
}

// ended waits for the end.
func (s *server) ended(within time.Duration) error {
	select {
	case <-s.done:
		return nil
	case <-time.After(within):
		return fmt.Errorf("process %d still runs after %v", s.cmd.Process.Pid, within)
	}
}

// kill makes sure that the process is gone and its log closed.
func (s *server) kill() {
	_ = s.signal(syscall.SIGKILL)
	_ = s.log.Close()
}

// status returns how the process ended: an exit code, or the negative of a signal.
func (s *server) status() int {
	state, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && state.Signaled() {
		return -int(state.Signal())
	}
	return s.cmd.ProcessState.ExitCode()
}

// said returns what this process wrote to its log.
func (s *server) said() string {
	text, err := os.ReadFile(s.log.Name())
	if err != nil || int64(len(text)) < s.from {
		return fmt.Sprint(err)
	}
	return string(text[s.from:])
}

func (s *server) tail() string {
	lines := strings.Split(strings.TrimRight(s.said(), "\n"), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-logTail):], "\n\t")
}

// panicked reports whether the process ended by a panic or by the Go runtime.
func (s *server) panicked() bool {
	said := s.said()
	return strings.Contains(said, "\ngoroutine ") || strings.Contains(said, "fatal error:") || strings.Contains(said, "SIGBUS")
}
