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
	ClassProof              // a proof that does not prove what it should
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
	"none", "answer", "endless", "slow", "address", "signature", "key", "pin", "claims", "proof", "roots", "ledger",
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

// Refusal is why something that upstream said was not believed.
type Refusal struct {
	Class    Class
	Err      error
	Evidence []byte // the content of an evidence file, if the class proves misbehaviour
}

// Error describes the refusal, in plain text whatever upstream sent.
func (r *Refusal) Error() string { return printable(r.Err.Error()) }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// refuse returns an error of kind KindUpstreamInvalid that carries the class.
func refuse(class Class, format string, args ...any) *warg.Error {
	r := &Refusal{Class: class, Err: fmt.Errorf(format, args...)}
	return &warg.Error{Kind: warg.KindUpstreamInvalid, Message: r.Error(), Err: r}
}

// EvidenceOf returns the content of an evidence file from err's chain, or nil.
func EvidenceOf(err error) []byte {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Evidence
	}
	return nil
}

// ClassOf returns the class of the refusal in err's chain, or ClassNone.
func ClassOf(err error) Class {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Class
	}
	return ClassNone
}
