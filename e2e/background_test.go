//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"flag"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
)

// errand is a program that runs as a client while the script goes on.
type errand struct {
	cmd            *exec.Cmd
	cancel         context.CancelFunc
	stdout, stderr bytes.Buffer
}

// begin NAME PROGRAM [arg…] starts a program as that person and goes on; finish says how
// it has to end. One at a time for each person.
func cmdBegin(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "begin NAME PROGRAM [arg…]", 2, nil)
	w := of(ts)
	if w.errands[args[0]] != nil {
		ts.Fatalf("%s is doing something already", args[0])
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	e := &errand{cmd: w.command(ts, ctx, args), cancel: cancel}
	e.cmd.Stdout, e.cmd.Stderr = &e.stdout, &e.stderr
	if err := e.cmd.Start(); err != nil {
		cancel()
		ts.Fatalf("starting: %v", err)
	}
	w.errands[args[0]] = e
}

// [!] finish [-rc N] NAME waits for what that person began. What it printed and how it
// ended is looked at as with as.
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	rc := 0
	args = flags(ts, false, args, "[!] finish [-rc N] NAME", 1, func(set *flag.FlagSet) {
		set.IntVar(&rc, "rc", 0, "")
	})
	w := of(ts)
	e := w.errands[args[0]]
	if e == nil {
		ts.Fatalf("%s began nothing", args[0])
	}
	delete(w.errands, args[0])
	err := e.cmd.Wait()
	e.cancel()
	_, _ = ts.Stdout().Write(e.stdout.Bytes())
	_, _ = ts.Stderr().Write(e.stderr.Bytes())
	checkExit(ts, err, neg, rc)
}

// end is for clean-up.
func (e *errand) end() {
	e.cancel()
	_ = e.cmd.Wait()
}
