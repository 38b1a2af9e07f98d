// Package anchor keeps what was ever signed: the last issued checkpoint in the
// file "anchor", and every one before it in "anchor.log". Together with the
// operator's key these are the files that are trusted; whoever can change them
// can make the registry sign a second history.
//
// The anchor is a text of lines, each a word and its value, closed by the SHA-256
// of all lines before the last:
//
//	entrepot-anchor 1
//	registry  <id of the registry, 64 hexadecimal digits>
//	domain    <domain>
//	previous  <SHA-256 of the anchor before this one, zeros in the first>
//	directory <inode> <birth time, nanoseconds>
//	flags     <"frozen" or "-">
//	key       <key id>
//	length    <number of leaves>
//	log-root  <digest>
//	map-root  <digest>
//	time      <seconds since the Unix epoch>
//	signature <signature of the checkpoint>
//	sum       <SHA-256, 64 hexadecimal digits>
//
// The first anchor of a registry, its genesis, has length 0 and neither roots nor
// time nor signature. It marks that the registry exists and was never signed for;
// it is never served and does not stand in the history.
//
// An anchor is replaced only by compare-and-swap, [File.Swap]: under a lock file
// the file is read and must have the bytes that were last read or written here.
// Two processes that believe to be the same registry cannot both succeed.
//
// anchor.log consists of blocks of 192 bytes: a header (magic "EPANCHOR", version,
// flags, registry id, CRC-32C), then one block for each checkpoint in the order of
// issue. Zeros follow, written ahead, 512 blocks at a time: the end is among that many
// last ones. As blocks have one size, that of any length is found by bisection. The flag
// 1 says that checkpoints were issued that are not in the file any more.
package anchor
