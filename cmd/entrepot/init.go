package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
)

type initCmd struct {
	jsonFlag
	Config    string   `placeholder:"FILE" default:"entrepot.toml" help:"Configuration file to write."`
	Domain    string   `placeholder:"DOMAIN" default:"localhost" help:"Our own name as a registry; it is signed, so choose it once."`
	Namespace []string `placeholder:"NS" sep:"none" help:"Namespace to define; may be given several times. Default: local."`
}

func (initCmd) Help() string {
	return `The data directory is entrepot-data beside the configuration file. Nothing is ever
overwritten.

Example:

    entrepot init --config site/entrepot.toml --domain pkg.example.com --namespace acme
`
}

// founded is what init prints.
type founded struct {
	shownKey
	Config     string   `json:"config"`
	Data       string   `json:"data"`
	Domain     string   `json:"domain"`
	Namespaces []string `json:"namespaces"`
}

func (c initCmd) Run(ctx context.Context, p *process) error {
	if len(c.Namespace) == 0 {
		c.Namespace = []string{config.DefaultNamespace}
	}
	if err := c.check(); err != nil {
		return err
	}
	if err := c.writeConfig(p); err != nil {
		return err
	}
	conf, err := p.config(c.Config, nil)
	if err != nil {
		return err
	}
	s, err := p.openSite(ctx, conf, siteOptions{create: true, init: true, log: newLogger(p.stderr, "text", "warn")})
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s", conf.Data, holder)
	}
	if err != nil {
		return err
	}
	key := s.key.Public()
	if err := s.close(); err != nil {
		return fmt.Errorf("closing the new registry: %w", err)
	}
	result := founded{showKey(key, conf.KeyFile()), c.Config, conf.Data, conf.Authority.Domain, conf.Authority.Namespaces}
	return p.print(c.jsonFlag, result, func(w io.Writer) {
		fmt.Fprintf(w, "configuration\t%s\ndata\t%s\n", result.Config, result.Data)
		result.write(w)
		fmt.Fprintf(w, "next\tentrepot serve --config %s\n", c.Config)
	})
}

// check judges the arguments before anything is written.
func (c initCmd) check() error {
	if err := config.ValidDomain(c.Domain); err != nil {
		return exitf(exitUsage, "--domain %w", err)
	}
	for _, ns := range c.Namespace {
		if err := (namespaceArg{ns}).check(); err != nil {
			return err
		}
	}
	return nil
}

// writeConfig writes the configuration file. One that is there already is accepted
// only if it is word for word what would be written and no registry was made with
// it yet: then an earlier init was interrupted.
func (c initCmd) writeConfig(p *process) error {
	text, err := config.Template{
		Listen: config.DefaultListen, Data: config.DefaultData, Domain: c.Domain, Namespaces: c.Namespace,
	}.Text()
	if err != nil {
		return fmt.Errorf("composing the configuration: %w", err)
	}
	file := p.path(c.Config)
	there, err := os.ReadFile(file)
	switch {
	case err == nil:
		begun, err := hasAuthority(&config.Config{Data: filepath.Join(filepath.Dir(file), config.DefaultData)})
		if err != nil {
			return fmt.Errorf("looking for a registry: %w", err)
		}
		if begun || !bytes.Equal(there, text) {
			return exitf(exitConfig, "%s exists already and is not overwritten; `entrepot serve --config %s` runs what it describes", c.Config, c.Config)
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("looking for a configuration file: %w", err)
	}
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(file)); err != nil {
		return fmt.Errorf("making a folder for the configuration: %w", err)
	}
	if err := createFile(file, text); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}
