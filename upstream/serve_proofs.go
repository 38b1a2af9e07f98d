package upstream

import (
	"context"
	"errors"

	"github.com/entrepot/entrepot/warg"
)

// Inclusion implements [warg.Registry] from our own trees.
func (r *Replica) Inclusion(ctx context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	v, err := r.current(ctx)
	if err != nil {
		return warg.InclusionProof{}, err
	}
	for _, i := range leaves {
		if i >= v.cp.LogLength {
			return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLeafNotFound, Number: i}
		}
	}
	if length > v.cp.LogLength {
		return warg.InclusionProof{}, &warg.Error{Kind: warg.KindLengthNotFound, Number: length}
	}
	proof, err := r.o.Store.ProveInclusion(length, leaves)
	if _, accepted := r.trusted.at(length); err == nil && !accepted {
		err = &warg.Error{Kind: warg.KindLengthNotFound, Number: length} // our trees have lengths that were never signed
	}
	return proof, r.sound(v, err)
}

// Consistency implements [warg.Registry] from our own trees.
func (r *Replica) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	v, err := r.current(ctx)
	if err != nil {
		return nil, err
	}
	if to > v.cp.LogLength {
		return nil, &warg.Error{Kind: warg.KindLengthNotFound, Number: to}
	}
	proof, err := r.o.Store.ProveConsistency(from, to)
	return proof, r.sound(v, err)
}

// Ledger implements [warg.Registry] from our own copy.
func (r *Replica) Ledger(ctx context.Context, start uint64, max int) ([]byte, error) {
	v, err := r.current(ctx)
	if err != nil || start >= v.cp.LogLength || max <= 0 {
		return nil, err
	}
	packed, err := r.o.Store.Ledger(start, int(min(uint64(max), v.cp.LogLength-start)))
	return packed, r.sound(v, err)
}

// verifyAgain is told to those whose checkpoint cannot be judged yet, in seconds.
const verifyAgain = 60

// VerifyCheckpoint implements [warg.Registry]. A checkpoint that is longer than
// ours, or of a length that was never accepted here, is unverified; a longer one that
// the registry signed begins a refresh. One that contradicts what was accepted here
// proves that the registry has signed two histories, whoever shows it.
func (r *Replica) VerifyCheckpoint(ctx context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	v, err := r.fresh(ctx)
	if err != nil {
		return warg.Verification{}, err
	}
	claims := s.Unverified()
	verdict := warg.Verification{Checkpoint: r.judgeClaims(v, claims), Signature: r.judgeSignature(v, s)}
	if verdict.Checkpoint == warg.Unverified || verdict.Signature == warg.Unverified {
		verdict.RetryAfter = verifyAgain
	}
	if verdict.Signature == warg.Verified && s != v.signed {
		if _, err := r.Witness(ctx, s, nil); err != nil && ClassOf(err) == ClassNone {
			return warg.Verification{}, err
		}
	}
	return verdict, nil
}

func (r *Replica) judgeClaims(v *view, c warg.CheckpointClaims) warg.Verdict {
	if c.LogLength > v.cp.LogLength {
		return warg.Unverified
	}
	if known, ok := r.trusted.at(c.LogLength); ok {
		same := known.view.LogRoot.AnyHash() == c.LogRoot && known.view.MapRoot.AnyHash() == c.MapRoot
		return verdictOf(same)
	}
	edge, err := edgeAt(r.o.Store, c.LogLength)
	if err != nil || c.LogLength == 0 || edge.Root().AnyHash() != c.LogRoot {
		return warg.Invalid
	}
	return warg.Unverified // the log is right; what the map was there we never computed
}

func (r *Replica) judgeSignature(v *view, s warg.SignedCheckpoint) warg.Verdict {
	_, err := v.op.open(s)
	if err == nil {
		return warg.Verified
	}
	// A key that we do not know may be granted by a record beyond our view.
	var refused *Refusal
	later := s.Unverified().LogLength > v.cp.LogLength
	if later && errors.As(err, &refused) && refused.Class == ClassKey {
		return warg.Unverified
	}
	return warg.Invalid
}

func verdictOf(ok bool) warg.Verdict {
	if ok {
		return warg.Verified
	}
	return warg.Invalid
}
