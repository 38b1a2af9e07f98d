package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
)

type operatorCmd struct {
	Grant  operatorGrantCmd  `cmd:"" help:"Let another key act for this registry."`
	Revoke operatorRevokeCmd `cmd:"" help:"Take permissions from a key of this registry."`
}

type operatorGrantCmd struct {
	siteFlags
	jsonFlag
	Key         string   `arg:"" help:"Public key (ecdsa-p256:…), or a file with one."`
	Permissions []string `arg:"" name:"perm" enum:"commit,defineNamespace,importNamespace" help:"commit, defineNamespace, importNamespace."`
}

func (operatorGrantCmd) Help() string {
	return `The first half of changing the operator key: the new key gets its permissions, the
server is started with it, then the old key is revoked.

Example:

    entrepot operator grant new-operator.pub commit defineNamespace importNamespace
`
}

// changedKey is what commands print that give or take permissions.
type changedKey struct {
	Package     string     `json:"package,omitempty"`
	KeyID       warg.KeyID `json:"keyId"`
	Permissions []string   `json:"permissions"`
}

func (c changedKey) write(verb string) func(io.Writer) {
	return func(w io.Writer) {
		fmt.Fprintf(w, "key %s %s %s\n", c.KeyID, verb, strings.Join(c.Permissions, ", "))
	}
}

func (c operatorGrantCmd) Run(ctx context.Context, p *process) error {
	key, err := p.publicKey(c.Key)
	if err != nil {
		return err
	}
	result := changedKey{KeyID: key.ID(), Permissions: c.Permissions}
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		if err := ops.Operators.GrantOperator(ctx, key, c.Permissions); err != nil {
			return fmt.Errorf("granting permissions to key %s: %w", key.ID(), err)
		}
		return p.print(c.jsonFlag, result, result.write("now has"))
	})
}

type operatorRevokeCmd struct {
	siteFlags
	jsonFlag
	KeyID       string   `arg:"" name:"keyid" help:"Key id (sha256:…), as key id prints it."`
	Permissions []string `arg:"" name:"perm" enum:"commit,defineNamespace,importNamespace" help:"commit, defineNamespace, importNamespace."`
}

func (operatorRevokeCmd) Help() string {
	return `Example:

    entrepot operator revoke sha256:d6d9b4cd077a829c0275233bf3843c8294e250dfcc82b8ea15745e92982a820d commit
`
}

func (c operatorRevokeCmd) Run(ctx context.Context, p *process) error {
	id, err := parseKeyID(c.KeyID)
	if err != nil {
		return err
	}
	result := changedKey{KeyID: id, Permissions: c.Permissions}
	return p.operate(ctx, c.siteFlags, func(ops proxy.Admin) error {
		if err := ops.Operators.RevokeOperator(ctx, id, c.Permissions); err != nil {
			return fmt.Errorf("revoking permissions of key %s: %w", id, err)
		}
		return p.print(c.jsonFlag, result, result.write("no longer has"))
	})
}

// publicKey reads a public key: the text itself, or a file that holds it.
func (p *process) publicKey(arg string) (warg.PublicKey, error) {
	text := arg
	if !strings.HasPrefix(arg, "ecdsa-p256:") {
		var err error
		if text, err = readKeyText(p.path(arg)); err != nil {
			return warg.PublicKey{}, err
		}
	}
	key, err := warg.ParsePublicKey(text)
	if err != nil {
		return key, exitf(exitUsage, "reading the public key: %w; `entrepot key id FILE` prints that of a private one", err) // not what was given: it may be a secret
	}
	return key, nil
}

func parseKeyID(text string) (warg.KeyID, error) {
	if _, err := warg.ParseDigest(text); err != nil {
		return "", exitf(exitUsage, "`%s` is not a key id: %w; `entrepot key id FILE` prints it", text, err)
	}
	return warg.KeyID(text), nil
}
