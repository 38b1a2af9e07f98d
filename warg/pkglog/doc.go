// Package pkglog reads, writes and replays package logs.
//
// A package log is a chain of signed records. Each carries entries that name the
// keys that may act on the package, release versions and yank them. [Decode] reads
// the content bytes of a record, [Record.Encode] writes them, and a [State] is
// what a log amounts to after some records: who may do what, which versions are
// released with which content. Every party replays the same rules over the same
// bytes, so nobody needs to be believed.
//
// The package follows the reference implementation in what it accepts, because a
// stricter replica would drop out of logs that others go on with. It therefore
// accepts a record by which a stranger grants nothing to his own key; a registry
// should not let such a record in.
package pkglog
