package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/scrub"
	"github.com/entrepot/entrepot/internal/space"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/adopt"
	"github.com/entrepot/entrepot/upstream/uploads"
	"github.com/entrepot/entrepot/warg"
)

// This file is the wiring of the server, top to bottom: what exists, in which
// order it is opened, and who gets what. Nothing is decided here that a package of
// its own could decide.

type serveCmd struct {
	Config    string `placeholder:"FILE" help:"Configuration file. Default: entrepot.toml in the working folder, if it is there."`
	Data      string `placeholder:"DIR" help:"Data directory, instead of data in the configuration."`
	Listen    string `placeholder:"HOST:PORT" help:"Address to listen on, instead of listen in the configuration. Port 0 picks a free one."`
	BaseURL   string `name:"base-url" placeholder:"URL" help:"What URLs handed to clients begin with, instead of base_url in the configuration."`
	LogFormat string `placeholder:"FORMAT" help:"text or json, instead of log_format in the configuration."`
}

func (serveCmd) Help() string {
	return `Without any configuration it listens on 127.0.0.1:8090, keeps its data in
./entrepot-data, makes an operator key at the first start, and defines the namespace
local. It is ready when the log says so; SIGTERM ends it.

Example:

    entrepot serve --config /etc/entrepot/entrepot.toml
`
}

func (c serveCmd) Run(ctx context.Context, p *process) error {
	flags := map[string]string{}
	for key, value := range map[string]string{"data": c.Data, "listen": c.Listen, "base_url": c.BaseURL, "log_format": c.LogFormat} {
		if value != "" {
			flags[key] = value
		}
	}
	conf, err := p.config(c.Config, flags)
	if err != nil {
		return err
	}
	log := newLogger(p.stderr, conf.LogFormat, conf.LogLevel)
	defer takeRemarks(log, p.now)()
	for _, w := range conf.Warnings {
		log.Warn(w.Message, "place", w.Source.String())
	}
	return p.serve(ctx, conf, log)
}

// shutdownWait is how long running requests get to end after SIGTERM. Service
// managers kill after 90 s, orchestrators often after 30.
const shutdownWait = 20 * time.Second

// serve runs the server until ctx ends or it cannot go on.
func (p *process) serve(ctx context.Context, conf *config.Config, log *slog.Logger) (err error) {
	if err := proxy.CheckDescriptors(); err != nil {
		return exitf(exitConfig, "%w", err)
	}
	s, err := p.openSite(ctx, conf, siteOptions{create: true, serve: true, log: log})
	if err != nil {
		if holder, ok := held(err); ok {
			return exitf(exitConfig, "data directory %s is in use by %s", conf.Data, holder)
		}
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	public, err := net.Listen("tcp", conf.Listen)
	if err != nil {
		return fmt.Errorf("listening for clients: %w; set listen to another address", err)
	}
	defer public.Close()
	base := baseURL(conf, public.Addr())
	manager := p.supervisor()
	s.health = newHealth(p.now, manager, s.authority.Alive, accepts(public.Addr().String()))
	server, err := s.newServer(base)
	if err != nil {
		return exitf(exitConfig, "%w", err)
	}
	s.server = server
	admin, err := listenAdmin(adminAddress(conf))
	if err != nil {
		return fmt.Errorf("listening for admin calls: %w", err)
	}
	defer admin.Close()
	listen := filepath.Join(conf.Data, runFolder, listenFile)
	if err := durable.Replace(durable.OS{}, listen, []byte(public.Addr().String()+"\n"), nil); err != nil {
		return fmt.Errorf("noting the address in use: %w", err)
	}
	defer func() { _ = os.Remove(listen) }()

	ended := make(chan error, 2)
	go func() { ended <- server.Serve(public) }()
	go func() { ended <- server.ServeAdmin(admin) }()
	s.mirrors.start()
	s.mirrors.startKeepers()
	if err := s.peers.start(); err != nil {
		return err
	}
	log.Info("ready", "base_url", base, "listen", public.Addr().String(), "domain", conf.Authority.Domain,
		"operator_key", string(s.key.Public().ID()), "data", conf.Data, "version", thisBuild().Version)
	p.greet(conf, base, log)
	tell := func(states ...string) {
		if err := manager.tell(states...); err != nil {
			log.Warn("the service manager is not told", "error", err)
		}
	}
	tell(notifyReady, notifyStatus+"serving "+base)
	defer s.watch(ctx, func() { tell(notifyAlive) })()

	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-ended:
	case <-s.audit.Failed():
		err = exitf(exitIO, "the audit log stopped: %w; what was answered is safe, start again once the cause is gone", s.audit.Err())
	case <-s.authority.Done():
		err = authorityStopped(s.authority.Err())
	}
	tell(notifyStopping)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWait)
	defer cancel()
	if late := server.Shutdown(last); late != nil {
		log.Warn("some requests were cut", "error", late)
	}
	s.noteStopped(err)
	return err
}

