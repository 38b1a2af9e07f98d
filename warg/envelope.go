package warg

// Envelope is a record as it travels and is stored: the content bytes that were
// signed, never re-encoded, with the signer's key id and signature. Whether the
// content decodes and the signature holds is decided by pkglog and oplog.
type Envelope struct {
	Content   []byte
	KeyID     KeyID
	Signature Signature
}

// PackageRecordID returns the record's id, if it stands in a package log.
func (e Envelope) PackageRecordID() RecordID { return PackageRecordID(e.Content) }

// OperatorRecordID returns the record's id, if it stands in the operator log.
func (e Envelope) OperatorRecordID() RecordID { return OperatorRecordID(e.Content) }

// RecordID returns the record's id in the log with the given id.
func (e Envelope) RecordID(log LogID) RecordID {
	if log == OperatorLogID {
		return e.OperatorRecordID()
	}
	return e.PackageRecordID()
}
