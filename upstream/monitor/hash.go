package monitor

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/entrepot/entrepot/warg"
)

// hash is a SHA-256 hash.
type hash = warg.Digest

const leafSize = 64 // bytes of a packed leaf: raw log id, raw record id

// leaf is one entry of a registry's log.
type leaf struct{ logID, recordID hash }

func unpackLeaf(b []byte) leaf {
	return leaf{hash(b[:32]), hash(b[32:leafSize])}
}

// operatorLog is the id of every registry's operator log.
func operatorLog() hash { return sha256.Sum256([]byte("WARG-OPERATOR-LOG-ID-V0")) }

// operatorRecordID is the id of an operator record with the given content.
func operatorRecordID(content []byte) hash {
	return sha256.Sum256(append([]byte("WARG-OPERATOR-LOG-RECORD-V0:"), content...))
}

// text is the form in which hashes go into what is hashed or signed.
func text(h hash) string { return "sha256:" + hex.EncodeToString(h[:]) }

// appendText appends a text behind its length.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// logLeaf is the hash of an entry in the log tree.
func logLeaf(l leaf) hash {
	b := append(make([]byte, 0, 161), 0)
	b = append(b, "WARG-LOG-LEAF-V0"...)
	b = appendText(b, text(l.logID))
	return sha256.Sum256(appendText(b, text(l.recordID)))
}

// mapLeaf is the hash of an entry in the map tree: the latest record of a log.
func mapLeaf(recordID hash) hash {
	b := append(make([]byte, 0, 89), 0)
	b = append(b, "WARG-MAP-LEAF-V0"...)
	return sha256.Sum256(appendText(b, text(recordID)))
}

// mapPath says where in the map tree a log is.
func mapPath(logID hash) hash { return sha256.Sum256(logID[:]) }

// branch is the hash of an inner node of either tree.
func branch(left, right hash) hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:33], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// signedText is what the signature of a checkpoint stands over.
func signedText(c checkpoint) []byte {
	b := []byte("WARG-CHECKPOINT-SIGNATURE-V0:WARG-TIMESTAMPED-CHECKPOINT-V0")
	b = binary.AppendUvarint(b, c.length)
	b = appendText(b, text(c.logRoot))
	b = appendText(b, text(c.mapRoot))
	return binary.AppendUvarint(b, c.timestamp)
}
