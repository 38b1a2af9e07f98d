// Package oplog reads, writes and replays operator logs.
//
// The operator log of a registry is a chain of signed records that says which
// keys may sign the registry's checkpoints (permission commit) and which
// namespaces are the registry's own or another's. [Decode] reads the content
// bytes of a record, [Record.Encode] writes them, and a [State] is what the log
// amounts to after some records. A [CommitHistory] answers which keys could sign
// checkpoints at an earlier length of the registry.
//
// The package follows the reference implementation in what it accepts.
package oplog
