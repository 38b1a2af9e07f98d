package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a running process under measurement.
type server struct {
	name string
	addr string
	cmd  *exec.Cmd
	log  *bytes.Buffer
}

// startupLimit bounds how long a server may take to answer its first request.
const startupLimit = 2 * time.Minute

// start runs a server and waits until it answers a checkpoint.
func start(name, addr string, argv []string, env ...string) (*server, error) {
	s := &server{name: name, addr: addr, log: new(bytes.Buffer)}
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = io.Discard, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for end := time.Now().Add(startupLimit); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		answer, err := http.Get("http://" + addr + "/v1/fetch/checkpoint")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return s, nil
			}
		}
		if s.cmd.ProcessState != nil {
			break
		}
	}
	s.stop()
	return nil, fmt.Errorf("%s did not come up: %s", name, s.log)
}

// stopLimit is how long a server may take to stop; the reference waits for idle
// connections without end.
const stopLimit = 10 * time.Second

// stop ends the process gently, then by force, and waits for it.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(stopLimit, func() { _ = s.cmd.Process.Kill() })
	defer force.Stop()
	_ = s.cmd.Wait()
}

// clockTick is the unit of CPU times in /proc: USER_HZ, 100 on every Linux port of Go.
const clockTick = 10 * time.Millisecond

// cpu returns the user and system time that the process has used.
func (s *server) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12 // counted from the state field
	if len(fields) <= stime {
		return 0, errors.New("short /proc stat line")
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err1, err2)
}

// resident returns the process's resident memory in bytes.
func (s *server) resident() (int64, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no VmRSS in /proc status")
}

// freeAddr returns a loopback address that is free now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
