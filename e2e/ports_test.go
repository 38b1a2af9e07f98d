//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// listening returns the sockets on which a process listens: TCP as hexadecimal address and
// port, and the paths of unix sockets.
func listening(t *testing.T, pid int) (tcp, unix []string) {
	t.Helper()
	own := map[string]bool{}
	descriptors, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(descriptors) == 0 {
		t.Fatalf("no descriptors: %v", err)
	}
	for _, fd := range descriptors {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
			own[strings.Trim(to, "socket:[]")] = true
		}
	}
	rows := func(table string) (all [][]string) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			all = append(all, strings.Fields(line))
		}
		return all
	}
	const listen, inodeOfTCP = "0A", 9
	for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
		for _, f := range rows(table) {
			if len(f) > inodeOfTCP && own[f[inodeOfTCP]] && (f[3] == listen || strings.HasPrefix(table, "udp")) {
				tcp = append(tcp, table+" "+f[1])
			}
		}
	}
	const accepts, flags, inodeOfUnix, path = "00010000", 3, 6, 7
	for _, f := range rows("unix") {
		if len(f) > inodeOfUnix && own[f[inodeOfUnix]] && f[flags] == accepts {
			unix = append(unix, strings.Join(f[path:], " "))
		}
	}
	return tcp, unix
}

// TestListeningPorts: the built server listens on the address that it was given and on the
// socket for its operator, which is his alone, and nowhere else; and no page of the
// operator's is at the public address.
func TestListeningPorts(t *testing.T) {
	f := newFort(t, "")
	tcp, unix := listening(t, f.server.cmd.Process.Pid)
	for i := range unix {
		unix[i] = strings.TrimSuffix(unix[i], ".new") // it is made under another name and then put in place
	}
	var port int
	if _, err := fmt.Sscanf(f.addr, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(f.dir, "data", "run", "admin.sock")
	if want := []string{fmt.Sprintf("tcp 0100007F:%04X", port)}; !slices.Equal(tcp, want) || !slices.Equal(unix, []string{socket}) {
		t.Errorf("it listens on %q and %q; want %q and %q", tcp, unix, want, socket)
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the operator's socket: %v, %v", info, err)
	}
	client := &http.Client{Timeout: 10 * time.Second}
	for _, path := range []string{"/metrics", "/statusz", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/debug/requests", "/admin", "/admin/status", "/namespaces", "/freeze", "/.env", "/server-status"} {
		for _, method := range []string{"GET", "POST"} {
			request, err := http.NewRequest(method, f.base()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusNotFound {
				t.Errorf("%s %s: %s", method, path, answer.Status)
			}
		}
	}
}
