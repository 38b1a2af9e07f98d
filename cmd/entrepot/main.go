// Command entrepot is a registry for WebAssembly packages that answers on behalf
// of other registries, and the command line for it.
//
// Every subcommand stands in a file of its own; serve.go holds all wiring of the
// server, top to bottom; exit.go says what the exit codes mean. A command is a
// struct that kong fills from the arguments and whose Run method does the work
// with nothing but a [process]: tests run commands in-process by [run].
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	dropRemarks()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], thisProcess()))
}
