package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/mirror"
	"github.com/entrepot/entrepot/warg"
)

// mirrors fills the replicas of a site: when somebody asks, and, for upstreams with
// a plan, in the background. It implements [proxy.MirrorAdmin].
type mirrors struct {
	site *site
	base context.Context // of background work
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	done   map[string]uint64 // length up to which the plan of an upstream is fulfilled, since start or its reset
	resets map[string]int    // how often it was reset
}

var _ proxy.MirrorAdmin = (*mirrors)(nil)

func newMirrors(s *site) *mirrors {
	m := &mirrors{site: s, done: map[string]uint64{}, resets: map[string]int{}}
	m.base, m.stop = context.WithCancel(context.Background())
	return m
}

// close ends background work and waits for it.
func (m *mirrors) close() error {
	m.stop()
	m.work.Wait()
	return nil
}

// planOf returns what is kept of an upstream ahead of time.
func planOf(u config.Upstream) (mirror.Plan, error) {
	plan := mirror.Plan{Everything: u.Mirror == "full"}
	for _, text := range u.MirrorPackages {
		w, err := parseWanted(text)
		if err != nil {
			return plan, err
		}
		plan.Packages = append(plan.Packages, mirror.Package{Name: w.name, Want: w.want})
	}
	return plan, nil
}

// minFill is how often, at most, an upstream is asked in the background.
const minFill = 10 * time.Second

// start fills upstreams that have a plan, now and again whenever their checkpoint is
// old. An upstream that fails is asked again no sooner than one that does not.
func (m *mirrors) start() {
	m.releasePins()
	for _, u := range m.site.conf.Upstreams {
		if u.Offline || !hasPlan(u) {
			continue
		}
		m.work.Go(func() {
			tick := time.NewTicker(max(u.MaxAge, minFill))
			defer tick.Stop()
			last := ""
			for {
				last = m.note(u.Domain, last, m.fill(m.base, u, func(mirror.Step) {}))
				select {
				case <-tick.C:
				case <-m.base.Done():
					return
				}
			}
		})
	}
}

func hasPlan(u config.Upstream) bool { return u.Mirror == "full" || len(u.MirrorPackages) > 0 }

// releasePins lets go of content that was kept for plans which are not in the
// configuration any more. Of an offline registry everything stays, as nothing of it
// could be had again; what a plan only asks less for is released by its next filling.
func (m *mirrors) releasePins() {
	if m.site.cache == nil {
		return
	}
	var planned []string
	for _, u := range m.site.conf.Upstreams {
		if u.Offline || hasPlan(u) {
			planned = append(planned, u.Domain)
		}
	}
	if err := m.site.cache.ReleasePlans(planned); err != nil {
		m.site.log.Warn("pinned content could not be released", "error", err)
	}
}

// note logs how a filling ended, unless the one before it ended the same way, and
// returns what is to be compared with the next.
func (m *mirrors) note(domain, last string, err error) string {
	switch {
	case m.base.Err() != nil:
		return last // the server is stopping
	case err == nil && last != "":
		m.site.log.Info("mirror is filled again", "upstream", domain)
	case err != nil && err.Error() != last:
		m.site.log.Warn("mirror could not be filled", "upstream", domain, "error", err)
	}
	if err == nil {
		return ""
	}
	return err.Error()
}

// fill brings one upstream up to date.
func (m *mirrors) fill(ctx context.Context, u config.Upstream, progress func(mirror.Step)) error {
	plan, err := planOf(u)
	if err != nil {
		return err
	}
	plan.Pins = m.site.stores[u.Domain].Planned()
	m.mu.Lock()
	from, history := m.done[u.Domain], m.resets[u.Domain]
	m.mu.Unlock()
	length, err := mirror.Sync(ctx, m.site.replicas[u.Domain], plan, from, progress)
	m.mu.Lock()
	if m.resets[u.Domain] == history {
		m.done[u.Domain] = max(m.done[u.Domain], length)
	}
	m.mu.Unlock()
	return err
}

// ResetMirror sets the replica of an upstream aside while it is in use. What is adopted
// from it is compared with the new history from its beginning; what was adopted stays.
func (m *mirrors) ResetMirror(ctx context.Context, domain, reason string) (json.RawMessage, error) {
	r, ok := m.site.replicas[domain]
	if !ok {
		return nil, m.noUpstream(domain)
	}
	var done upstream.Reset
	err := audited(m.site.audit, mirrorResetCall, domain+": "+reason, func() (err error) {
		done, err = r.Reset(ctx, reason)
		return err
	})
	m.mu.Lock()
	m.done[domain] = 0
	m.resets[domain]++
	m.mu.Unlock()
	if k, ok := m.site.keepers[domain]; ok {
		k.Restart()
	}
	if err != nil {
		return nil, err
	}
	noteReset(m.site.log, done)
	return json.Marshal(done)
}

func (m *mirrors) noUpstream(domain string) error {
	return warg.Errorf(warg.KindNotFound, "`%s` is not an upstream here; there are: %s", domain, strings.Join(m.site.domains(), ", "))
}

// SyncMirrors fills the upstreams named, or all but those that are offline, and brings
// what is adopted from them up to date. One that fails does not keep the others from
// being filled.
func (m *mirrors) SyncMirrors(ctx context.Context, domains []string, progress func(proxy.MirrorProgress)) error {
	for _, d := range domains {
		if _, ok := m.site.replicas[d]; !ok {
			return m.noUpstream(d)
		}
	}
	return audited(m.site.audit, "mirror sync", strings.Join(domains, " "), func() error {
		return m.syncAll(ctx, domains, progress)
	})
}

// syncAll is SyncMirrors for upstreams that are known to be there.
func (m *mirrors) syncAll(ctx context.Context, domains []string, progress func(proxy.MirrorProgress)) error {
	var failed []error
	for _, u := range m.site.conf.Upstreams {
		named := slices.Contains(domains, u.Domain)
		if !named && (len(domains) > 0 || u.Offline) {
			continue
		}
		err := m.fill(ctx, u, func(s mirror.Step) {
			progress(proxy.MirrorProgress{Domain: u.Domain, Stage: s.Stage, Done: s.Done, Total: s.Total})
		})
		if k, ok := m.site.keepers[u.Domain]; ok && err == nil {
			progress(proxy.MirrorProgress{Domain: u.Domain, Stage: "adoption", Total: 1})
			err = k.Pass(ctx)
			progress(proxy.MirrorProgress{Domain: u.Domain, Stage: "adoption", Done: 1, Total: 1})
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", u.Domain, err))
		}
	}
	return errors.Join(failed...)
}

// MirrorStatus describes all upstreams in the order of the configuration.
func (m *mirrors) MirrorStatus(ctx context.Context) ([]proxy.MirrorStatus, error) {
	var all []proxy.MirrorStatus
	for _, u := range m.site.conf.Upstreams {
		held, err := m.site.stores[u.Domain].Holdings(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, proxy.MirrorStatus{
			RegistryStatus: m.site.upstreamStatus(u),
			Packages:       held.Packages,
			Records:        held.Records,
			Contents:       held.Contents,
			ContentBytes:   held.ContentBytes,
			Pinned:         held.Pinned,
			PinnedBytes:    held.PinnedBytes,
			Backup:         u.Mirror == "full" && slices.Contains(m.site.conf.Authority.Peers, u.Domain),
		})
	}
	return all, nil
}
