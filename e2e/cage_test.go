//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// cage is a control group of the kernel that ends whoever is in it and takes more memory
// than it may.
type cage struct {
	dir       string
	counts    string // file with a line "oom_kill N"
	peakBytes string // file with the most that was taken
}

// confine puts a process in a cage of so many bytes. It returns nil where this user may not
// make one, as in most containers; the resident memory is measured in any case.
func confine(t *testing.T, pid int, bytes int64) *cage {
	t.Helper()
	name := fmt.Sprintf("entrepot-e2e-%d", pid)
	for _, c := range []struct {
		parent, limit string
		cage
	}{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes", cage{counts: "memory.oom_control", peakBytes: "memory.max_usage_in_bytes"}},
		{"/sys/fs/cgroup", "memory.max", cage{counts: "memory.events", peakBytes: "memory.peak"}},
	} {
		made := c.cage
		made.dir = filepath.Join(c.parent, name)
		if os.Mkdir(made.dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			_ = os.WriteFile(filepath.Join(c.parent, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
			_ = os.Remove(made.dir)
		})
		if os.WriteFile(filepath.Join(made.dir, c.limit), []byte(strconv.FormatInt(bytes, 10)), 0) == nil &&
			os.WriteFile(filepath.Join(made.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0) == nil {
			return &made
		}
	}
	t.Log("no control group can be made: memory is measured, not enforced")
	return nil
}

// kills returns how many processes the kernel ended for taking too much.
func (c *cage) kills() int {
	text, _ := os.ReadFile(filepath.Join(c.dir, c.counts))
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	return 0
}

// peak returns the most memory that was taken at one time, page cache included, in bytes.
func (c *cage) peak() int64 {
	text, _ := os.ReadFile(filepath.Join(c.dir, c.peakBytes))
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// check reports what became of the process in the cage, if there is one.
func (c *cage) check(t *testing.T) {
	t.Helper()
	if c == nil {
		return
	}
	t.Logf("in a control group of %d MiB: at most %d MiB with the kernel's caches, %d kills", residentLimit>>20, c.peak()>>20, c.kills())
	if c.kills() > 0 || c.peak() == 0 {
		t.Errorf("%d kills; at most %d bytes", c.kills(), c.peak())
	}
}
