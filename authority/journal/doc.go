// Package journal keeps the registry's log in segment files: one frame for each
// leaf, in the order of the registry, operator records included. Together with
// the anchor it is the whole truth about a registry; everything else that answers
// requests can be rebuilt from the two.
//
// A frame's payload is
//
//	 0  8   registry index, big-endian
//	 8  1   kind: 1 operator record, 2 package record
//	 9  1   length of the package name, 0 for an operator record
//	10  n   package name
//	.. 32   log id
//	.. 32   leaf hash: the hash of the log's leaf for log id and record id
//	..      envelope in its protobuf form, up to the end
//
// The leaf hash can be computed from the rest and is nevertheless there: it is
// computed once from the record in memory and a second time from the bytes read
// back, and the two must agree before anything is signed.
//
// Frames below the anchor's length were signed for; damage there is reported as
// such and nothing is repaired. What stands above the anchor is the tail: frames
// of a batch that was written but perhaps never signed for. It may be sequenced
// now or cut off, both are lawful, because nobody was told about it.
package journal
