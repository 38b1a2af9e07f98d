package authority

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// ForkError says that two checkpoints which our own key signed cannot both be true.
type ForkError struct {
	Peer   string
	Ours   warg.SignedCheckpoint
	Theirs warg.SignedCheckpoint
	// Consistency is set if the lengths differ: a proof, from our trees, that leads from
	// another root than that of Theirs to that of Ours.
	Consistency []byte
}

// Error says of which length they are.
func (e *ForkError) Error() string {
	return fmt.Sprintf("peer `%s` holds another checkpoint of ours at length %d", e.Peer, e.Theirs.Unverified().LogLength)
}

// fencePeers closes the registry until every peer was heard: a copy of yesterday does
// not know what was signed today, but who mirrors us does.
func (a *Authority) fencePeers() {
	if len(a.unheard()) == 0 {
		return
	}
	a.setFence(FencePeers, "not every peer has said yet what it saw of us: %s", strings.Join(a.unheard(), ", "))
}

// unheard returns the peers that did not answer since the start.
func (a *Authority) unheard() []string {
	a.peersMu.Lock()
	defer a.peersMu.Unlock()
	return slices.DeleteFunc(slices.Clone(a.o.Peers), func(p string) bool { return a.heard[p] })
}

// PeerSaw takes a peer's answer: the newest checkpoint of ours that it holds, or nil if
// it holds none. When every peer has answered, and nobody saw more than we know, the
// fence [FencePeers] opens. A checkpoint that our key signed and that we do not know
// fences the registry, whenever it is shown; if it contradicts what we know the error
// is a [*ForkError]. One that does not verify is an error and no answer.
func (a *Authority) PeerSaw(peer string, head *warg.SignedCheckpoint) error {
	if !slices.Contains(a.o.Peers, peer) {
		return warg.Errorf(warg.KindBadRequest, "`%s` is not a peer", peer)
	}
	if head != nil {
		if err := a.weigh(peer, *head); err != nil {
			return err
		}
	}
	a.peersMu.Lock()
	if a.heard == nil {
		a.heard = map[string]bool{}
	}
	a.heard[peer] = true
	a.peersMu.Unlock()
	f := a.fence.Load()
	if f == nil || f.Kind != FencePeers || len(a.unheard()) > 0 {
		return nil
	}
	if why := a.jumped(); why != "" {
		a.fence.CompareAndSwap(f, &Fence{FenceJump, why}) // nobody looked at the clock meanwhile
		return nil
	}
	a.openFence(f, "every peer was heard") // a clock that is behind the sequencer notices before it signs
	a.poke()
	return nil
}

// weigh compares what a peer holds with what we know.
func (a *Authority) weigh(peer string, head warg.SignedCheckpoint) error {
	claims := head.Unverified()
	if err := a.signedByUs(head); err != nil {
		return fmt.Errorf("peer `%s` shows a checkpoint of length %d: %w", peer, claims.LogLength, err)
	}
	last := a.lastIssued()
	switch {
	case claims.LogLength > last.Unverified().LogLength,
		claims.LogLength == last.Unverified().LogLength && claims.Timestamp > last.Unverified().Timestamp && sameRoot(claims, last.Unverified()):
		a.shut("peer `%s` holds a checkpoint of length %d, signed at %d, we know length %d only: run `entrepot recover --from` the peer",
			peer, claims.LogLength, claims.Timestamp, last.Unverified().LogLength)
		return nil
	}
	fork, err := a.forked(peer, head)
	if err != nil {
		return err
	}
	if fork != nil {
		a.shut("peer `%s` holds a checkpoint of length %d that contradicts ours", peer, claims.LogLength)
		return fork
	}
	return nil
}

// shut raises the fence behind which the head is not served, unless it stands: peers
// say the same again and again.
func (a *Authority) shut(format string, args ...any) {
	if f := a.fence.Load(); f == nil || f.Kind != FenceBehind {
		a.setFence(FenceBehind, format, args...)
	}
}

// forked returns the contradiction between a checkpoint that our key signed, which is not
// beyond what we know, and our history; nil if there is none.
func (a *Authority) forked(peer string, head warg.SignedCheckpoint) (*ForkError, error) {
	claims := head.Unverified()
	ours, ok, err := a.issuedAt(claims.LogLength)
	if err != nil {
		return nil, err
	}
	fork := &ForkError{Peer: peer, Ours: ours, Theirs: head}
	if ok {
		if sameRoot(claims, ours.Unverified()) {
			return nil, nil //nolint:nilnil // no contradiction
		}
		return fork, nil
	}
	// A healed registry does not have the checkpoints again that were signed on the way
	// to the one it was healed to. What the log was at that length it knows.
	view := a.view.Load()
	if view == nil || a.index == nil || claims.LogLength == 0 {
		return nil, nil //nolint:nilnil // behind a fence already
	}
	root, proof, err := a.logRootAt(claims.LogLength, view.Checkpoint.LogLength)
	if err != nil {
		return nil, a.internal("comparing with a peer", err)
	}
	if root.AnyHash() == claims.LogRoot {
		return nil, nil //nolint:nilnil // no contradiction
	}
	fork.Ours, fork.Consistency = view.Signed, proof
	return fork, nil
}

func sameRoot(a, b warg.CheckpointClaims) bool {
	return a.LogLength == b.LogLength && a.LogRoot == b.LogRoot && a.MapRoot == b.MapRoot
}

// signedByUs returns an error unless a checkpoint was signed by the key in use, or by
// one that held commit at that length.
func (a *Authority) signedByUs(head warg.SignedCheckpoint) error {
	key := a.o.Key.Public()
	if head.KeyID() != a.keyID {
		known, ok := a.ops.committer(head.KeyID(), head.Unverified().LogLength)
		if !ok {
			return fmt.Errorf("key `%s` does not sign for this registry", head.KeyID())
		}
		key = known
	}
	_, err := head.Open(key)
	return err
}

// lastIssued returns the newest checkpoint that we know to have issued, a zero one if
// there is none.
func (a *Authority) lastIssued() warg.SignedCheckpoint {
	if v := a.view.Load(); v != nil {
		return v.Signed
	}
	return warg.SignedCheckpoint{}
}

// issuedAt returns the checkpoint of a length from the history.
func (a *Authority) issuedAt(length uint64) (warg.SignedCheckpoint, bool, error) {
	if a.history == nil {
		return warg.SignedCheckpoint{}, false, errors.New("the history of checkpoints is not open")
	}
	c, _, ok, err := a.history.Find(length)
	return c, ok, err
}
