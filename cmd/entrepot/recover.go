package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
)

type recoverCmd struct {
	siteFlags
	jsonFlag
	From   string `placeholder:"URL" help:"Fetch what is missing from a registry that mirrors this one: its URL, or its name in the configuration."`
	Accept string `placeholder:"LENGTH:LOGROOT" help:"Say that this is the newest checkpoint that was ever issued."`
	Clock  bool   `name:"accept-clock" help:"Say that the clock is right although it jumped; also while the server runs."`
}

func (recoverCmd) Help() string {
	return `For a registry that is fenced because it may have issued more than its directory
knows: restored from a copy, moved, or its anchor lost. No server may run on it.

With --from, everything that the peer holds of this registry is fetched, verified from
the first record on under the operator key that is here, and taken over. A peer that
has not seen what is here is refused. Interrupted, it goes on where it was.

With --accept nothing is fetched: you vouch that no checkpoint after that one was ever
issued. Together with --from it is the word that is needed where there is no anchor.

Example:

    entrepot recover --from https://mirror.example
    entrepot recover --accept 1204:sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
`
}

func (c recoverCmd) Run(ctx context.Context, p *process) error {
	if c.Clock {
		return c.acceptClock(ctx, p)
	}
	if c.From == "" && c.Accept == "" {
		return exitf(exitUsage, "say where to recover from with --from URL, or vouch for a checkpoint with --accept LENGTH:LOGROOT")
	}
	word, err := parseWord(c.Accept)
	if err != nil {
		return err
	}
	return p.rescue(ctx, c.siteFlags, func(s *site) error {
		about := strings.TrimSpace(c.From + " " + c.Accept)
		if c.From != "" {
			return audited(s.audit, "recover", about, func() error { return c.fetch(ctx, p, s, word) })
		}
		err := audited(s.audit, "recover", about, func() error { return authority.Accept(ctx, s.authorityOptions(), *word) })
		if err != nil {
			return notRecovered(err)
		}
		return p.print(c.jsonFlag, recovered{To: word.Length}, func(w io.Writer) {
			fmt.Fprintf(w, "the newest checkpoint of %s is that of length %d; start the server\n", s.conf.Authority.Domain, word.Length)
		})
	})
}

// recovered is what came of a recovery.
type recovered struct {
	From    uint64        `json:"from"`    // length of the log that was here
	To      uint64        `json:"to"`      // length of the log now
	Lacking []warg.Digest `json:"lacking"` // content that the peer does not have
}

// parseWord reads LENGTH:LOGROOT; nothing is no word.
func parseWord(text string) (*authority.Word, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // the flag was not given
	}
	length, root, _ := strings.Cut(text, ":")
	n, err := strconv.ParseUint(length, 10, 64)
	if err != nil {
		return nil, exitf(exitUsage, "`%s` is not a checkpoint: give its length and log root as 1204:sha256:…", text)
	}
	d, err := warg.ParseDigest(root)
	if err != nil {
		return nil, exitf(exitUsage, "`%s` is not a checkpoint: reading the log root: %w", text, err)
	}
	return &authority.Word{Length: n, LogRoot: d}, nil
}

// notRecovered gives an error of the authority its exit code: the registry is as it
// was, and fenced.
func notRecovered(err error) error {
	var no *authority.RefusedError
	if errors.As(err, &no) {
		code := exitConfig
		if no.Untrue {
			code = exitVerification
		}
		return exitf(code, "not recovered, nothing was changed: %w", err)
	}
	return fmt.Errorf("recovering: %w", err)
}

// rescue does something to our own registry while nobody has it open.
func (p *process) rescue(ctx context.Context, flags siteFlags, do func(*site) error) (err error) {
	conf, err := p.siteConfig(flags)
	if err != nil {
		return err
	}
	if conn, err := dialAdmin(ctx, adminAddress(conf)); err == nil {
		_ = conn.Close()
		return exitf(exitTemporary, "a server runs on %s; stop it first", conf.Data)
	}
	lock, err := holdFolder(conf, p.command, p.now())
	if holder, ok := held(err); ok {
		return exitf(exitTemporary, "data directory %s is in use by %s; stop that first", conf.Data, holder)
	}
	if err != nil {
		return err
	}
	s := &site{process: p, conf: conf, now: p.now, log: newLogger(p.stderr, conf.LogFormat, "warn")}
	s.closers = append(s.closers, lock.Close)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := notHalfRestored(conf); err != nil {
		return err
	}
	if s.audit, err = openAudit(conf, p.now, s.log); err != nil {
		return err
	}
	s.closers = append(s.closers, s.audit.Close)
	if s.key, err = p.readPrivateKey(conf.KeyFile()); err != nil {
		return asConfig(fmt.Errorf("reading the operator's key, without which nothing can be recovered: %w", err))
	}
	s.audit.SignWith(audit.Signer{Domain: conf.Authority.Domain, Key: s.key})
	return do(s)
}
