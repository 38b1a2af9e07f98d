package authority

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
)

// Checkpoint implements [warg.Registry].
func (a *Authority) Checkpoint(context.Context) (warg.View, error) {
	v, err := a.readable()
	if err != nil {
		return warg.View{}, err
	}
	return *v, nil
}

// Names implements [warg.Registry]. A log is unknown until something of it is
// published.
func (a *Authority) Names(_ context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	v, err := a.readable()
	if err != nil {
		return nil, err
	}
	names := make([]warg.PackageName, len(ids))
	for i, id := range ids {
		if p := a.hot.find(pageKey{id, 0}); p != nil && len(p.records) > 0 {
			names[i] = p.log.Name
			continue
		}
		l, ok, err := a.index.Log(id, v.Checkpoint.LogLength)
		if err != nil {
			return nil, a.internal("naming log", err)
		}
		if !ok {
			return nil, warg.NotFound(warg.KindLogNotFound, id)
		}
		names[i] = l.Name
	}
	return names, nil
}

// Inclusion implements [warg.Registry].
func (a *Authority) Inclusion(_ context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	if _, err := a.readable(); err != nil {
		return warg.InclusionProof{}, err
	}
	if len(leaves) > warg.MaxLeaves {
		return warg.InclusionProof{}, warg.Errorf(warg.KindBadRequest, "%d leaves asked for; at most %d are allowed", len(leaves), warg.MaxLeaves)
	}
	p, err := a.index.Tree().ProveInclusion(length, leaves)
	if err != nil {
		return warg.InclusionProof{}, a.internal("proving inclusion", err)
	}
	return p, nil
}

// Consistency implements [warg.Registry].
func (a *Authority) Consistency(_ context.Context, from, to uint64) ([]byte, error) {
	if _, err := a.readable(); err != nil {
		return nil, err
	}
	p, err := a.index.Tree().ProveConsistency(from, to)
	if err != nil {
		return nil, a.internal("proving consistency", err)
	}
	return p, nil
}

// Ledger implements [warg.Registry].
func (a *Authority) Ledger(_ context.Context, start uint64, limit int) ([]byte, error) {
	if _, err := a.readable(); err != nil {
		return nil, err
	}
	b, err := a.index.Tree().Leaves(start, limit)
	if err != nil {
		return nil, a.internal("reading ledger", err)
	}
	return b, nil
}

// Record implements [warg.Registry]. It answers behind every fence.
func (a *Authority) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	if a.index == nil {
		return warg.RecordStatus{}, unavailable("this registry cannot say at present what became of records")
	}
	st, err := a.record(ctx, log, id)
	return st, a.orBehind(err)
}

func (a *Authority) record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	st, known, err := a.known(ctx, log, id)
	switch {
	case errors.Is(err, &warg.Error{Kind: warg.KindConflict}): // of another log
	case err != nil:
		return warg.RecordStatus{}, err
	case known && log != warg.OperatorLogID:
		return st, nil
	}
	if log != warg.OperatorLogID && !a.pool.knows(log) {
		_, ok, err := a.index.Log(log, a.index.Head().Length)
		if err != nil {
			return warg.RecordStatus{}, a.internal("looking up log", err)
		}
		if !ok {
			return warg.RecordStatus{}, warg.NotFound(warg.KindLogNotFound, log)
		}
	}
	return warg.RecordStatus{}, warg.NotFound(warg.KindRecordNotFound, id)
}

// Stat implements [warg.Registry]. Only content of published releases is shown.
func (a *Authority) Stat(_ context.Context, digest warg.Digest) (warg.ContentInfo, error) {
	if err := a.released(digest); err != nil {
		return warg.ContentInfo{}, err
	}
	size, err := a.content.Stat(digest)
	if err != nil {
		return warg.ContentInfo{}, a.contentFailed(digest, err)
	}
	return warg.ContentInfo{Digest: digest, Size: size}, nil
}

// Open implements [warg.Registry].
func (a *Authority) Open(_ context.Context, digest warg.Digest) (warg.Content, error) {
	if err := a.released(digest); err != nil {
		return nil, err
	}
	if small, ok := a.small.Find(digest); ok {
		return small.Open(), nil
	}
	f, size, err := a.content.Open(digest)
	if err != nil {
		return nil, a.contentFailed(digest, err)
	}
	if size > smallContent {
		return f, nil
	}
	small, err := readSmall(f, digest)
	if err != nil {
		return nil, a.contentFailed(digest, err)
	}
	a.small.Add(digest, small)
	return small.Open(), nil
}

// What is read often and is small is kept in memory: opening a file costs more than
// sending it.
const (
	smallContent  = 64 << 10 // bytes
	smallContents = 4096
	smallBytes    = 16 << 20 // in all
)

