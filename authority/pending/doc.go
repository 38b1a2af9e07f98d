// Package pending keeps what the authority has promised to look at: records that
// were accepted and are not yet in the journal, and records that were rejected.
//
// Entries are frames of segment files. A payload begins with its kind:
//
//	1 accepted   8 bytes time, 1 byte name length, name, envelope in protobuf form
//	2 rejected   8 bytes time, 32 log id, 32 record id, reason
//	3 carried    nothing: everything alive in older segments stands before this
//
// Times are nanoseconds since the Unix epoch. Only the newest segment matters for
// what is alive. When it is full the next one begins with what is alive, then the
// frame "carried"; after that the old one is replaced by a segment of kind
// Rejected with just its rejections, or removed if it has none. A newest segment
// without "carried" was being made when the process ended and is removed.
//
// What was published needs no entry: the journal says so. An accepted record that
// is found in the journal, or rejected, is simply no longer alive.
//
// Everybody who waits for an entry to be durable shares one sync: whoever comes
// while a sync runs is written and synced together with the others right after.
//
// A frame that cannot be read is passed over. It may be half an entry that nobody
// was told about; if it is damage, then the submission is lost and its publisher,
// who sees that, sends it again.
package pending
