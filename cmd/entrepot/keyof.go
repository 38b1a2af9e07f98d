package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

type keyOfCmd struct {
	jsonFlag
	OnBehalf string `placeholder:"DOMAIN" help:"Ask the registry for the key of another one that it answers for."`
	URL      string `arg:"" name:"url" help:"Base URL of the registry."`
}

func (keyOfCmd) Help() string {
	return `The key id is what operator_key in the configuration pins. What a registry says of
itself is no proof: compare the id with one that its operator gave you another way.

Example:

    entrepot key of https://warg.wasi.example
`
}

// presented is what a registry says of its operator.
type presented struct {
	shownKey
	Registry   string        `json:"registry"`
	Signer     warg.KeyID    `json:"checkpointKeyId"` // of the latest checkpoint
	LogLength  uint64        `json:"logLength"`
	Namespaces []namespaceOf `json:"namespaces"`
}

type namespaceOf struct {
	Name     string `json:"namespace"`
	Registry string `json:"registry,omitempty"` // if it is imported
}

func (c keyOfCmd) Run(ctx context.Context, p *process) error {
	client, err := newClient(c.URL, c.OnBehalf)
	if err != nil {
		return err
	}
	defer client.Close()
	result, err := presentedKey(ctx, client)
	if err != nil {
		return fmt.Errorf("asking %s for its operator key: %w", c.URL, err)
	}
	result.Registry = c.URL
	return p.print(c.jsonFlag, result, func(w io.Writer) {
		result.write(w)
		if result.Signer != result.KeyID {
			fmt.Fprintf(w, "signs checkpoints\t%s\n", result.Signer)
		}
		for _, n := range result.Namespaces {
			if n.Registry == "" {
				fmt.Fprintf(w, "namespace\t%s\n", n.Name)
			} else {
				fmt.Fprintf(w, "namespace\t%s of %s\n", n.Name, n.Registry)
			}
		}
	})
}

// newClient returns a client for a registry that a person named. A private address
// is what they asked for then.
func newClient(url, onBehalf string) (*upstream.Client, error) {
	if !strings.Contains(url, "://") {
		url = "https://" + url
	}
	domain := onBehalf
	if domain == "" {
		domain = strings.TrimRight(url, "/") // what is remembered is kept under it
	}
	c, err := upstream.NewClient(upstream.ClientOptions{Domain: domain, URL: url, OnBehalf: onBehalf, AllowPrivateAddresses: true})
	if err != nil {
		return nil, exitf(exitUsage, "%w", err)
	}
	return c, nil
}

// presentedKey replays the operator log of a registry, which shows the key that
// signed its first record, and verifies the latest checkpoint with it.
func presentedKey(ctx context.Context, r warg.Registry) (presented, error) {
	view, err := r.Checkpoint(ctx)
	if err != nil {
		return presented{}, err
	}
	var state oplog.State
	var history oplog.CommitHistory
	var first warg.KeyID
	length := view.Signed.Unverified().LogLength
	for token, more := "", true; more; {
		page, err := r.Logs(ctx, warg.LogsRequest{LogLength: length, Limit: warg.MaxFetchLimit, Operator: token})
		if err != nil {
			return presented{}, err
		}
		for _, rec := range page.Operator {
			if first == "" {
				first = rec.KeyID
			}
			if err := state.Validate(rec.Envelope); err != nil {
				return presented{}, exitf(exitVerification, "its operator log is not valid: %w", err)
			}
			if err := history.Observe(rec.Index, &state); err != nil {
				return presented{}, exitf(exitVerification, "its operator log is not valid: %w", err)
			}
			token = rec.Token
		}
		more = page.More && len(page.Operator) > 0
	}
	signer := view.Signed.KeyID()
	key, known := state.Key(signer)
	if _, err := view.Signed.Open(key); err != nil || !known || !history.Holds(signer, length) {
		return presented{}, exitf(exitVerification, "its checkpoint is signed by key %s, which may not (%w)", signer, err)
	}
	root, _ := state.Key(first)
	shown := presented{shownKey: showKey(root, ""), Signer: signer, LogLength: length, Namespaces: []namespaceOf{}}
	for _, n := range state.Namespaces() {
		shown.Namespaces = append(shown.Namespaces, namespaceOf{n.Name, n.Registry})
	}
	return shown, nil
}
