//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// The priorities of who takes part in a measurement, in the kernel's real-time class: the
// honest clients above the server, so that what they measure is its delay and not their
// own; the attackers below it, but above whatever else the machine does, so that the attack
// has its full strength.
const (
	ofAttackers = 5
	ofServer    = 10
	ofHonest    = 20
)

// machine is this machine as a place to measure at.
type machine struct{ ours bool } // others can be made to wait

// takeMachine makes whatever else runs here wait for the test, where this user may. It is
// given back when the test ends.
func takeMachine(t *testing.T) machine {
	t.Helper()
	self := strconv.Itoa(os.Getpid())
	if exec.Command("chrt", "--all-tasks", "--rr", "--pid", strconv.Itoa(ofHonest), self).Run() != nil {
		t.Log("real-time priorities are not allowed here: what else the machine does is in the figures")
		return machine{}
	}
	t.Cleanup(func() { _ = exec.Command("chrt", "--all-tasks", "--other", "--pid", "0", self).Run() })
	return machine{ours: true}
}

// before returns what stands before a command to run it at a priority, nil for nothing.
func (m machine) before(priority int) []string {
	if !m.ours {
		return []string{"nice", "-n", "19"}
	}
	return []string{"chrt", "--rr", strconv.Itoa(priority)}
}

// shell returns what a shell does before a command to run it at a priority.
func (m machine) shell(priority int) string {
	if !m.ours {
		return ""
	}
	return "chrt --rr --pid " + strconv.Itoa(priority) + " $$;"
}
