package warg

// LogID identifies a log within a registry. It does not name the registry: the
// operator logs of all registries share one id, and so do packages of one name.
type LogID Digest

// RecordID identifies a record by its content bytes. It covers neither the
// signing key nor the signature.
type RecordID Digest

// OperatorLogID is the id of every registry's operator log.
var OperatorLogID = LogID(Sum([]byte(tagOperatorLogID)))

// PackageLogID derives the id of the log of the named package.
func PackageLogID(name PackageName) LogID {
	b := append([]byte(tagPackageLogID), tagPackageName...)
	return LogID(Sum(appendStr(b, name.String())))
}

// OperatorRecordID derives the id of an operator record from its content bytes.
func OperatorRecordID(content []byte) RecordID {
	return RecordID(Sum([]byte(tagOperatorRecordID), content))
}

// PackageRecordID derives the id of a package record from its content bytes.
func PackageRecordID(content []byte) RecordID {
	return RecordID(Sum([]byte(tagPackageRecordID), content))
}

// ParseLogID reads the text form of a log id; the length is checked.
func ParseLogID(s string) (LogID, error) {
	d, err := ParseDigest(s)
	return LogID(d), err
}

// ParseRecordID reads the text form of a record id; the length is checked.
func ParseRecordID(s string) (RecordID, error) {
	d, err := ParseDigest(s)
	return RecordID(d), err
}

// String returns the text form.
func (id LogID) String() string { return Digest(id).String() }

// String returns the text form.
func (id RecordID) String() string { return Digest(id).String() }

// MarshalText implements [encoding.TextMarshaler].
func (id LogID) MarshalText() ([]byte, error) { return Digest(id).MarshalText() }

// MarshalText implements [encoding.TextMarshaler].
func (id RecordID) MarshalText() ([]byte, error) { return Digest(id).MarshalText() }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *LogID) UnmarshalText(b []byte) error { return (*Digest)(id).UnmarshalText(b) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *RecordID) UnmarshalText(b []byte) error { return (*Digest)(id).UnmarshalText(b) }

// Leaf is one entry of a registry log: that the record was accepted into the log.
type Leaf struct {
	LogID    LogID
	RecordID RecordID
}

// LogValue returns the value of the leaf in the verifiable log, 160 bytes.
func (l Leaf) LogValue() []byte {
	b := make([]byte, 0, len(tagLogLeaf)+2*(1+digestTextLen))
	b = append(b, tagLogLeaf...)
	b = appendDigestStr(b, Digest(l.LogID))
	return appendDigestStr(b, Digest(l.RecordID))
}

// MapKey returns the key of the leaf's log in the verifiable map: the raw bytes
// of the log id.
func (l Leaf) MapKey() []byte { return l.LogID[:] }

// MapValue returns the value of the log's entry in the verifiable map, 88 bytes.
func (l Leaf) MapValue() []byte { return MapValue(l.RecordID) }

// MapValue returns the verifiable map's value for a log whose latest record is id.
func MapValue(id RecordID) []byte {
	b := make([]byte, 0, len(tagMapLeaf)+1+digestTextLen)
	return appendDigestStr(append(b, tagMapLeaf...), Digest(id))
}
