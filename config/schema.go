package config

import (
	"fmt"
	"math"
	"time"
)

// table says what may stand in a table of the file: settings, fixed tables,
// tables with names of the operator's choice, or a list of tables.
type table struct {
	fields  []field
	tables  []subtable
	foreign func(key string) string // a better complaint about an unknown key, or ""
}

// subtable is a table inside of another. Exactly one of its functions is set.
type subtable struct {
	name  string
	table *table                                // [name]
	named func(r *reader, name string, n *node) // [name."any"], several
	each  func(r *reader, i int, n *node)       // [[name]]
}

// Bounds of settings that have no natural ones.
const (
	maxNumber        = math.MaxInt32 // numbers of connections and records
	minIdle          = time.Second   // checkpoints count whole seconds
	minBodyMemory    = 2 << 20       // one JSON body of the largest size
	minPendingTTL    = time.Second   // less would expire records during their own upload
	minHeaderTimeout = time.Millisecond
)

// schema is the whole file. It is bound to one Config: reading a value stores it
// there.
func (c *Config) schema() table {
	return table{
		fields: []field{
			text("listen", &c.Listen, isAddress),
			text("base_url", &c.BaseURL, optional(isURL)),
			path("data", &c.Data),
			admin("admin", &c.Admin),
			text("log_format", &c.LogFormat, oneOf("text", "json")),
			text("log_level", &c.LogLevel, oneOf("debug", "info", "warn", "error")),
		},
		tables: []subtable{
			{name: "tls", table: &table{fields: []field{
				path("cert_file", &c.TLS.CertFile),
				path("key_file", &c.TLS.KeyFile),
			}}},
			{name: "authority", table: &table{fields: c.Authority.fields()}},
			{name: "content", table: &table{fields: []field{
				bytesOf("max_size", &c.Content.MaxSize, 1),
				text("policy", &c.Content.Policy, oneOf("wasm", "any")),
			}}},
			{name: "cache", table: &table{fields: []field{bytesOf("max_size", &c.Cache.MaxSize, 1<<20)}}},
			{name: "upstream", named: readUpstream},
			{name: "prefetch", table: &table{fields: c.Prefetch.fields()}},
			{name: "oci", table: &table{fields: []field{bytesOf("max_blob_size", &c.OCI.MaxBlobSize, 1)}}},
			{name: "bridge", table: &table{fields: c.Bridge.fields()}},
			{name: "access", table: &table{
				fields: c.Access.fields(),
				tables: []subtable{{name: "rule", each: readRule}},
			}},
			{name: "limits", table: &table{fields: c.Limits.fields()}},
		},
	}
}

func (a *Authority) fields() []field {
	return []field{
		text("domain", &a.Domain, isDomain),
		path("key_file", &a.KeyFile),
		list("namespaces", &a.Namespaces, isNamespace),
		span("checkpoint_max_idle", &a.CheckpointMaxIdle, minIdle),
		path("anchor_file", &a.AnchorFile),
		list("peers", &a.Peers, isDomain),
		path("policy_file", &a.PolicyFile),
	}
}

func (l *Limits) fields() []field {
	return []field{
		number("connections", &l.Connections, 1, maxNumber),
		number("connections_per_address", &l.ConnectionsPerAddress, 1, maxNumber),
		list("trusted_proxies", &l.TrustedProxies, isPrefix),
		bytesOf("body_memory", &l.BodyMemory, minBodyMemory),
		number("pending_per_key", &l.PendingPerKey, 1, maxNumber),
		number("pending", &l.Pending, 1, maxNumber),
		span("pending_ttl", &l.PendingTTL, minPendingTTL),
		optionalBytes("free_space", &l.FreeSpace, 0),
		span("header_timeout", &l.HeaderTimeout, minHeaderTimeout),
	}
}

// readUpstream reads one upstream. Its kind decides which settings there are, so
// an unknown kind is the only complaint about it.
func readUpstream(r *reader, domain string, n *node) {
	if err := isDomain(domain); err != nil {
		r.problems.add(n.key, "the name of the upstream %v", err)
		return
	}
	u := newUpstream(domain, KindWarg)
	if k := n.child["kind"]; k != nil {
		if k.kind != kindText || oneOf(kinds()...)(k.text) != nil {
			r.value(text("kind", &u.Kind, oneOf(kinds()...)), k, []string{"upstream", domain, "kind"})
			return
		}
		u.Kind = k.text
	}
	r.table(table{fields: u.fields(), foreign: foreignTo(u.Kind)}, n, "upstream", domain)
	r.c.Upstreams = append(r.c.Upstreams, *u)
}

// foreignTo explains keys of an upstream that another kind has.
func foreignTo(kind string) func(string) string {
	return func(key string) string {
		for _, other := range kinds() {
			if _, ok := (table{fields: newUpstream("", other).fields()}).field(key); ok {
				return fmt.Sprintf("an upstream of kind `%s` has no `%s`, that belongs to kind `%s`", kind, key, other)
			}
		}
		return ""
	}
}

func readRule(r *reader, i int, n *node) {
	var rule AccessRule
	r.table(table{fields: rule.fields()}, n, "access", "rule", itoa(i))
	r.c.Access.Rules = append(r.c.Access.Rules, rule)
}
