package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// admin returns what the admin listener offers of the site.
func (s *site) admin() proxy.Admin {
	log := operatorLog{s.authority, s.audit, s}
	return proxy.Admin{Namespaces: log, Operators: log, Mirrors: s.mirrors, Archives: archives{s}, Registry: log, Status: s.status, Counts: s.counts()}
}

// operatorLog puts the authority's operator log into the words of the admin
// listener.
type operatorLog struct {
	a     *authority.Authority
	audit *audit.Log
	site  *site
}

var (
	_ proxy.NamespaceAdmin = operatorLog{}
	_ proxy.OperatorAdmin  = operatorLog{}
	_ proxy.RegistryAdmin  = operatorLog{}
)

func (o operatorLog) DefineNamespace(ctx context.Context, namespace string) error {
	if err := o.site.mayBecome(namespace, ""); err != nil {
		return err
	}
	return audited(o.audit, "namespace define", namespace, func() error { return o.a.DefineNamespace(ctx, namespace) })
}

func (o operatorLog) ImportNamespace(ctx context.Context, namespace, domain string) error {
	if err := o.site.mayBecome(namespace, domain); err != nil {
		return err
	}
	err := audited(o.audit, "namespace import", namespace+" "+domain, func() error { return o.a.ImportNamespace(ctx, namespace, domain) })
	if err == nil && o.site.server != nil {
		err = o.site.server.SetNamespaces(o.site.namespaceTable())
	}
	return err
}

// mayBecome fails if the configuration gives a namespace to another registry than the
// operator log is to: the next start would be refused, and an operator log cannot be
// taken back. Our own registry is "".
func (s *site) mayBecome(namespace, domain string) error {
	for _, u := range s.conf.Upstreams {
		if slices.Contains(u.Namespaces, namespace) && u.Domain != domain {
			return warg.Errorf(warg.KindConflict, "the configuration gives namespace `%s` to `%s`; take it out of its namespaces first", namespace, u.Domain)
		}
	}
	return nil
}

func (o operatorLog) Namespaces(context.Context) ([]proxy.Namespace, error) {
	var all []proxy.Namespace
	for _, n := range o.a.Namespaces() {
		all = append(all, proxy.Namespace{Name: n.Name, Registry: n.Registry})
	}
	return all, nil
}

func (o operatorLog) GrantOperator(ctx context.Context, key warg.PublicKey, permissions []string) error {
	p, err := operatorPermissions(permissions)
	if err != nil {
		return err
	}
	about := string(key.ID()) + " " + strings.Join(permissions, " ")
	return audited(o.audit, "operator grant", about, func() error { return o.a.GrantOperator(ctx, key, p) })
}

func (o operatorLog) RevokeOperator(ctx context.Context, key warg.KeyID, permissions []string) error {
	p, err := operatorPermissions(permissions)
	if err != nil {
		return err
	}
	about := string(key) + " " + strings.Join(permissions, " ")
	return audited(o.audit, "operator revoke", about, func() error { return o.a.RevokeOperator(ctx, key, p) })
}

func (o operatorLog) AcceptClock(ctx context.Context) error {
	return audited(o.audit, "accept clock", "", func() error { return o.a.AcceptClock(ctx) })
}

func (o operatorLog) Freeze(ctx context.Context, domain string) error {
	if domain != o.a.Domain() {
		return warg.Errorf(warg.KindBadRequest, "this is the registry `%s`, not `%s`", o.a.Domain(), domain)
	}
	return audited(o.audit, "freeze", domain, func() error { return o.a.Freeze(ctx) })
}

func operatorPermissions(names []string) ([]oplog.Permission, error) {
	all := []oplog.Permission{oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace}
	var found []oplog.Permission
	for _, name := range names {
		n := len(found)
		for _, p := range all {
			if p.String() == name {
				found = append(found, p)
			}
		}
		if len(found) == n {
			return nil, warg.Errorf(warg.KindBadRequest, "`%s` is not a permission of operators; there are: %v", name, all)
		}
	}
	return found, nil
}

// fenced returns why our own registry may not sign, or "".
func (s *site) fenced() string {
	f := s.authority.Status().Fence
	if f == nil {
		return ""
	}
	return fmt.Sprintf("the registry is fenced (%s): %s", f.Kind, f.Reason)
}

// ready returns why the server cannot serve.
func (s *site) ready(ctx context.Context) error {
	if err := s.authority.Err(); err != nil {
		return errors.New("the authority stopped")
	}
	_, err := s.authority.Checkpoint(ctx)
	return err
}

// quarantined names the upstreams that are believed nothing more until somebody decides.
func (s *site) quarantined() (domains []string) {
	for _, u := range s.conf.Upstreams {
		if s.replicas[u.Domain].Quarantined() {
			domains = append(domains, u.Domain)
		}
	}
	return domains
}

// loadPolicy reads who may publish what, or returns nil if that is not restricted.
func loadPolicy(conf *config.Config) (*authority.Policy, error) {
	if conf.Authority.PolicyFile == "" {
		return nil, nil
	}
	read, err := config.LoadPolicy(conf.Authority.PolicyFile)
	if err != nil {
		return nil, err
	}
	convert := func(rules map[string]config.PolicyRule) map[string]authority.PolicyRule {
		all := make(map[string]authority.PolicyRule, len(rules))
		for name, r := range rules {
			keys := make([]warg.KeyID, len(r.Keys))
			for i, k := range r.Keys {
				keys[i] = warg.KeyID(k)
			}
			all[name] = authority.PolicyRule{Keys: keys, Delegation: r.Delegation}
		}
		return all
	}
	return &authority.Policy{Namespaces: convert(read.Namespaces), Packages: convert(read.Packages)}, nil
}

// wantedNamespaces returns the namespaces that the registry must have. Without any
// configuration file a new one gets a first namespace, and an old one may have any;
// commands that only work on a registry want none, so that they can add what the
// file asks for.
func (s *site) wantedNamespaces(o siteOptions) ([]string, error) {
	if !o.create {
		return nil, nil
	}
	if s.conf.File != "" {
		return s.conf.Authority.Namespaces, nil
	}
	exists, err := hasAuthority(s.conf)
	if err != nil || exists {
		return nil, err
	}
	return []string{config.DefaultNamespace}, nil
}
