// Package upstream answers for other registries.
//
// A [Client] speaks to a remote registry over HTTP. It bounds every answer in
// bytes and time, connects only to addresses that the operator allows, and sends
// credentials only to the origin they were configured for; but it verifies
// nothing. It implements [warg.Registry] and [warg.Publisher].
//
// A [Replica] verifies. It holds the ledger of one upstream registry, that is all
// leaves of its log, in a [Store], rebuilds both trees itself, and accepts a
// checkpoint only if
//
//   - a key signed it that holds `commit` at that length in the operator log,
//     which was replayed from its first record;
//   - that operator log hangs on the pinned operator key;
//   - both roots of the rebuilt trees are the signed ones;
//   - the log extends everything accepted before.
//
// The accepted head is durable before the first answer that shows it, so the view
// never goes back. It is accepted once the new records of all logs that readers know
// are held as well, so that what could be read stays readable when upstream goes
// away. Records, names and content are fetched when somebody asks, verified, stored,
// and only then served; however many ask, upstream is asked once. When upstream is down, what was verified is served. When it signs two
// statements that cannot both be true, the replica keeps the last good view,
// writes evidence, and believes nothing more until an operator decides.
//
// A [Session] is the same strictness for a program that only wants a few packages
// of a registry, the command line for one: it verifies with the registry's own
// proofs and remembers nothing but the last checkpoint.
//
// There is no path from a socket to a reader that does not go through the store.
package upstream