// readSmall reads a verified file into memory and closes it. It is verified once more,
// as it may have changed since.
func readSmall(f durable.Reader, d warg.Digest) (*cas.Small, error) {
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, smallContent+1))
	if err != nil {
		return nil, err
	}
	if found := warg.Sum(b); found != d {
		return nil, fmt.Errorf("content %s changed to %s while it was read", d, found)
	}
	return &cas.Small{Bytes: b, Modified: fi.ModTime()}, nil
}

// released returns an error unless a published record releases content.
func (a *Authority) released(digest warg.Digest) error {
	if a.index == nil {
		return unavailable("this registry cannot say at present which content is published")
	}
	if a.hot.released(digest) {
		return nil
	}
	_, ok, err := a.index.Released(digest)
	if err != nil {
		return a.internal("looking up content", err)
	}
	if !ok {
		return a.orBehind(warg.NotFound(warg.KindContentNotFound, digest))
	}
	a.hot.keepReleased(digest)
	return nil
}

func (a *Authority) contentFailed(digest warg.Digest, err error) error {
	var damaged *cas.CorruptError
	if errors.As(err, &damaged) {
		a.o.Log.Error("content is damaged and must be uploaded again", "error", err)
	}
	if damaged != nil || errors.Is(err, fs.ErrNotExist) && a.content.SetAside(digest) {
		return unavailable("content `%s` was damaged here; it is served again once it was put back", digest)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return warg.NotFound(warg.KindContentNotFound, digest)
	}
	return a.internal("reading content", err)
}

// VerifyCheckpoint implements [warg.Registry]. A checkpoint is verified if one of
// that length and those roots was ever issued, whenever it was signed; unverified, if it
// may have been, and the line of the history that would say so is lost. A signature
// is verified if it is that of the newest such checkpoint, or holds and its key
// had the right to sign at that length.
func (a *Authority) VerifyCheckpoint(_ context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	if _, err := a.readable(); err != nil {
		return warg.Verification{}, err
	}
	v := warg.Verification{Checkpoint: warg.Invalid, Signature: warg.Invalid}
	claims := s.Unverified()
	issued, _, ok, err := a.history.Find(claims.LogLength)
	switch {
	case errors.As(err, new(*anchor.DamageError)), err == nil && !ok && a.history.HasGaps():
		if v.Checkpoint, err = a.judgeLost(claims); err != nil {
			return v, a.internal("recomputing checkpoint", err)
		}
	case err != nil:
		return v, a.internal("looking up checkpoint", err)
	}
	if c := issued.Unverified(); ok && c.LogRoot == claims.LogRoot && c.MapRoot == claims.MapRoot {
		v.Checkpoint = warg.Verified
	}
	if ok && s == issued {
		v.Signature = warg.Verified
		return v, nil
	}
	if key, ok := a.ops.committer(s.KeyID(), claims.LogLength); ok {
		if _, err := s.Open(key); err == nil {
			v.Signature = warg.Verified
		}
	}
	return v, nil
}

// judgeLost judges a checkpoint of which the history does not say whether it was issued,
// as lines of it are lost. The log's root at its length is known all the same; the map's,
// only if the index still has that length.
func (a *Authority) judgeLost(claims warg.CheckpointClaims) (warg.Verdict, error) {
	head := a.index.Head()
	if claims.LogLength == 0 || claims.LogLength >= head.Length {
		return warg.Invalid, nil // the newest one is known
	}
	known, err := a.index.Tree().HasLength(claims.LogLength)
	if err != nil {
		return warg.Unverified, err
	}
	if known {
		if head, err = a.index.Tree().HeadAt(claims.LogLength); err != nil {
			return warg.Unverified, err
		}
		if sameRoots(claims, head) {
			return warg.Verified, nil
		}
		return warg.Invalid, nil
	}
	root, _, err := a.logRootAt(claims.LogLength, head.Length)
	if err != nil {
		return warg.Unverified, err
	}
	if root.AnyHash() != claims.LogRoot {
		return warg.Invalid, nil
	}
	return warg.Unverified, nil
}

// logRootAt returns the root that the log had at a length below that of a checkpoint, and
// the proof that leads from it to that one.
func (a *Authority) logRootAt(length, head uint64) (warg.Digest, []byte, error) {
	proof, err := a.index.Tree().ProveConsistency(length, head)
	if err != nil {
		return warg.Digest{}, nil, err
	}
	bundle, err := vlog.ParseBundle(proof)
	if err != nil {
		return warg.Digest{}, nil, err
	}
	root, _, err := bundle.Consistency(0)
	return root, proof, err
}