// baseURL returns what URLs handed to clients begin with.
func baseURL(conf *config.Config, listen net.Addr) string {
	switch {
	case conf.BaseURL != "":
		return conf.BaseURL
	case conf.TLS.CertFile != "":
		return "https://" + listen.String()
	}
	return "http://" + listen.String()
}

// greet ends the start with what a new user does next: in a text log a line that
// can be pasted as it stands.
func (p *process) greet(conf *config.Config, base string, log *slog.Logger) {
	next := "warg config --registry " + base
	if conf.LogFormat == "json" {
		log.Info("next", "run", next)
		return
	}
	fmt.Fprintf(p.stderr, "%s\n", next)
}

// site is a data directory with everything that works on it, opened.
type site struct {
	process   *process
	conf      *config.Config
	log       *slog.Logger
	now       func() time.Time
	key       warg.PrivateKey
	space     *space.Watch
	scrubber  *scrub.Scrubber // nil for commands
	audit     *audit.Log
	authority *authority.Authority
	cache     *cache.Cache
	replicas  map[string]*upstream.Replica
	stores    map[string]*cache.Registry // what the replicas keep
	uploads   *uploads.Book              // addresses for content of other registries, nil if there are none
	keepers   map[string]*adopt.Keeper   // of namespaces that are adopted, by upstream
	server    *proxy.Server              // nil for commands
	mirrors   *mirrors
	peers     *peers
	health    *health
	closers   []func() error // in the order in which things were opened
}

// siteOptions say how a site is opened.
type siteOptions struct {
	create bool // make the registry if there is none
	init   bool // it was asked for by name
	serve  bool // for a server, not for a command
	noOwn  bool // our own registry is not needed, and need not exist
	log    *slog.Logger
}

// openSite opens a data directory. What was opened is closed again if it fails.
func (p *process) openSite(ctx context.Context, conf *config.Config, o siteOptions) (_ *site, err error) {
	s := &site{
		process: p, conf: conf, log: o.log, now: p.now,
		replicas: map[string]*upstream.Replica{}, stores: map[string]*cache.Registry{}, keepers: map[string]*adopt.Keeper{},
	}
	defer func() {
		if err != nil {
			if o.serve && s.audit != nil {
				_ = s.audit.Record(audit.Event{Kind: audit.Stopped, Reason: err.Error()})
			}
			err = errors.Join(err, s.close())
		}
	}()
	lock, err := holdFolder(conf, p.command, p.now())
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, lock.Close)
	if err := notHalfRestored(conf); err != nil {
		return nil, err
	}
	if err := s.relieve(); err != nil {
		return nil, err
	}
	if o.serve {
		if err := s.tryFileSystems(); err != nil {
			return nil, err
		}
	}
	if s.audit, err = openAudit(conf, p.now, o.log); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.audit.Close)
	if o.serve {
		if err := s.audit.Record(audit.Event{Kind: audit.Started, Domain: conf.Authority.Domain, Version: thisBuild().Version}); err != nil && !errors.Is(err, audit.ErrNoSpace) {
			return nil, err
		}
	}
	if !o.noOwn {
		if s.key, err = p.operatorKey(conf, o); err != nil {
			return nil, err
		}
		s.audit.SignWith(audit.Signer{Domain: conf.Authority.Domain, Key: s.key})
		if err := s.openAuthority(ctx, o); err != nil {
			return nil, err
		}
	}
	s.peers = newPeers(s)
	if len(conf.Upstreams) == 0 {
		s.mirrors = newMirrors(s)
		return s, nil
	}
	s.cache, err = cache.Open(cache.Options{Dir: filepath.Join(conf.Data, cacheDir), MaxContent: conf.Cache.MaxSize, Now: p.now, Log: o.log})
	if err != nil {
		return nil, fmt.Errorf("opening the cache: %w", err)
	}
	s.closers = append(s.closers, s.cache.Close)
	if err := s.openUploads(); err != nil {
		return nil, err
	}
	for _, u := range conf.Upstreams {
		if err := s.openReplica(ctx, u); err != nil {
			return nil, err
		}
	}
	s.openKeepers(o)
	s.mirrors = newMirrors(s)
	s.closers = append(s.closers, s.mirrors.close, s.peers.close)
	return s, nil
}

