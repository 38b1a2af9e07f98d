// Package monitor watches Warg registries from outside and proves them wrong where
// they are.
//
// A [Watcher] asks one registry for its signed checkpoint again and again. It keeps
// every checkpoint it ever saw, and shows of each new one that it fits all earlier
// ones:
//
//   - a key signed it that may sign checkpoints at that length, by an operator log
//     which was replayed from its first record;
//   - the registry's ledger, which the watcher keeps for itself and only ever
//     extends, leads to its log root and to its map root;
//   - the operator records are exactly those that the ledger names;
//   - a registry without a ledger proves instead, each time, that its log extends
//     the log of the longest checkpoint known, and that the operator log ends where
//     it says. Its map is then not rebuilt, and reports say so.
//
// Two signed statements that cannot both be true are a proof of misbehaviour. It is
// written to an evidence file, which anybody can check by [CheckEvidence] with
// nothing but the registry's public key. A registry that was convicted once stays
// so: showing the right log again does not undo that another one was signed.
//
// Watchers of one run share a [Board]. Where several addresses show the same registry,
// that is, one with the same first operator record, each is compared with what the
// others are shown, so a registry that shows them different histories is convicted
// although each of these is without a flaw.
//
// # Why it trusts none of our other code
//
// The watcher is the judge of this module's own registries, and a judge that shares
// a mistake with the accused finds nothing. So hashes, roots, proofs, signatures,
// permissions and the replay of operator logs are written here a second time, from
// the protocol's description and with nothing but the standard library, for
// plainness and not for speed. The packages warg, warg/oplog, warg/api and
// warg/vlog only parse for it: texts, records, bodies and bundles. A test fails if
// more of them is used. The file operations are those of internal/durable.
//
// # State
//
// Each registry has a folder of its own:
//
//	lock        held by the process that watches
//	committed   how much of the next two files counts, with a checksum; replaced last
//	journal     lines "kind JSON checksum", see below; only ever appended to
//	ledger      the leaves, 64 bytes each: raw log id, raw record id
//	evidence/   what the registry was convicted by
//
// The checksum of a journal line covers the checksum of the line before it. What
// lies beyond the committed sizes was being written when the process ended, and is
// cut off. Anything else that does not fit is damage, and the watcher refuses to
// start: a state that was quietly begun anew would have forgotten what the registry
// must answer for. The ledger needs no checksums, since its roots must be the signed
// ones.
//
//	registry    address; the first line
//	record      an operator record
//	seen        a checkpoint that could not be judged yet
//	rebuilt     a checkpoint both of whose roots the ledger led to
//	extended    a checkpoint that was shown to fit by a consistency proof
//	renewed     a checkpoint that was judged before, signed anew
//	dropped     a checkpoint seen earlier that turned out not to be the registry's
//	forked      evidence was written
//
// # Evidence
//
// An evidence file is one JSON object:
//
//	format        1
//	registry      whom it is about, as the finder called it
//	class         "equivocation" or "rewind"
//	reason        for people
//	foundAt       RFC 3339
//	publicKeys    keys of the signers
//	checkpoints   one or two signed checkpoints, as the API has them
//	consistency   a log proof bundle, base64
//	ledger        packed leaves, base64
//	operatorLogs  lists of operator records, each from the first on
//
// It proves one of these; members that a proof does not use must be absent:
//
//   - Two checkpoints of one length with different roots.
//   - Two checkpoints of different lengths and a consistency bundle, whose hashes
//     fold to the log root of the longer checkpoint, and those below the shorter
//     length to another root than the shorter checkpoint's. By its log root the
//     longer checkpoint stands for exactly one list of leaves, so the hashes of its
//     subtrees cannot be made up.
//   - A ledger that leads to the log root of a checkpoint of its length, and to
//     another log or map root than a checkpoint of that or a smaller length has.
//     One checkpoint is enough: its own map root may be the lie.
//   - Two checkpoints of which the shorter was signed later. Since the longer one
//     was signed first, the registry went back.
//
// A signer counts if it is a key that the reader trusts, or if an operator log that
// such a key began ever let it sign checkpoints. Later revocations do not matter
// here: whoever was once let may have signed what clients believed.
//
// The names, reasons and times in the file are not signed. They are not evidence of
// anything.
package monitor
