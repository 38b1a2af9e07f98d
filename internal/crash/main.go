// Command crash ends a registry in every way that a machine can, starts it again, and
// lets an independent observer judge what is left: nothing that was acknowledged may be
// lost, no two checkpoints may contradict each other, and nothing may be served that is
// not what was signed.
//
//	go run ./internal/crash -bin bin/entrepot-failpoints kill
//
// Each suite stands in a file of its own and is a row of the table in suites. The plan
// of a suite comes from a seed, which every failure prints with the command that runs
// it again. `make crash` and `make crash-root` run them all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}
