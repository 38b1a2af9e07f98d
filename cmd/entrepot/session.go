package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// defaultRegistry is where a server without configuration answers.
const defaultRegistry = "http://127.0.0.1:8090"

// registryFlags are part of every command that speaks to a registry as any client
// does.
type registryFlags struct {
	Registry    string `placeholder:"URL" default:"http://127.0.0.1:8090" help:"Base URL of the registry. Default: http://127.0.0.1:8090."`
	OnBehalf    string `placeholder:"DOMAIN" help:"Ask the registry on behalf of another one that it answers for."`
	OperatorKey string `placeholder:"KEYID" help:"Operator key that the registry must have, as key of prints it. Default: the one seen first."`
}

// session is a verifying session with a registry, for one command.
type session struct {
	*upstream.Session
	p      *process
	flags  registryFlags
	client *upstream.Client
}

// openSession begins a session. What was verified last time is remembered below the
// user's state folder, so that a registry which goes back is noticed.
func (p *process) openSession(flags registryFlags) (*session, error) {
	if flags.OperatorKey != "" {
		if _, err := parseKeyID(flags.OperatorKey); err != nil {
			return nil, err
		}
	}
	client, err := newClient(flags.Registry, flags.OnBehalf)
	if err != nil {
		return nil, err
	}
	folder, err := p.stateFolder()
	if err != nil {
		return nil, fmt.Errorf("remembering what the registry said: %w", err)
	}
	// Another registry that answers on behalf of this one is to tell the same story.
	memory := upstream.FileMemory(filepath.Join(folder, "registries", upstream.MemoryFile(client.Domain())))
	s, err := upstream.OpenSession(upstream.SessionOptions{
		Registry: client, OperatorKey: warg.KeyID(flags.OperatorKey), Memory: memory, Now: p.now,
	})
	if err != nil {
		client.Close()
		return nil, err
	}
	return &session{s, p, flags, client}, nil
}

func (s *session) close() { s.client.Close() }

// fetch fetches and verifies a package.
func (s *session) fetch(ctx context.Context, name warg.PackageName) (*upstream.Snapshot, error) {
	snap, err := s.Fetch(ctx, name)
	if err != nil {
		return nil, s.explain(err, name)
	}
	s.told(snap)
	return snap, nil
}

// explain says in the user's words that a package is not there.
func (s *session) explain(err error, name warg.PackageName) error {
	if errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound, ID: name.LogID().String()}) {
		return exitf(exitFailed, "registry %s does not know package `%s`; `entrepot packages` lists what it has", s.Domain(), name)
	}
	return err
}

// told passes on what a person should know of a snapshot, on standard error.
func (s *session) told(snap *upstream.Snapshot) {
	for _, w := range snap.Warnings {
		fmt.Fprintf(s.p.stderr, "warning: registry %s: %s\n", s.Domain(), w)
	}
	if !snap.Pinned {
		fmt.Fprintf(s.p.stderr, "operator key of %s seen for the first time and trusted from now on: %s\n", s.Domain(), snap.OperatorKey)
	}
}
