package upstream

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// maxNamed bounds what [named] knows: about 16 bytes of memory for each. What releases
// beyond it name counts as named by nobody.
const maxNamed = 1 << 22

// named knows which content the held records release: upstream signed for it, so that
// it does not have it is not an answer. It is made from the records when upstream
// first denies something, as honest ones never do, and kept up from then on.
type named struct {
	most   int        // keys that are kept
	making sync.Mutex // held while it is made

	mu   sync.Mutex
	keys map[uint64]struct{} // first bytes of digests; nil until it is wanted
	made bool                // all records that were held before are in it
	at   uint64              // those of logs that begin below this index are
}

// namedKey cuts a digest down to what is kept of it. Whoever finds a release with the
// same key is told 502 where 404 would do.
func namedKey(digest warg.Digest) uint64 { return binary.BigEndian.Uint64(digest[:]) }

// isNamed reports whether a held record releases the digest.
func (r *Replica) isNamed(ctx context.Context, digest warg.Digest) (bool, error) {
	n := &r.named
	n.making.Lock()
	defer n.making.Unlock()
	if !n.begin() {
		if err := r.nameAll(ctx); err != nil {
			return false, fmt.Errorf("looking for a release with content `%s`: %w", digest, err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made = n.keys != nil
	_, ok := n.keys[namedKey(digest)]
	return ok, nil
}

// begin has what is stored from now on noted. It reports whether nothing is left to do.
func (n *named) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys == nil {
		n.keys = make(map[uint64]struct{})
	}
	return n.made
}

// nameAll notes what all held records release. Where a reader's time ends before, the
// next goes on.
func (r *Replica) nameAll(ctx context.Context) error {
	for at, end := r.named.reached(), r.o.Store.Trees().LogLength; at < end; {
		packed, err := r.o.Store.Ledger(at, ledgerChunk)
		if err != nil {
			return err
		}
		leaves := unpack(packed)
		if len(leaves) == 0 {
			return errors.New("the store's ledger ends early")
		}
		for _, l := range leaves {
			if err := cmp.Or(ctx.Err(), r.nameLog(l.LogID, at)); err != nil {
				r.named.reach(at)
				return err
			}
			at++
		}
	}
	return nil
}

func (n *named) reached() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at
}

// reach notes how far it is made, unless it was emptied meanwhile.
func (n *named) reach(at uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys != nil {
		n.at = at
	}
}

// nameLog notes what the held records of a log release, if the leaf at an index is the
// first of the log: each log is looked at once, without remembering which were.
func (r *Replica) nameLog(log warg.LogID, at uint64) error {
	first, _, ok, err := r.o.Store.Position(log, 0)
	if err != nil || !ok || first != at || log == warg.OperatorLogID {
		return err
	}
	records, _, err := heldRecords(r.o.Store, log, warg.MaxRegistryLength)
	r.named.add(records)
	return err
}

// add notes what stored records release, if anybody has asked for it. It returns that.
func (n *named) add(records []warg.Record) (digests []warg.Digest) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.keys == nil {
		return nil
	}
	for _, rec := range records {
		releases, _ := pkglog.Releases(rec.Content) // it was decoded before it was stored
		for _, rel := range releases {
			digest, err := rel.Content.Digest()
			if err != nil || len(n.keys) >= n.most {
				continue // a hash of another length names no content that anybody can have
			}
			n.keys[namedKey(digest)] = struct{}{}
			digests = append(digests, digest)
		}
	}
	return digests
}

// forget empties it, because the store was.
func (n *named) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.keys, n.made, n.at = nil, false, 0
}

// stored notes what records that were just stored release, and that upstream denied it
// before it was released says nothing more.
func (r *Replica) stored(records []warg.Record) {
	for _, digest := range r.named.add(records) {
		r.missing.forget(digest)
	}
}

// denied judges that upstream does not have content: of what one of its own releases
// names that is no answer, and to be asked for again later.
func (r *Replica) denied(ctx context.Context, digest warg.Digest, said error) error {
	switch is, err := r.isNamed(ctx, digest); {
	case err != nil:
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: fmt.Sprintf("registry `%s` does not give content `%s`", r.o.Domain, digest), Err: err}
	case is:
		return refuse(ClassAbsence, "registry `%s` lists a release with content `%s`, but does not give that content: %w", r.o.Domain, digest, said)
	}
	return said
}
