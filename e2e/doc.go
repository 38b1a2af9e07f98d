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
// The stories faults_*, outage_middle, killed_middle and others have a tap between a
// registry and whoever asks it ([tap_test.go]). A script turns one of the faults of
// [faults_test.go] on, shows that a client that meets it alone fails, and then that nobody
// behind us notices while the operator does.
//
// With the tag, a missing tool is a failure that names what to run; nothing is
// skipped. The README's own commands are run as well, to the letter, so that run
// needs 127.0.0.1:8090 for itself. Without the tag there is only a look at the
// README: links, make targets, and that every block of commands says how it is run.
//
// TestHostile, TestDescriptors and TestManyBodies attack one server of ours with thousands of
// connections, with few descriptors and with more bodies than it has memory for; make hostile
// runs their long form.
//
// All traffic stays on loopback. Scripts take free ports, so they run in parallel.
package e2e
