package vmap

// Error is a reason why a proof does not hold or cannot be made. Compare with
// errors.Is, which finds it in wrapped errors.
type Error string

// The reasons.
const (
	// ErrMalformed: the bytes are not a bundle.
	ErrMalformed Error = "malformed map proof bundle"
	// ErrTooManySiblings: a proof has more than 256 elements.
	ErrTooManySiblings Error = "map proof has more than 256 elements"
	// ErrNoProofs: no proofs were asked for, and none prove nothing.
	ErrNoProofs Error = "a map proof bundle without proofs proves nothing"
	// ErrMismatch: the bundle does not have as many proofs as were asked for.
	ErrMismatch Error = "map proof bundle is not for what was asked"
	// ErrWrongRoot: the proof leads to another root than the trusted one.
	ErrWrongRoot Error = "map proof leads to another root"
	// ErrNotInMap: there is no entry for the key.
	ErrNotInMap Error = "key is not in the map"
	// ErrCorrupt: a stored node does not have the hash that the node above it gives.
	ErrCorrupt Error = "stored map node has the wrong hash"
)

// Error returns a sentence for people.
func (e Error) Error() string { return string(e) }
