// Package audit keeps what was decided, in a log that shows whether a line of it was
// lost or changed.
//
// The log is a file of JSON objects, one a line, and the full files before it:
//
//	audit.log.000001, audit.log.000002, …, audit.log
//
// A line begins with the SHA-256 of the line before it, without its line feed, and its
// own number; the very first line has zeros there. The chain runs on from file to file:
//
//	{"prev":"9f86…","n":17,"time":"2026-11-26T10:00:00Z","event":"published","package":"acme:tool",…}
//
// Every [Log.Record] is one write and one fdatasync, and returns when its lines are
// durable. So a crash can leave one unfinished write at the very end. What is there
// behind the last good line counts as such, and is cut off when the next line is
// written, if it has no line feed, or has bytes of zero where a page never reached the
// disk; the next line then says how many bytes were cut. Nothing else is ever changed:
// a file with any other damage is set aside as it stands, and the log goes on in a new
// one, which says so.
//
// The first line that a server writes, and then one a day, is followed by a line of kind
// [Signed]: the operator's key signs number and hash of the line before it, and so all
// lines up to there.
//
// Who can write to the files can make up a log of his own from any line on, as far as he
// need not sign, and cut off its end. The number
// and hash of the last line are therefore said in the server's own log at every start
// and stop and once a day, to be kept elsewhere; [Verify] finds them again. Of what is
// published the log is complete: the numbers of the registry's records have no gap, and
// a line that a crash kept from being written is added at the next start.
package audit
