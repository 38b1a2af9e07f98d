package logstate

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// Permission is a permission of a log; it prints its name on the wire.
type Permission interface {
	~uint8
	fmt.Stringer
}

// Core is the part of a log's state that both kinds of log have. The zero value
// is the state of an empty log.
//
// A record is applied between Begin and Seal. If anything in between fails, Undo
// restores what was there before; so a record costs as much as its own entries,
// however long the log is.
type Core[P Permission] struct {
	initialized bool
	hasHead     bool
	head        warg.RecordID
	time        warg.Timestamp
	keys        Table[warg.KeyID, warg.PublicKey] // never shrinks
	permissions Table[warg.KeyID, Set[P]]

	mark    mark
	changed []change[P] // permissions changed in place since Begin, oldest first
}

// mark is what Begin found.
type mark struct {
	initialized       bool
	keys, permissions int
}

// change is a permission set as it was before it changed.
type change[P Permission] struct {
	at  int
	old Set[P]
}

func recordErr(label, format string, args ...any) error {
	return &warg.RecordError{Label: label, Msg: fmt.Sprintf(format, args...)}
}

// Begin starts a record: it checks that f follows the head.
func (c *Core[P]) Begin(f Frame) error {
	c.mark = mark{c.initialized, c.keys.Len(), c.permissions.Len()}
	c.changed = c.changed[:0]
	switch {
	case !c.hasHead && f.Prev != nil:
		return recordErr(warg.LabelPreviousHashOnFirstRecord, "the first record contained a previous hash value")
	case c.hasHead && f.Prev == nil:
		return recordErr(warg.LabelNoPreviousHashAfterInit, "non-initial record contained no previous hash")
	case c.hasHead && *f.Prev != warg.Digest(c.head).AnyHash():
		return recordErr(warg.LabelRecordHashDoesNotMatch, "previous record hash does not match")
	case f.Version != 0:
		return recordErr(warg.LabelProtocolVersionNotAllowed, "protocol version %d not allowed", f.Version)
	case c.hasHead && f.Time.Compare(c.time) < 0:
		return recordErr(warg.LabelTimestampLowerThanPrevious, "record has lower timestamp than previous")
	}
	return nil
}

// Undo takes back everything since Begin.
func (c *Core[P]) Undo() {
	for _, ch := range slices.Backward(c.changed) {
		c.permissions.Set(ch.at, ch.old)
	}
	c.changed = c.changed[:0]
	c.permissions.Truncate(c.mark.permissions)
	c.keys.Truncate(c.mark.keys)
	c.initialized = c.mark.initialized
}

// Signing is what a record is checked against when its entries are done.
type Signing struct {
	ID     warg.RecordID
	KeyID  warg.KeyID
	LogIs  string                     // "package" or "operator", for the error's text
	Verify func(warg.PublicKey) error // nil = was verified already
}

// Seal ends a record: it checks the signer and makes the record the head.
func (c *Core[P]) Seal(f Frame, s Signing) error {
	if !c.initialized {
		return recordErr(warg.LabelInitialRecordDoesNotInit, `the initial record is empty and does not "init"`)
	}
	key, ok := c.keys.Value(s.KeyID)
	if !ok {
		return unknownKey(s.LogIs)
	}
	if s.Verify != nil && s.Verify(key) != nil {
		return recordErr(warg.LabelSignatureError, "unable to verify signature")
	}
	c.hasHead, c.head, c.time = true, s.ID, f.Time
	return nil
}

func unknownKey(logIs string) error {
	return recordErr(warg.LabelKeyIDNotRecognized, "the Key ID used to sign this envelope is not known to this %s log", logIs)
}

// Touched returns the ids of the keys whose permissions changed since Begin, even
// if they changed back; some may occur twice.
func (c *Core[P]) Touched() []warg.KeyID {
	var ids []warg.KeyID
	for _, ch := range c.changed {
		ids = append(ids, c.permissions.keys[ch.at])
	}
	return ids
}

// Clone returns a state that shares nothing with c.
func (c *Core[P]) Clone() Core[P] {
	n := *c
	n.keys, n.permissions = c.keys.Clone(), c.permissions.Clone()
	n.changed = slices.Clone(c.changed)
	return n
}