func (s *site) close() (err error) {
	for _, c := range slices.Backward(s.closers) {
		err = errors.Join(err, c())
	}
	s.closers = nil
	return err
}

func (s *site) openAuthority(ctx context.Context, o siteOptions) error {
	conf := s.conf
	policy, err := loadPolicy(conf)
	if err != nil {
		return err
	}
	namespaces, err := s.wantedNamespaces(o)
	if err != nil {
		return err
	}
	step, err := failpoints(conf.Data)
	if err != nil {
		return err
	}
	opened := s.authorityOptions()
	opened.Namespaces, opened.Adopt, opened.Init, opened.Policy = namespaces, s.wantedAdoptions(o), o.init, policy
	opened.Step = step
	if o.serve {
		opened.Peers = conf.Authority.Peers
	}
	s.authority, err = authority.Open(ctx, opened)
	if err != nil {
		return fmt.Errorf("opening the authority: %w", err)
	}
	s.closers = append(s.closers, s.authority.Close)
	if err := s.checkNamespaces(o); err != nil {
		return err
	}
	if o.create && conf.File == "" && len(s.authority.Namespaces()) == 0 && s.fenced() == "" {
		return s.whyStopped(s.authority.DefineNamespace(ctx, config.DefaultNamespace)) // an earlier first start was cut short
	}
	return nil
}

// authorityOptions returns the options of our own registry that do not depend on what
// it is opened for.
func (s *site) authorityOptions() authority.Options {
	conf := s.conf
	return authority.Options{
		Dir:        filepath.Join(conf.Data, authorityDir),
		ContentDir: filepath.Join(conf.Data, contentDir),
		AnchorFile: conf.Authority.AnchorFile,
		Domain:     conf.Authority.Domain,
		Key:        s.key,
		KeyFile:    conf.KeyFile(),
		Content:    authority.ContentPolicy(conf.Content.Policy),
		Limits: authority.Limits{
			ContentSize:   conf.Content.MaxSize,
			PendingPerKey: conf.Limits.PendingPerKey,
			Pending:       conf.Limits.Pending,
			PendingTTL:    conf.Limits.PendingTTL,
			FreeSpace:     uint64(conf.Limits.FreeSpace),
		},
		MaxIdle: conf.Authority.CheckpointMaxIdle,
		Now:     s.now,
		Log:     s.log,
		Audit:   s.audit,
		Space:   s.space,
		Heal:    s.healContent,
	}
}

// whyStopped returns what stopped the authority, if it is not at work any more: what a
// caller is told by then is only that it stops.
func (s *site) whyStopped(err error) error {
	select {
	case <-s.authority.Done():
		return authorityStopped(s.authority.Err())
	default:
		return err
	}
}

func authorityStopped(cause error) error {
	return exitf(exitIO, "the authority stopped: %w; what was answered is safe, start again once the cause is gone", cause)
}

