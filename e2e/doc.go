// Package e2e proves the built binary with the real clients: warg, wkg and wac as
// their projects released them, the reference warg-server as an upstream, and our
// own command line, each on its own isolated configuration, without an OS keyring
// and without a terminal.
//
// It imports nothing of this module. The stories are the files scripts/*.txtar, one
// user story each, run by testscript with the commands of [commands_test.go] on top.
// Everything that needs the clients is behind the build tag e2e:
//
//	make clients   # once per machine: builds the pinned clients with cargo
//	make e2e       # builds the binary, then go test -tags e2e ./e2e
//
// One story: go test -tags e2e ./e2e -run TestScripts/^federation_hint$ -v
//
// With the tag, a missing tool is a failure that names what to run; nothing is
// skipped. Without the tag only the README's own snippets are run, those that need
// nothing but Go (see readme_test.go).
//
// All traffic stays on loopback. Ports are chosen free for each script, so scripts run
// in parallel and beside a registry of your own.
package e2e
