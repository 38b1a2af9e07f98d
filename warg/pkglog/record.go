package pkglog

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/logstate"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Record is the content of a package record, decoded. It does not name the
// package: only its place in a log does.
type Record struct {
	Prev    *warg.AnyHash // id of the record before it, nil in the first
	Version uint32        // of the protocol; valid records have 0
	Time    warg.Timestamp
	Entries []Entry
}

// Permission is what a key may do in a package log.
type Permission uint8

// The permissions, by their numbers on the wire.
const (
	PermissionRelease Permission = iota + 1
	PermissionYank
)

// allPermissions is what the first signer of a log gets.
func allPermissions() []Permission { return []Permission{PermissionRelease, PermissionYank} }

// String returns the permission's name in JSON.
func (p Permission) String() string {
	switch p {
	case PermissionRelease:
		return "release"
	case PermissionYank:
		return "yank"
	}
	return fmt.Sprintf("permission %d", uint8(p))
}

// Entry is one of [Init], [Grant], [Revoke], [Release] and [Yank].
type Entry interface {
	// variant returns the entry as it stands on the wire.
	variant() logstate.Variant
	// apply changes the state as the entry says, for a record signed by signer.
	apply(s *State, by signer) error
}

// Init begins the log; it is the first entry of the first record. Its key must be
// the one that signs the record, and gets all permissions.
type Init struct{ Key warg.PublicKey }

// Grant makes a key known and gives it permissions, which the signer must hold.
type Grant struct {
	Key         warg.PublicKey
	Permissions []Permission
}

// Revoke takes permissions, which the signer must hold, from a key, which must
// hold them too. The key stays known.
type Revoke struct {
	KeyID       warg.KeyID // as it stands in the record, any text
	Permissions []Permission
}

// Release publishes a version.
type Release struct {
	Version warg.Version
	Content warg.AnyHash // digest of the content; of any length, see [warg.AnyHash.Digest]
}

// Yank withdraws a released version for ever.
type Yank struct{ Version warg.Version }

// The variants of an entry on the wire.
const (
	wireInit = iota + 1
	wireGrant
	wireRevoke
	wireRelease
	wireYank
)

// shapes returns the shape of each variant, in order.
func shapes() []logstate.Shape {
	return []logstate.Shape{
		logstate.ShapePair, logstate.ShapePermissions, logstate.ShapePermissions,
		logstate.ShapePair, logstate.ShapeText,
	}
}

// Decode reads the content bytes of a record. It accepts every encoding that the
// protocol accepts; keep the bytes, for the record's id and signature are over
// them and not over what [Record.Encode] would make of the result.
func Decode(content []byte) (Record, error) {
	var r Record
	frame, err := logstate.DecodeRecord(content, func(m *pb.Reader) error {
		v, err := logstate.DecodeEntry(m, shapes())
		if err != nil {
			return err
		}
		e, err := convert(v)
		r.Entries = append(r.Entries, e)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("decoding package record: %w", err)
	}
	r.Prev, r.Version, r.Time = frame.Prev, frame.Version, frame.Time
	return r, nil
}

// convert judges the fields of an entry.
func convert(v logstate.Variant) (Entry, error) {
	switch v.Num {
	case wireInit:
		key, err := logstate.Init(v.Second, v.First)
		return Init{key}, err
	case wireGrant:
		return convertGrant(v)
	case wireRevoke:
		list, err := logstate.Permissions(v.Permissions, PermissionYank)
		return Revoke{warg.KeyID(v.First), list}, err
	case wireRelease:
		return convertRelease(v)
	default:
		version, err := warg.ParseVersion(v.First)
		return Yank{version}, err
	}
}

func convertGrant(v logstate.Variant) (Entry, error) {
	key, err := warg.ParsePublicKey(v.First)
	if err != nil {
		return nil, fmt.Errorf("reading key of grant: %w", err)
	}
	list, err := logstate.Permissions(v.Permissions, PermissionYank)
	return Grant{key, list}, err
}

func convertRelease(v logstate.Variant) (Entry, error) {
	version, err := warg.ParseVersion(v.First)
	if err != nil {
		return nil, err
	}
	content, err := warg.ParseAnyHash(v.Second)
	if err != nil {
		return nil, fmt.Errorf("reading content of release %s: %w", version, err)
	}
	return Release{version, content}, nil
}

// Encode returns the canonical encoding of the record, which is that of the
// reference implementation. Use it for new records only.
func (r Record) Encode() []byte {
	b := r.frame().Append(nil)
	for _, e := range r.Entries {
		b = e.variant().Append(b)
	}
	return b
}

func (r Record) frame() logstate.Frame {
	return logstate.Frame{Prev: r.Prev, Version: r.Version, Time: r.Time}
}

// Sign encodes and signs the record.
func (r Record) Sign(key warg.PrivateKey) warg.Envelope {
	content := r.Encode()
	return warg.Envelope{Content: content, KeyID: key.Public().ID(), Signature: key.SignPackageRecord(content)}
}

func (e Init) variant() logstate.Variant {
	return logstate.Variant{Num: wireInit, First: e.Key.String(), Second: logstate.HashAlgorithm}
}

func (e Grant) variant() logstate.Variant {
	return logstate.Variant{Num: wireGrant, First: e.Key.String(), Permissions: logstate.WirePermissions(e.Permissions)}
}

func (e Revoke) variant() logstate.Variant {
	return logstate.Variant{Num: wireRevoke, First: string(e.KeyID), Permissions: logstate.WirePermissions(e.Permissions)}
}

func (e Release) variant() logstate.Variant {
	return logstate.Variant{Num: wireRelease, First: e.Version.String(), Second: e.Content.String()}
}

func (e Yank) variant() logstate.Variant {
	return logstate.Variant{Num: wireYank, First: e.Version.String()}
}
