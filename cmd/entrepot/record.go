package main

import (
	"context"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg/pkglog"
)

type yankCmd struct {
	publishFlags
	jsonFlag
	Release string `arg:"" name:"release" help:"NS:NAME@VERSION."`
}

func (yankCmd) Help() string {
	return `For good: a version that was yanked is never chosen again and cannot be released
again. Who has its content keeps it.

Example:

    entrepot yank acme:tool@1.0.0
`
}

func (c yankCmd) Run(ctx context.Context, p *process) error {
	r, err := parseRelease(c.Release)
	if err != nil {
		return err
	}
	done, err := p.publish(ctx, c.publishFlags, upstream.Publication{Name: r.name, Entries: []pkglog.Entry{pkglog.Yank{Version: r.version}}})
	if err != nil {
		return fmt.Errorf("yanking `%s`: %w", c.Release, err)
	}
	done.Version = r.version.String()
	return p.print(c.jsonFlag, done, func(w io.Writer) { fmt.Fprintf(w, "yanked %s@%s\n", done.Package, done.Version) })
}

type grantCmd struct {
	publishFlags
	jsonFlag
	Package     string   `arg:"" name:"package" help:"NS:NAME."`
	PublicKey   string   `arg:"" name:"key" help:"Public key (ecdsa-p256:…), or a file with one."`
	Permissions []string `arg:"" name:"perm" enum:"release,yank" help:"release, yank."`
}

func (grantCmd) Help() string {
	return "Example:\n\n    entrepot grant acme:tool ecdsa-p256:A1OfZz5Y9Ny7VKPVwroCTQPAr9tmlI4U/UTYHZHA87AF release yank\n"
}

func (c grantCmd) Run(ctx context.Context, p *process) error {
	name, err := parsePackage(c.Package)
	if err != nil {
		return err
	}
	key, err := p.publicKey(c.PublicKey)
	if err != nil {
		return err
	}
	entry := pkglog.Grant{Key: key, Permissions: packagePermissions(c.Permissions)}
	if _, err := p.publish(ctx, c.publishFlags, upstream.Publication{Name: name, Entries: []pkglog.Entry{entry}}); err != nil {
		return fmt.Errorf("granting permissions of `%s`: %w", name, err)
	}
	result := changedKey{name.String(), key.ID(), c.Permissions}
	return p.print(c.jsonFlag, result, result.write("now has"))
}

type revokeCmd struct {
	publishFlags
	jsonFlag
	Package     string   `arg:"" name:"package" help:"NS:NAME."`
	KeyID       string   `arg:"" name:"keyid" help:"Key id (sha256:…), as info prints it."`
	Permissions []string `arg:"" name:"perm" enum:"release,yank" help:"release, yank."`
}

func (revokeCmd) Help() string {
	return "Example:\n\n    entrepot revoke acme:tool sha256:d6d9b4cd077a829c0275233bf3843c8294e250dfcc82b8ea15745e92982a820d yank\n"
}

func (c revokeCmd) Run(ctx context.Context, p *process) error {
	name, err := parsePackage(c.Package)
	if err != nil {
		return err
	}
	id, err := parseKeyID(c.KeyID)
	if err != nil {
		return err
	}
	entry := pkglog.Revoke{KeyID: id, Permissions: packagePermissions(c.Permissions)}
	if _, err := p.publish(ctx, c.publishFlags, upstream.Publication{Name: name, Entries: []pkglog.Entry{entry}}); err != nil {
		return fmt.Errorf("revoking permissions of `%s`: %w", name, err)
	}
	result := changedKey{name.String(), id, c.Permissions}
	return p.print(c.jsonFlag, result, result.write("no longer has"))
}

// packagePermissions reads names that the command line accepted.
func packagePermissions(names []string) []pkglog.Permission {
	all := map[string]pkglog.Permission{}
	for _, p := range []pkglog.Permission{pkglog.PermissionRelease, pkglog.PermissionYank} {
		all[p.String()] = p
	}
	found := make([]pkglog.Permission, len(names))
	for i, name := range names {
		found[i] = all[name]
	}
	return found
}
