package upstream

import (
	"time"

	"github.com/entrepot/entrepot/warg"
)

// acceptAll makes a verified checkpoint the head, with older ones below it as
// accepted lengths, durably, and then serves it. Everything that belongs to all of
// them is in the store.
//
// In what order: the first of a new replica becomes its head, then the lengths are
// noted, then the last becomes the head. After a crash in between the newest length
// that was noted counts.
func (r *Replica) acceptAll(older signedSeq, v *view) error {
	pinned := pinnedByConfiguration
	if r.o.OperatorKey == "" {
		pinned = pinnedOnFirstUse
	}
	// That it was the newest nobody can tell of a later time than when it was signed.
	newest := time.Unix(int64(v.cp.Timestamp), 0)
	if known := r.trusted.current().VerifiedAt; known.After(newest) {
		newest = known
	}
	const atATime = 1000
	var batch []warg.SignedCheckpoint
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		if r.trusted.current().Format == 0 {
			if err := r.trusted.accept(batch[0], claimed(batch[0]), v.op, pinned, newest); err != nil {
				return err
			}
			batch = batch[1:]
		}
		if len(batch) == 0 {
			return nil
		}
		err := r.trusted.append(batch...)
		batch = nil
		return err
	}
	last := r.trusted.longest()
	for signed, err := range older {
		if err != nil {
			return err
		}
		if length := signed.Unverified().LogLength; length <= last || length >= v.cp.LogLength {
			continue
		}
		if batch = append(batch, signed); len(batch) == atATime {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if err := r.trusted.accept(v.signed, v.cp, v.op, pinned, newest); err != nil {
		return err
	}
	r.view.Store(v)
	r.checked.Store(max(r.checked.Load(), newest.UnixNano()))
	return nil
}
