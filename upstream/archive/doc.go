// Package archive carries verified state of registries as a file to sites that
// have no network. The archive is a transport: what imports it verifies it exactly
// as if it had come from the registry itself, with the keys that the importing site
// pinned. So an archive has no signature of its own, and who carries it need not be
// trusted.
//
// This comment is the format. All numbers are big endian.
//
// # Parts
//
// An archive is one file, or several of at most a given size for media. Each begins
// with a header of 64 bytes; what follows the headers, joined in the order of the
// parts, is the stream.
//
//	 0  magic  20  "entrepot archive\r\n\x1a\n"
//	20  format  4  1
//	24  part    4  from 0
//	28  sum    32  SHA-256 of the stream before this part
//	60  crc     4  CRC-32C of the 60 bytes before
//
// # Frames
//
// The stream is a sequence of frames: kind 1, size 4, payload of that size, CRC-32C
// 4 of all that. A text is its length 2 and its bytes. A checkpoint is length 8, log
// root 32, map root 32, time 8, key id text, signature text: the values that were
// signed. A record is registry index 8, fetch token text, key id text, signature
// text, and the signed content up to the end of the payload.
//
//	stream    A  registry, by ascending domain…  X
//	registry  R  [ B I… H… ]  K…  L…  O…  { P E… }…  { C D… }…  Z
//
//	A  archive     kind 1 (0 full, 1 delta), registries 4; delta: id 32 of the archive it builds on
//	R  registry    domain text, checkpoint: the newest, to which all of this leads
//	B  base        checkpoint: the newest of this registry in the archives before
//	I  base logs   log 32, records 8, named 1: what those archives have, by ascending log; 16384 a frame
//	H  base content  digest 32: likewise, ascending; 32768 a frame
//	K  checkpoints  older ones, between base and newest, by ascending length; 1024 a frame
//	L  ledger      log 32, record 32: the leaves from the base's length (0) to the newest's; 16384 a frame
//	O  operator    record: every operator record of those leaves
//	P  package     log 32, first 8, count 8, name text (may be empty); by ascending log
//	E  record      the count records of the package log from its first-th on, to its newest
//	C  content     digest 32, size 8; by ascending digest
//	D  bytes       of that content; 262144 a frame
//	Z  registry end  numbers 8 of checkpoints K, leaves, operator records, packages, records, contents, content bytes
//	X  end         SHA-256 of the stream before this frame: the id of the archive
//
// Where a frame holds many things, all but the last of its kind in a row are full.
// A frame that would be empty is left out, as is a B with its I and H for a registry
// that the archives before did not have. A package has records or a name or both;
// the archive carries all records that its log has at the newest checkpoint, or none.
// Content that no record releases may be there; it is as good as its digest.
//
// There is one way to write down a given state, and nothing else in the file: no
// time of export, no name of a machine. The same state makes the same bytes, and
// the id does not depend on how the archive is split.
//
// # Deltas
//
// A delta builds on an archive, full or itself a delta, and lists under B, I and H
// what all those before it carry together, so that a site can tell whether it has
// that. Its ledger begins where that of the base ends, and of package logs that the
// base has it carries the records that follow.
//
// # Reading
//
// [Open] reads every byte once: checksums, order, sizes and digests of content. No
// size is believed before it was compared with a bound and with what is left of the
// file, and content is never in memory. What a [Cargo] answers afterwards is read
// again frame by frame, checksum included. Whether it is true is for the replica
// that imports it to find out; see [Import].
package archive
