// Package segment reads and writes the files in which the authority keeps what it
// must not lose: sequences of checksummed frames that only grow.
//
// A segment begins with a header of 96 bytes:
//
//	 0  8   magic "EPSEGMNT"
//	 8  2   format version, 1
//	10  1   kind: 1 log, 2 pending, 3 rejected
//	11  1   zero
//	12 32   registry id
//	44  8   number of the segment, from 1
//	52  8   what the first frame has the number of: a registry index in a log
//	60 32   SHA-256 of the previous segment's footer, zero if there is none
//	92  4   CRC-32C of the 92 bytes before
//
// Frames follow without gaps:
//
//	0  4   payload length, 1 to MaxPayload
//	4  4   CRC-32C of the segment's number, the frame's offset, its length (8, 8
//	       and 4 bytes) and the payload
//	8  n   payload
//
// The first zero length, or the end of the file, is the end: a segment is written
// full of zeros some megabytes ahead, so that appending changes neither its size
// nor where it lies on disk, and a sync costs one flush.
//
// A sealed segment ends in a footer, and the file with it:
//
//	 0  4   0xffffffff in the place of a length
//	 4  8   number of frames
//	12 32   SHA-256 of everything before the footer
//	44 32   SHA-256 of the previous segment's footer, as in the header
//	76  1   number of hashes of the right edge, at most 64
//	77 32n  right edge: the hashes of the log's balanced roots after the last frame
//	..  4   CRC-32C of the footer so far
//	..  4   size of the footer in bytes
//	..  8   magic "EPFOOTER"
//
// All numbers are big-endian. A segment appears under its name, eight digits and
// ".seg", only after its header is durable, so a damaged header is damage and
// not an interrupted creation.
package segment
