// Command release makes what is handed out: static binaries, a list of what is in each
// of them, and a list of checksums. It can also show that the binaries are reproducible.
//
//	go run ./internal/release make  -version v1.2.3 -o dist
//	go run ./internal/release repro -version v1.2.3
//
// The bytes of a binary depend on the files that are tracked, the version, the platform
// and the release of Go, and on nothing else: not on the folder, the machine, the time
// or what was built before.
package main
