package main

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// supervisor is the service manager that started this process, if one asked to be told
// how it is: systemd's protocol of datagrams, Type=notify and WatchdogSec.
type supervisor struct {
	socket   string        // "" = nobody asked
	watchdog time.Duration // the process is ended after so long without a sign of life; 0 = never
}

func (p *process) supervisor() supervisor {
	s := supervisor{socket: p.getenv("NOTIFY_SOCKET")}
	if micros, err := strconv.ParseInt(p.getenv("WATCHDOG_USEC"), 10, 64); err == nil && micros > 0 {
		s.watchdog = time.Duration(micros) * time.Microsecond
	}
	return s
}

// What a supervisor is told.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
	notifyAlive    = "WATCHDOG=1"
	notifyStatus   = "STATUS="
)

// tell sends states. A service manager that cannot be told will find out by itself.
func (s supervisor) tell(states ...string) error {
	if s.socket == "" {
		return nil
	}
	name := s.socket
	if abstract, ok := strings.CutPrefix(name, "@"); ok {
		name = "\x00" + abstract
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err == nil {
		_, err = conn.Write([]byte(strings.Join(states, "\n")))
		_ = conn.Close()
	}
	if err != nil {
		return fmt.Errorf("telling the service manager: %w", err)
	}
	return nil
}
