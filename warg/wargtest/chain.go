package wargtest

import (
	"encoding/binary"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// startSeconds is the time of the earliest record that a [Package] makes, in the
// year 2022: long past for any clock that a registry may compare it with.
const startSeconds = 1671221120

// Name returns a package name. It panics on an invalid one.
func Name(text string) warg.PackageName {
	n, err := warg.ParsePackageName(text)
	if err != nil {
		panic("wargtest: " + err.Error())
	}
	return n
}

// Package is a package log in the making. Records are made one after another; each
// is a second later than the one before it. Records of different packages differ
// even where their entries are the same, because they begin at different times:
// the bytes of a record do not hold the package's name.
type Package struct {
	name warg.PackageName
	prev *warg.AnyHash
	time warg.Timestamp
}

// NewPackage returns an empty log of the named package. It panics on an invalid name.
func NewPackage(name string) *Package {
	n := Name(name)
	id := n.LogID()
	const spread = 1 << 24 // seconds, half a year
	offset := binary.BigEndian.Uint32(id[:]) % spread
	return &Package{name: n, time: warg.Timestamp{Seconds: startSeconds + int64(offset)}}
}

// Name returns the package's name.
func (p *Package) Name() warg.PackageName { return p.name }

// LogID returns the id of the package's log.
func (p *Package) LogID() warg.LogID { return p.name.LogID() }

// Next makes the next record of the log and signs it.
func (p *Package) Next(key warg.PrivateKey, entries ...pkglog.Entry) warg.Envelope {
	env := pkglog.Record{Prev: p.prev, Time: p.time, Entries: entries}.Sign(key)
	prev := warg.Digest(env.PackageRecordID()).AnyHash()
	p.prev = &prev
	p.time.Seconds++
	return env
}

// Fork returns a log that goes on from here independently. Its records are half a
// second later than those of the log it comes from.
func (p *Package) Fork() *Package {
	const halfSecond = 500_000_000
	q := *p
	q.time.Nanos += halfSecond
	return &q
}

// Request returns the request that publishes a record of the package.
func (p *Package) Request(env warg.Envelope) warg.PublishRequest {
	return warg.PublishRequest{LogID: p.LogID(), Name: p.name, Record: env}
}

// Init returns the entry that begins a log.
func Init(key warg.PrivateKey) pkglog.Entry { return pkglog.Init{Key: key.Public()} }

// Release returns the entry that releases content as a version. It panics on an
// invalid version.
func Release(version string, content []byte) pkglog.Entry {
	return pkglog.Release{Version: parseVersion(version), Content: warg.Sum(content).AnyHash()}
}

// Yank returns the entry that withdraws a version. It panics on an invalid version.
func Yank(version string) pkglog.Entry { return pkglog.Yank{Version: parseVersion(version)} }

// Grant returns the entry that gives permissions to a key.
func Grant(key warg.PublicKey, permissions ...pkglog.Permission) pkglog.Entry {
	return pkglog.Grant{Key: key, Permissions: permissions}
}

// Revoke returns the entry that takes permissions from a key.
func Revoke(id warg.KeyID, permissions ...pkglog.Permission) pkglog.Entry {
	return pkglog.Revoke{KeyID: id, Permissions: permissions}
}

func parseVersion(text string) warg.Version {
	v, err := warg.ParseVersion(text)
	if err != nil {
		panic("wargtest: " + err.Error())
	}
	return v
}

// Component returns a WebAssembly component that does nothing but hold a text: the
// preamble and one custom section. Different texts make different content.
func Component(text string) []byte {
	const customSection, sectionName = 0, "test"
	body := binary.AppendUvarint(nil, uint64(len(sectionName)))
	body = append(append(body, sectionName...), text...)
	b := append([]byte("\x00asm"), 0x0d, 0, 1, 0, customSection)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}
