package authority

import (
	"context"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// DefineNamespace makes a namespace our own, for ever: it appends a record to the
// operator log and returns when a checkpoint covers it.
//
//	KindBadRequest  it is not a namespace
//	KindConflict    it is defined or imported already
func (a *Authority) DefineNamespace(ctx context.Context, namespace string) error {
	if err := checkNamespaceName(namespace); err != nil {
		return err
	}
	return a.submit(ctx, oplog.DefineNamespace{Namespace: namespace})
}

// ImportNamespace says that a namespace is another registry's, for ever. Errors
// are those of DefineNamespace.
func (a *Authority) ImportNamespace(ctx context.Context, namespace, domain string) error {
	if err := checkNamespaceName(namespace); err != nil {
		return err
	}
	if domain == "" || domain == a.o.Domain {
		return warg.Errorf(warg.KindBadRequest, "a namespace is imported from another registry, not from `%s`", domain)
	}
	return a.submit(ctx, oplog.ImportNamespace{Namespace: namespace, Registry: domain})
}

func checkNamespaceName(namespace string) error {
	if !warg.ValidNamespace(namespace) {
		return warg.Errorf(warg.KindBadRequest, "`%s` is not a namespace: words of lower-case letters and digits, joined by hyphens", namespace)
	}
	return nil
}

// Namespaces returns the namespaces that the operator log knows, in its order.
func (a *Authority) Namespaces() []oplog.NamespaceState { return a.ops.namespaces() }

// GrantOperator lets another key act for the registry.
//
//	KindBadRequest  nothing is granted
//	KindConflict    the operator's key may not
func (a *Authority) GrantOperator(ctx context.Context, key warg.PublicKey, permissions []oplog.Permission) error {
	if key.IsZero() || len(permissions) == 0 {
		return warg.Errorf(warg.KindBadRequest, "a grant needs a key and at least one permission")
	}
	return a.submit(ctx, oplog.Grant{Key: key, Permissions: permissions})
}

// RevokeOperator takes permissions from a key. The key that signs checkpoints
// keeps the permission for that: without it the registry could not go on.
//
//	KindBadRequest  nothing is revoked, or what this registry runs on
//	KindConflict    the key does not have it
func (a *Authority) RevokeOperator(ctx context.Context, key warg.KeyID, permissions []oplog.Permission) error {
	if len(permissions) == 0 {
		return warg.Errorf(warg.KindBadRequest, "a revocation needs at least one permission")
	}
	if key == a.keyID && slices.Contains(permissions, oplog.PermissionCommit) {
		return warg.Errorf(warg.KindBadRequest, "key `%s` signs for this registry: run it with another key before revoking `%s`", key, oplog.PermissionCommit)
	}
	return a.submit(ctx, oplog.Revoke{KeyID: key, Permissions: permissions})
}

// Status says how the registry is doing, for operators.
type Status struct {
	Domain  string
	KeyID   warg.KeyID // of the operator's key in use
	State   string     // "ok", "fenced" or "failed"
	Fence   *Fence     // nil unless fenced
	Err     error      // nil unless failed
	Length  uint64     // of the log
	Signed  uint64     // when the last checkpoint was signed, seconds since the Unix epoch
	Pending int        // records accepted and not settled
	Waiting int        // of those, the ones that wait for content
	LowDisk bool       // nothing is taken in until there is more space
}

// Status returns how the registry is doing.
func (a *Authority) Status() Status {
	s := Status{Domain: a.o.Domain, KeyID: a.keyID, State: "ok", Fence: a.fence.Load(), Err: a.Err(), LowDisk: a.space.Low()}
	if s.Fence != nil {
		s.State = "fenced"
	}
	if s.Err != nil {
		s.State = "failed"
	}
	if v := a.view.Load(); v != nil {
		s.Length, s.Signed = v.Checkpoint.LogLength, v.Checkpoint.Timestamp
	}
	s.Pending, s.Waiting = a.pool.count()
	return s
}
