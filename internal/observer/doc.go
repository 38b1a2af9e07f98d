// Package observer judges a registry from outside. It shares no code with the rest of
// the module: it reads HTTP, hashes and verifies by itself, so that a mistake that the
// registry makes twice is still seen.
//
// An [Observer] keeps every checkpoint that it was ever shown and everything that
// clients were ever told is done, in a file that is synced before it counts.
// [Observer.Look] asks for the checkpoint, as often as one likes; [Observer.Review]
// fetches the ledger, computes the roots of every length at which a checkpoint was
// shown, looks for everything that was acknowledged, and asks for proofs as a client
// does: that each checkpoint extends the one shown before it, and that what was published
// is in both trees. What is found wrong is counted in a [Verdict], in three kinds:
//
//	lost     what was acknowledged is not there
//	forks    two checkpoints that cannot both be true, or time that goes back
//	corrupt  an answer that is not what was signed, sent, or shown before
package observer
