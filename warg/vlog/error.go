package vlog

// Error is a reason why a proof cannot be made or does not hold. The constants
// are all there are; compare with errors.Is, which finds them in wrapped errors.
// The value is the protocol's name of the condition.
type Error string

// The reasons.
const (
	// ErrLeafTooNew: the node is not part of the log at that length.
	ErrLeafTooNew Error = "LeafTooNew"
	// ErrHashNotKnown: a hash that the proof needs is not in the pool, or, when
	// making a proof, not available from the log.
	ErrHashNotKnown Error = "HashNotKnown"
	// ErrPointsOutOfOrder: a consistency proof from a longer to a shorter log.
	ErrPointsOutOfOrder Error = "PointsOutOfOrder"
	// ErrInclusion: a balanced root of the shorter log is not shown to be in the longer one.
	ErrInclusion Error = "InclusionError"
	// ErrDivergingRoots: the balanced roots of the shorter log lead to different longer logs.
	ErrDivergingRoots Error = "DivergingRoots"
	// ErrNoProofs: nothing to prove, or only that a log extends the empty one.
	ErrNoProofs Error = "NoProofs"
	// ErrMalformed: the bytes are not a bundle, or not one that a producer emits.
	ErrMalformed Error = "Malformed"
	// ErrMismatch: the bundle's proofs are not those that were asked for.
	ErrMismatch Error = "Mismatch"
	// ErrWrongRoot: the proof leads to another root than the trusted one.
	ErrWrongRoot Error = "WrongRoot"
	// ErrTooLong: the length or node number does not fit the 32 bits of a bundle.
	ErrTooLong Error = "TooLong"
)

// Error returns a sentence for people. The texts of the conditions that a
// registry reports to its clients are those that clients already know.
func (e Error) Error() string {
	switch e {
	case ErrLeafTooNew:
		return "leaf newer than when it should be included"
	case ErrHashNotKnown:
		return "Necessary hash not found"
	case ErrPointsOutOfOrder:
		return "tries to prove later value comes before earlier"
	case ErrInclusion:
		return "inclusion failed"
	case ErrDivergingRoots:
		return "consistency proof leads to different roots"
	case ErrNoProofs:
		return "A bundle can not be made from no proofs"
	case ErrMalformed:
		return "malformed log proof bundle"
	case ErrMismatch:
		return "log proof bundle is not for what was asked"
	case ErrWrongRoot:
		return "log proof leads to another root"
	case ErrTooLong:
		return "log is too long for a proof bundle"
	}
	return string(e)
}
