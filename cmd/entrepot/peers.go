package main

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/peering"
	"github.com/entrepot/entrepot/warg"
)

// peers are the links of a site to those that mirror it.
type peers struct {
	site *site
	base context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	links []*peering.Link // under mu; in the order of the configuration, none before start
}

func newPeers(s *site) *peers {
	p := &peers{site: s}
	p.base, p.stop = context.WithCancel(context.Background())
	return p
}

// start begins to ask the peers.
func (p *peers) start() error {
	s := p.site
	var links []*peering.Link
	for _, domain := range s.conf.Authority.Peers {
		remote, err := p.remote(domain)
		if err != nil {
			return err
		}
		o := peering.Options{Domain: domain, Peer: remote, Own: ownRegistry{s}, Now: s.now, Log: s.log}
		for _, d := range s.domains() {
			if d != domain {
				o.Others = append(o.Others, mirrored{s.replicas[d]})
			}
		}
		links = append(links, peering.New(o))
	}
	p.mu.Lock()
	p.links = links
	p.mu.Unlock()
	for _, l := range links {
		p.work.Go(func() { l.Run(p.base) })
	}
	return nil
}

func (p *peers) close() error {
	p.stop()
	p.work.Wait()
	return nil
}

// status describes the links.
func (p *peers) status() []proxy.PeerStatus {
	p.mu.Lock()
	links := p.links
	p.mu.Unlock()
	all := make([]proxy.PeerStatus, 0, len(links))
	for _, l := range links {
		st := l.Status()
		all = append(all, proxy.PeerStatus{
			Domain: st.Domain, AnsweredAt: st.AnsweredAt.UTC(), LastError: st.LastError, LastErrorAt: st.LastErrorAt.UTC(), Checks: named(st.Checks),
		})
	}
	return all
}

func (p *peers) remote(domain string) (remotePeer, error) {
	for _, u := range p.site.conf.Upstreams {
		if u.Domain != domain {
			continue
		}
		o, err := p.site.process.clientOptions(u)
		if err != nil {
			return remotePeer{}, err
		}
		c, err := upstream.NewClient(o)
		if err != nil {
			return remotePeer{}, exitf(exitConfig, "%w", err)
		}
		return remotePeer{c}, nil
	}
	return remotePeer{}, exitf(exitConfig, "peer `%s` is not an upstream", domain)
}

// remotePeer asks a peer over the network. It implements [peering.Peer].
type remotePeer struct{ c *upstream.Client }

var _ peering.Peer = remotePeer{}

func (r remotePeer) Held(ctx context.Context, registry string) (warg.SignedCheckpoint, bool, error) {
	return r.c.On(registry).Held(ctx)
}

func (r remotePeer) Verify(ctx context.Context, registry string, s warg.SignedCheckpoint) (warg.Verification, error) {
	return r.c.On(registry).VerifyCheckpoint(ctx, s)
}

func (r remotePeer) Consistency(ctx context.Context, registry string, from, to uint64) ([]byte, error) {
	return r.c.On(registry).Consistency(ctx, from, to)
}

// ownRegistry is our own registry as peers see it.
type ownRegistry struct{ s *site }

func (o ownRegistry) Domain() string { return o.s.authority.Domain() }

func (o ownRegistry) Head() (warg.SignedCheckpoint, bool) {
	v, err := o.s.authority.Checkpoint(context.Background())
	return v.Signed, err == nil
}

// Saw hands on what a peer holds of us, and keeps the evidence if it is of a fork.
func (o ownRegistry) Saw(_ context.Context, peer string, held *warg.SignedCheckpoint, _ func(context.Context, uint64, uint64) ([]byte, error)) error {
	err := o.s.authority.PeerSaw(peer, held)
	var fork *authority.ForkError
	if !errors.As(err, &fork) {
		return err
	}
	key := o.s.key.Public()
	if fork.Ours.KeyID() != key.ID() || fork.Theirs.KeyID() != key.ID() {
		return &peering.Alarm{Err: err} // who verifies it needs the operator log, which both sides have
	}
	name, late := upstream.WriteFork(durable.OS{}, filepath.Join(o.s.conf.Data, evidenceDir), upstream.Fork{
		Domain: o.Domain(), Believed: fork.Ours, Refused: fork.Theirs, Key: key, Consistency: fork.Consistency, Reason: fork.Error(),
	}, o.s.now())
	if late != nil {
		o.s.log.Error("evidence could not be written", "peer", peer, "error", late)
	} else {
		o.s.log.Error("a peer holds another history of our own registry", "peer", peer, "evidence", name)
	}
	return &peering.Alarm{Err: err}
}

// mirrored is a replica as peers see it.
type mirrored struct{ r *upstream.Replica }

func (m mirrored) Domain() string { return m.r.Domain() }

func (m mirrored) Head() (warg.SignedCheckpoint, bool) {
	v, ok := m.r.LastView()
	return v.Signed, ok
}

func (m mirrored) Saw(ctx context.Context, _ string, held *warg.SignedCheckpoint, prove func(context.Context, uint64, uint64) ([]byte, error)) error {
	if held == nil {
		return nil
	}
	seen, err := m.r.Witness(ctx, *held, prove)
	switch {
	case upstream.ClassOf(err) != upstream.ClassNone:
		return &peering.Alarm{Err: err}
	case err == nil && seen == upstream.SightingForged:
		return warg.Errorf(warg.KindUpstreamInvalid, "the peer holds a checkpoint that registry `%s` did not sign", m.Domain())
	case err == nil && seen == upstream.SightingUnknown:
		return peering.NothingKnown{}
	}
	return err
}
