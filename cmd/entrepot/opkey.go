package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// hasAuthority reports whether a data directory holds a registry, even half of one.
// The lock that a failed attempt left behind is none.
func hasAuthority(conf *config.Config) (bool, error) {
	names, err := durable.OS{}.ReadDir(filepath.Join(conf.Data, authorityDir))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, n := range names {
		if n.Name() != "lock" {
			return true, nil
		}
	}
	return false, err
}

// operatorKey reads the operator's key. One that is not configured is made, in the
// data directory, as long as there is no registry that another key signed.
func (p *process) operatorKey(conf *config.Config, o siteOptions) (warg.PrivateKey, error) {
	exists, err := hasAuthority(conf)
	if err != nil {
		return warg.PrivateKey{}, fmt.Errorf("looking for a registry: %w", err)
	}
	if !exists && !o.create {
		return warg.PrivateKey{}, exitf(exitConfig, "there is no registry in %s yet; `entrepot init` or `entrepot serve` makes one", conf.Data)
	}
	file := conf.KeyFile()
	key, err := p.readPrivateKey(file)
	switch {
	case err == nil:
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return key, asConfig(err)
	case conf.Authority.KeyFile != "":
		return key, exitf(exitConfig, "the operator's key file %s does not exist; make a key with `entrepot key new --out %s`", file, file)
	case exists:
		return key, exitf(exitConfig, "the operator's key file %s is missing, and nobody else can sign for the registry in %s; restore the file from a backup", file, conf.Data)
	}
	if key, err = createKey(file); err != nil {
		return key, err
	}
	o.log.Info("operator key made", "file", file, "operator_key", string(key.Public().ID()))
	return key, nil
}

// asConfig gives an error that no retry will cure the exit code of configuration,
// unless it is one of the disk.
func asConfig(err error) error {
	if exitCode(err) == exitFailed {
		return exitf(exitConfig, "%w", err)
	}
	return err
}