func (s *site) openReplica(ctx context.Context, u config.Upstream) error {
	store, err := s.cache.Registry(u.Domain)
	if err != nil {
		return fmt.Errorf("opening the cache of upstream `%s`: %w", u.Domain, err)
	}
	remote, err := s.process.clientOptions(u)
	if err != nil {
		return err
	}
	remote.TempDir = filepath.Join(s.conf.Data, runFolder, tempFolder)
	transport, err := upstream.NewClient(remote)
	if err != nil {
		return exitf(exitConfig, "%w", err)
	}
	r, err := upstream.Open(ctx, upstream.Options{
		Domain:        u.Domain,
		Transport:     transport,
		Publishing:    transport,
		Offers:        s.uploads,
		Store:         store,
		OperatorKey:   u.OperatorKey,
		TrustFirstKey: u.TrustFirstKey,
		MaxAge:        u.MaxAge,
		MaxStale:      u.MaxStale,
		RefuseStale:   u.OnStale == "refuse",
		Offline:       u.Offline,
		Dir:           filepath.Join(s.conf.Data, upstreamsDir, u.Domain),
		EvidenceDir:   filepath.Join(s.conf.Data, evidenceDir),
		TempDir:       filepath.Join(s.conf.Data, runFolder, tempFolder),
		MaxUpload:     s.conf.Content.MaxSize,
		Now:           s.now,
		Log:           s.log,
		Audit:         s.audit,
	})
	if err != nil {
		return fmt.Errorf("opening upstream `%s`: %w", u.Domain, err)
	}
	s.replicas[u.Domain], s.stores[u.Domain] = r, store
	s.closers = append(s.closers, r.Close)
	return nil
}

// newServer makes the HTTP server over what the site has.
func (s *site) newServer(base string) (*proxy.Server, error) {
	conf := s.conf
	s.scrubber = s.newScrubber()
	upstreams := make(map[string]proxy.Upstream, len(s.replicas))
	for domain, r := range s.replicas {
		upstreams[domain] = r
	}
	certificates, err := s.process.loadTLS(conf, s.log)
	if err != nil {
		return nil, err
	}
	return proxy.New(proxy.Options{
		Own:        s.authority,
		Upstreams:  upstreams,
		Namespaces: s.namespaceTable(),
		Uploads:    s.uploadDesk(),
		BaseURL:    base,
		Limits: proxy.Limits{
			Connections:           conf.Limits.Connections,
			ConnectionsPerAddress: conf.Limits.ConnectionsPerAddress,
			TrustedProxies:        prefixes(conf.Limits.TrustedProxies),
			BodyMemory:            conf.Limits.BodyMemory,
			ContentSize:           conf.Content.MaxSize,
			HeaderTimeout:         conf.Limits.HeaderTimeout,
		},
		TLS:         certificates,
		Log:         s.log,
		Now:         s.now,
		Ready:       s.ready,
		Quarantined: s.quarantined,
		Alive:       s.healthy,
		Version:     thisBuild().Version,
		Admin:       s.admin(),
	})
}

// namespaceTable says which upstream clients are hinted to: what the file says,
// and what was imported into the operator log, if that registry is one of ours. Nobody
// is sent away for a namespace that is adopted: clients would not come back for it.
func (s *site) namespaceTable() map[string]string {
	table := map[string]string{}
	for _, n := range s.authority.Namespaces() {
		if _, ok := s.replicas[n.Registry]; ok {
			table[n.Name] = n.Registry
		}
	}
	for _, u := range s.conf.Upstreams {
		for _, ns := range u.Namespaces {
			if !slices.Contains(adoptedFrom(u), ns) {
				table[ns] = u.Domain
			}
		}
	}
	return table
}

// domains returns the upstreams, sorted.
func (s *site) domains() []string { return slices.Sorted(maps.Keys(s.replicas)) }

// loadTLS returns the configuration of the public listener, nil for plain HTTP.
func (p *process) loadTLS(conf *config.Config, log *slog.Logger) (*tls.Config, error) {
	if conf.TLS.CertFile == "" {
		return nil, nil
	}
	if err := p.checkSecret(conf.TLS.KeyFile, others); err != nil {
		return nil, err
	}
	pair, err := newCertificate(conf.TLS.CertFile, conf.TLS.KeyFile, log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: pair.get}, nil
}

// prefixes reads what config accepted: addresses and networks.
func prefixes(texts []string) []netip.Prefix {
	all := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		}
	}
	return all
}
