// Package authority is our own registry: it decides what is published, gives it a
// place in the log, and signs checkpoints. [Authority] implements [warg.Registry]
// and [warg.Publisher].
//
// # The straight line of a publish
//
// [Authority.Publish] judges a record in the caller's goroutine, signature
// included, and makes it durable among the submissions; only then it answers.
// [Authority.Upload] makes content durable. A record that has all its content is
// complete, which is derived by looking and never stored. One goroutine, the
// sequencer, takes whatever is complete as one batch and
//
//	validates it against the heads of the logs
//	appends it to the journal, one sync
//	reads it back and computes both roots from what it read
//	signs a checkpoint and verifies it, and proofs of all that is new, as a client would
//	replaces the anchor, and appends to the anchor's history: now it is issued
//	writes the index
//	shows it to readers
//
// While a batch is on its way the next one gathers; nothing waits for a timer.
//
// # What is true
//
// Package journal (one frame for each leaf), package pending (what was promised)
// and package anchor (what was signed) are files that are synced before anything
// is answered. Package index is derived from them. Opening reads the right edge of
// the journal, compares it with the anchor, and catches up; it does not read
// history.
//
// An error while writing those files leaves their state unknown. The authority then
// stops writing for good, see [Authority.Done]; the next start decides from what is
// on disk. The one exception is a lack of space, met before anything was synced,
// while a record or content is taken in: that is answered and forgotten.
//
// # The fence
//
// If the files do not prove that nobody ever saw more of this registry than we
// know, signing again could make two histories of it. Such an authority opens
// fenced: it never signs and answers publishes with KindUnavailable. Where it is
// certain that nothing newer was issued (the clock is wrong, the registry is
// frozen) reading goes on; otherwise only records and content are served, up to the
// newest checkpoint that is known, and nothing is said not to be there. See [Status].
package authority
