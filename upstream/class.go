package upstream

import (
	"errors"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Class says what was wrong with an answer of an upstream registry. The set is
// closed, so that refusals can be counted.
type Class uint8

// The classes of refusal.
const (
	ClassNone         Class = iota
	ClassAnswer             // not an answer of the protocol: media type, encoding, syntax, redirect
	ClassEndless            // more bytes, pages or records than any honest answer has
	ClassSlow               // too few bytes for too long
	ClassAddress            // a URL or address that must not be connected to
	ClassSignature          // a signature that does not verify
	ClassKey                // a key that is unknown or may not sign checkpoints at that length
	ClassPin                // the operator log does not hang on the pinned key
	ClassClaims             // a checkpoint that no registry can issue: length, root size, time
	ClassRoots              // the ledger does not lead to the signed roots
	ClassLedger             // leaves are missing or contradict the records
	ClassRecord             // a record that its log does not allow, or not the one in the ledger
	ClassName               // a name whose id is another one
	ClassContent            // bytes with another digest or size
	ClassAbsence            // upstream denies what its own ledger says
	ClassRollback           // an old checkpoint again: a replay, or a replica that lags
	ClassEquivocation       // two signed checkpoints that cannot both be true
	ClassRewind             // a shorter checkpoint signed later than a longer one
	classCount
)

var classText = [classCount]string{
	"none", "answer", "endless", "slow", "address", "signature", "key", "pin", "claims", "roots", "ledger",
	"record", "name", "content", "absence", "rollback", "equivocation", "rewind",
}

// String returns the name under which refusals of the class are counted.
func (c Class) String() string { return classText[min(c, classCount-1)] }

// Classes returns all classes of refusal.
func Classes() []Class {
	all := make([]Class, 0, classCount-1)
	for c := ClassAnswer; c < classCount; c++ {
		all = append(all, c)
	}
	return all
}

// final reports whether the class proves misbehaviour that no retry can undo.
func (c Class) final() bool { return c == ClassEquivocation || c == ClassRewind }

// Refusal is why something that upstream said was not believed.
type Refusal struct {
	Class Class
	Err   error
}

// Error describes the refusal.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// refuse returns an error of kind KindUpstreamInvalid that carries the class.
func refuse(class Class, format string, args ...any) *warg.Error {
	r := &Refusal{class, fmt.Errorf(format, args...)}
	return &warg.Error{Kind: warg.KindUpstreamInvalid, Message: r.Error(), Err: r}
}

// ClassOf returns the class of the refusal in err's chain, or ClassNone.
func ClassOf(err error) Class {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Class
	}
	return ClassNone
}
