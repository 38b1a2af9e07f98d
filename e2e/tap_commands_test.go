//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// heldWithin bounds how long a request may take to arrive at a tap that holds it.
const heldWithin = 30 * time.Second

// tap NAME UPSTREAM opens an honest tap in front of a registry; whoever asks $NAME_URL
// asks the registry through it.
func cmdTap(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "tap NAME UPSTREAM", 2, nil)
	w, name := of(ts), args[0]
	if w.taps[name] != nil || w.home[args[1]] == "" {
		ts.Fatalf("tap %s: the name is taken, or no server %s was started", name, args[1])
	}
	t, err := openTap("http://"+w.home[args[1]], operatorKey(args[1]))
	ts.Check(err)
	w.taps[name] = t
	ts.Setenv(urlVar(name), t.url)
	ts.Setenv(strings.ToUpper(name)+"_PORT", t.url[strings.LastIndexByte(t.url, ':')+1:])
}

// fault NAME FAULT turns a fault on in a tap, and the one before it off; none is a fault
// as well. They stand in faults_test.go.
func cmdFault(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "fault NAME FAULT", 2, nil)
	f, ok := faults()[args[1]]
	if !ok {
		ts.Fatalf("no fault %s", args[1])
	}
	of(ts).tap(ts, args[0]).turn(f)
}

// held NAME waits until a tap holds an answer in the middle.
func cmdHeld(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "held NAME", 1, nil)
	t := of(ts).tap(ts, args[0])
	deadline := time.NewTimer(heldWithin)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for t.holds() == 0 {
		select {
		case <-deadline.C:
			ts.Fatalf("nothing was held within %v", heldWithin)
		case <-tick.C:
		}
	}
}

func (w *world) tap(ts *testscript.TestScript, name string) *tap {
	t, ok := w.taps[name]
	if !ok {
		ts.Fatalf("no tap %s was opened; there are %v", name, slices.Sorted(maps.Keys(w.taps)))
	}
	return t
}
