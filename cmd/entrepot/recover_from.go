package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/mirror"
	"github.com/entrepot/entrepot/warg"
)

// recoverDir holds what a recovery has fetched so far, by peer, until it is taken over.
const recoverDir = "recover"

// fetch takes over what a peer holds. It is fetched into a replica of our own registry,
// by the code that replicates others: a peer is believed no more than any upstream. What
// was fetched from one that is not believed is dropped, so that neither it nor another
// is judged by that the next time; the evidence stays.
func (c recoverCmd) fetch(ctx context.Context, p *process, s *site, word *authority.Word) error {
	name := sha256.Sum256([]byte(c.From))
	dir := filepath.Join(s.conf.Data, recoverDir, hex.EncodeToString(name[:8]))
	h, err := c.takeOver(ctx, p, s, dir, word)
	var need *authority.NeedWordError
	switch {
	case errors.As(err, &need):
		return c.askForWord(p, need)
	case exitCode(err) == exitVerification:
		return errors.Join(err, os.RemoveAll(dir))
	case err != nil:
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.conf.Data, recoverDir)); err != nil {
		return fmt.Errorf("removing what was fetched and is not needed any more: %w", err)
	}
	done := recovered{From: h.From, To: h.To, Lacking: h.Lacking}
	if done.Lacking == nil {
		done.Lacking = []warg.Digest{}
	}
	return p.print(c.jsonFlag, done, func(w io.Writer) {
		fmt.Fprintf(w, "%d records taken over; the log of %s has length %d; start the server\n", h.To-h.From, s.conf.Authority.Domain, h.To)
		for _, d := range h.Lacking {
			fmt.Fprintf(w, "content %s is not there; the same command fetches it from another mirror\n", d)
		}
	})
}

// takeOver fetches everything into a folder, and heals the registry from there.
func (c recoverCmd) takeOver(ctx context.Context, p *process, s *site, dir string, word *authority.Word) (*authority.Healing, error) {
	peer, err := s.openBackup(ctx, c.From, dir)
	if err != nil {
		return nil, err
	}
	show := p.newStages()
	defer show.done()
	fetched := func(step mirror.Step) {
		show.step(proxy.MirrorProgress{Domain: c.From, Stage: step.Stage, Done: step.Done, Total: step.Total})
	}
	if _, err := mirror.Sync(ctx, peer.r, mirror.Plan{Everything: true}, 0, fetched); err != nil {
		return nil, errors.Join(fmt.Errorf("fetching what %s holds of registry `%s`: %w", c.From, s.conf.Authority.Domain, err), peer.close())
	}
	h := &authority.Healing{Word: word, Progress: func(done, total uint64) {
		fetched(mirror.Step{Stage: "taking over", Done: int64(done), Total: int64(total)})
	}}
	err = authority.Heal(ctx, s.authorityOptions(), peer, h)
	proof := peer.convict(ctx, err)
	if err := errors.Join(err, peer.close()); err != nil {
		return nil, errors.Join(notRecovered(err), proof)
	}
	return h, nil
}

// convict keeps evidence if a recovery was refused because what the peer holds and what
// is known here cannot both be true, and both are signed with our key.
func (b *peerCopy) convict(ctx context.Context, refusal error) error {
	var no *authority.RefusedError
	if !errors.As(refusal, &no) || !no.Untrue || no.Ours.IsZero() {
		return nil
	}
	_, err := b.r.Witness(ctx, no.Ours, nil)
	return err
}

// askForWord says what somebody has to vouch for.
func (c recoverCmd) askForWord(p *process, need *authority.NeedWordError) error {
	head := need.Head.Unverified()
	root, err := head.LogRoot.Digest()
	if err != nil {
		return err
	}
	signed := time.Unix(int64(head.Timestamp), 0).UTC()
	word := authority.Word{Length: head.LogLength, LogRoot: root}
	return exitf(exitConfig, "there is no anchor that tells what was issued; the newest checkpoint at %s has length %d and log root %s and was signed at %s, %s: if nothing newer was ever issued, run the same again with --accept %s",
		c.From, head.LogLength, root, signed.Format(time.RFC3339), ago(p.now(), signed), word)
}

