package authority

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

// sign signs a checkpoint and opens it again, as a client does.
func (a *Authority) sign(c warg.Checkpoint) (warg.SignedCheckpoint, error) {
	signed := c.Sign(a.o.Key)
	opened, err := signed.Open(a.o.Key.Public())
	if err == nil && opened != c {
		err = fmt.Errorf("it says %+v, not %+v", opened, c)
	}
	if err != nil {
		return warg.SignedCheckpoint{}, fmt.Errorf("the new checkpoint does not open: %w", err)
	}
	return signed, nil
}

// selfVerify checks with the verifiers that clients use that every new record is
// in the log, that the newest of each touched log is in the map, and that the log
// extends the one that was signed for last.
func (a *Authority) selfVerify(b *batch) error {
	var all, heads []uint64
	newest := map[warg.LogID]uint64{}
	for _, it := range b.items {
		newest[it.frame.Log] = it.frame.Index
	}
	for _, it := range b.items {
		all = append(all, it.frame.Index)
		if newest[it.frame.Log] == it.frame.Index {
			heads = append(heads, it.frame.Index)
		}
	}
	if len(heads) < len(all) {
		if err := a.verifyLeaves(b, all); err != nil {
			return err
		}
	}
	if err := a.verifyHeads(b, heads); err != nil {
		return err
	}
	if a.anchor.IsGenesis() {
		return nil
	}
	from := a.anchor.Signed.Unverified()
	root, err := from.LogRoot.Digest()
	if err != nil {
		return err
	}
	proof, err := b.update.ProveConsistency(from.LogLength)
	if err != nil {
		return err
	}
	return vlog.VerifyConsistency(proof, vlog.Point{Length: from.LogLength, Root: root},
		vlog.Point{Length: b.next.LogLength, Root: b.next.LogRoot})
}

// leaf returns the leaf of the batch's record at a registry index.
func (b *batch) leaf(index uint64) warg.Leaf {
	return b.items[index-b.items[0].frame.Index].frame.Value()
}

func (b *batch) logLeaves(indexes []uint64) []vlog.Leaf {
	list := make([]vlog.Leaf, len(indexes))
	for i, index := range indexes {
		list[i] = vlog.Leaf{Index: index, Value: b.leaf(index).LogValue()}
	}
	return list
}

// verifyLeaves verifies that records are in the log.
func (a *Authority) verifyLeaves(b *batch, indexes []uint64) error {
	proof, err := b.update.ProveLeaves(indexes)
	if err != nil {
		return err
	}
	return vlog.VerifyInclusion(proof, b.next.LogRoot, b.next.LogLength, b.logLeaves(indexes))
}

// verifyHeads verifies that records are in the log and, as the heads of their
// logs, in the map, sharing the work out among the processors.
func (a *Authority) verifyHeads(b *batch, indexes []uint64) error {
	const share = 8 // records worth a goroutine, about 250 µs
	size := max(share, (len(indexes)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	errs := make([]error, (len(indexes)+size-1)/size)
	for n := range errs {
		part := indexes[n*size : min(len(indexes), (n+1)*size)]
		wg.Go(func() { errs[n] = a.verifyPart(b, part) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *Authority) verifyPart(b *batch, indexes []uint64) error {
	proof, err := b.update.ProveInclusion(indexes)
	if err != nil {
		return err
	}
	if err := vlog.VerifyInclusion(proof.Log, b.next.LogRoot, b.next.LogLength, b.logLeaves(indexes)); err != nil {
		return err
	}
	heads := make([]vmap.Entry, len(indexes))
	for i, index := range indexes {
		leaf := b.leaf(index)
		heads[i] = vmap.Entry{Key: leaf.MapKey(), Value: leaf.MapValue()}
	}
	return vmap.VerifyInclusion(proof.Map, b.next.MapRoot, heads)
}
