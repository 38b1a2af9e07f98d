package warg

import "encoding/binary"

// Domain-separation tags. The irregular colons are the protocol's.
const (
	tagOperatorLogID     = "WARG-OPERATOR-LOG-ID-V0"
	tagPackageLogID      = "WARG-PACKAGE-LOG-ID-V0:"
	tagPackageName       = "WARG-PACKAGE-ID-V0"
	tagOperatorRecordID  = "WARG-OPERATOR-LOG-RECORD-V0:"
	tagPackageRecordID   = "WARG-PACKAGE-LOG-RECORD-V0:"
	tagLogLeaf           = "WARG-LOG-LEAF-V0"
	tagMapLeaf           = "WARG-MAP-LEAF-V0"
	tagCheckpoint        = "WARG-CHECKPOINT-V0"
	tagTimedCheckpoint   = "WARG-TIMESTAMPED-CHECKPOINT-V0"
	signOperatorRecord   = "WARG-OPERATOR-RECORD-SIGNATURE-V0"
	signPackageRecord    = "WARG-PACKAGE-RECORD-SIGNATURE-V0"
	signCheckpointPrefix = "WARG-CHECKPOINT-SIGNATURE-V0"
)

// appendStr appends the protocol's string encoding: the number of UTF-8 bytes
// as unsigned LEB128, then the bytes.
func appendStr(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendDigestStr appends the string encoding of d's text form.
func appendDigestStr(b []byte, d Digest) []byte {
	b = append(b, byte(digestTextLen))
	return d.AppendText(b)
}