// peerCopy is a replica of our own registry. It implements [authority.PeerLog].
type peerCopy struct {
	r     *upstream.Replica
	store *cache.Registry
	cache *cache.Cache
}

var _ authority.PeerLog = (*peerCopy)(nil)

func (s *site) openBackup(ctx context.Context, from, dir string) (*peerCopy, error) {
	remote, err := s.backupOptions(from)
	if err != nil {
		return nil, err
	}
	transport, err := upstream.NewClient(remote)
	if err != nil {
		return nil, exitf(exitUsage, "%w", err)
	}
	b := &peerCopy{}
	// Nothing is evicted: what was fetched is wanted once more, at the end.
	if b.cache, err = cache.Open(cache.Options{Dir: filepath.Join(dir, cacheDir), MaxContent: math.MaxInt64, Now: s.now, Log: s.log}); err != nil {
		return nil, fmt.Errorf("opening the folder for what is fetched: %w", err)
	}
	domain := s.conf.Authority.Domain
	if b.store, err = b.cache.Registry(domain); err == nil {
		b.r, err = upstream.Open(ctx, upstream.Options{
			Domain: domain, Transport: orphaned{transport}, Store: b.store, OperatorKey: s.key.Public().ID(),
			Dir: filepath.Join(dir, upstreamsDir), EvidenceDir: filepath.Join(s.conf.Data, evidenceDir),
			TempDir: filepath.Join(s.conf.Data, runFolder, tempFolder), Now: s.now, Log: s.log,
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the folder for what is fetched: %w", err), b.cache.Close())
	}
	return b, nil
}

// orphaned is a peer while we are not there: content that it does not hold it wants to
// fetch from us, and answers that it cannot. For us that means that it does not have it.
type orphaned struct{ *upstream.Client }

// Fetch implements [upstream.Transport].
func (o orphaned) Fetch(ctx context.Context, d warg.Digest, keep func(io.Reader, int64) error) error {
	err := o.Client.Fetch(ctx, d, keep)
	e, ok := errors.AsType[*warg.Error](err)
	if ok && e.Err == nil && (e.Kind == warg.KindUnavailable || e.Kind == warg.KindUpstreamTimeout) {
		return warg.NotFound(warg.KindContentNotFound, d) // answered; a line that is down has a cause
	}
	return err
}

// backupOptions says how a peer is reached: as an upstream of the configuration, by
// name or URL, or as whoever runs the command says.
func (s *site) backupOptions(from string) (upstream.ClientOptions, error) {
	o := upstream.ClientOptions{Domain: from, URL: from, AllowPrivateAddresses: true}
	for _, u := range s.conf.Upstreams {
		if u.Domain != from && u.URL != from {
			continue
		}
		var err error
		if o, err = s.process.clientOptions(u); err != nil {
			return o, err
		}
	}
	o.OnBehalf = s.conf.Authority.Domain
	o.TempDir = filepath.Join(s.conf.Data, runFolder, tempFolder)
	return o, nil
}

func (b *peerCopy) close() error { return errors.Join(b.r.Close(), b.cache.Close()) }

// Head implements [authority.PeerLog].
func (b *peerCopy) Head(context.Context) (warg.SignedCheckpoint, error) {
	head, ok := b.r.Held()
	if !ok {
		return head, errors.New("nothing was fetched")
	}
	return head, nil
}

// Leaves implements [authority.PeerLog], from what was verified and stored.
func (b *peerCopy) Leaves(ctx context.Context, from, to uint64) iter.Seq2[authority.PeerLeaf, error] {
	return func(yield func(authority.PeerLeaf, error) bool) {
		for leaf, err := range b.r.HeldLeaves(ctx, from, to) {
			if !yield(authority.PeerLeaf(leaf), err) {
				return
			}
		}
	}
}

// Content implements [authority.PeerLog].
func (b *peerCopy) Content(_ context.Context, d warg.Digest) (io.ReadCloser, error) {
	return b.store.OpenContent(d)
}
