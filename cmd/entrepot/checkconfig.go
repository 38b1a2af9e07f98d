package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/config"
)

type checkConfigCmd struct {
	configFlag
	jsonFlag
}

func (checkConfigCmd) Help() string {
	return `Every complaint has file, line and column. Warnings do not fail the check.

Example:

    entrepot check-config --config /etc/entrepot/entrepot.toml
`
}

// complaint is a problem in JSON.
type complaint struct {
	Source  string `json:"source"` // file, variable or flag
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// verdict is the answer of check-config.
type verdict struct {
	File     string      `json:"file"`
	OK       bool        `json:"ok"`
	Problems []complaint `json:"problems"`
	Warnings []complaint `json:"warnings"`
}

func (c checkConfigCmd) Run(p *process) error {
	conf, err := p.config(c.Config, nil)
	var list *config.Error
	if err != nil && !errors.As(err, &list) {
		return err
	}
	v := verdict{File: c.Config, OK: err == nil, Problems: []complaint{}, Warnings: []complaint{}}
	if list != nil {
		v.Problems = complaints(list.Problems)
	}
	if conf != nil {
		v.File, v.Warnings = conf.File, complaints(conf.Warnings)
	}
	if c.JSON {
		if printed := p.print(c.jsonFlag, v, nil); printed != nil {
			return printed
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return nil
	}
	p.warnings(conf)
	name := conf.File
	if name == "" {
		name = "no configuration file, defaults and environment"
	}
	return p.print(c.jsonFlag, v, func(w io.Writer) { fmt.Fprintf(w, "%s: ok\n", name) })
}

func complaints(list []config.Problem) []complaint {
	all := make([]complaint, len(list))
	for i, c := range list {
		all[i] = complaint{c.Name, c.Line, c.Column, c.Message}
	}
	return all
}

// config reads the configuration and refuses what this build does not serve. The
// flags are keys at the top of the file that the command line sets.
func (p *process) config(file string, flags map[string]string) (*config.Config, error) {
	c, err := config.Load(config.Options{File: file, Folder: p.folder, Env: p.env, Flags: flags})
	if err != nil {
		return nil, err
	}
	if err := unserved(c); err != nil {
		return nil, err
	}
	if c.Authority.PolicyFile != "" {
		if _, err := config.LoadPolicy(c.Authority.PolicyFile); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// warnings prints what is allowed and probably not meant.
func (p *process) warnings(c *config.Config) {
	for _, w := range c.Warnings {
		fmt.Fprintf(p.stderr, "%s: warning: %s\n", w.Source, w.Message)
	}
}
