package audit

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
)

// killVariable tells the process that TestKill starts which log to write.
const killVariable = "ENTREPOT_TEST_KILL_AUDIT"

// TestKill ends real processes that write a log, in the middle, and looks whether what
// they said to have recorded is there.
func TestKill(t *testing.T) {
	if file := os.Getenv(killVariable); file != "" {
		recordForEver(t, file)
		return
	}
	file := filepath.Join(t.TempDir(), "audit.log")
	const lives, words = 8, 40
	recorded := uint64(0)
	for life := range lives {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killVariable+"="+file)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for heard := 0; heard < words+life && lines.Scan(); heard++ {
			var n uint64
			if _, err := fmt.Sscanf(lines.Text(), "recorded %d", &n); err == nil {
				recorded = n + 1
			}
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // what it said before it died
			var n uint64
			if strings.HasSuffix(lines.Text(), ".") {
				if _, err := fmt.Sscanf(lines.Text(), "recorded %d.", &n); err == nil {
					recorded = n + 1
				}
			}
		}
		_ = cmd.Wait() // killed
		r, findings, err := Verify(VerifyOptions{Path: file})
		must(t, err)
		if len(findings) > 0 || r.To < recorded {
			t.Fatalf("life %d: %d of %d are there, %v", life, r.To, recorded, findings)
		}
	}
	if recorded < lives*words/2 {
		t.Errorf("only %d were recorded", recorded)
	}
	if numbers, err := rotated(durable.OS{}, file); err != nil || len(numbers) < 3 {
		t.Errorf("%d files became full (%v)", len(numbers), err)
	}
}

// recordForEver records and says so until it is killed.
func recordForEver(t *testing.T, file string) {
	l := open(t, Options{Path: file, Max: 8 << 10})
	n, begun := l.Covered()
	if !begun {
		must(t, l.Record(Event{Kind: Begun, Length: Number(0)}))
	}
	for ; ; n++ {
		must(t, l.Record(published(n)))
		fmt.Printf("recorded %d.\n", n)
	}
}
