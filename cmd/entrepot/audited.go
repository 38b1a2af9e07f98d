package main

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
)

// openAudit opens the audit log of a data directory that is held.
func openAudit(conf *config.Config, now func() time.Time, log *slog.Logger) (*audit.Log, error) {
	return audit.Open(audit.Options{Path: auditPath(conf), Now: now, Log: log})
}

func auditPath(conf *config.Config) string { return filepath.Join(conf.Data, auditFile) }

// audited does what an operator asks for. That it was asked for is recorded before, so
// that nothing can be done unrecorded, and afterwards how it ended.
func audited(log *audit.Log, call, about string, do func() error) error {
	err := log.Record(audit.Event{Kind: audit.Asked, Call: call, About: about})
	if errors.Is(err, audit.ErrNoSpace) {
		err = &warg.Error{Kind: warg.KindNoSpace, Message: "no space left for the audit log", Err: err}
	}
	if err != nil {
		return fmt.Errorf("recording what is asked for: %w", err)
	}
	end := audit.Event{Kind: audit.Done, Call: call, About: about}
	if err = do(); err != nil {
		end.Kind, end.Reason = audit.Failed, err.Error()
	}
	if late := log.Record(end); late != nil && !errors.Is(late, audit.ErrNoSpace) {
		err = errors.Join(err, fmt.Errorf("recording how it ended: %w", late))
	}
	return err
}

// recorded is audited for a command on a data directory that it holds: no server runs
// there, so the command opens the log itself and the chain goes on.
func (p *process) recorded(conf *config.Config, call, about string, do func() error) (err error) {
	log, err := openAudit(conf, p.now, newLogger(p.stderr, conf.LogFormat, "error"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return audited(log, call, about, do)
}

// noteStopped records that the server ends, and why if that is not because it was told to.
func (s *site) noteStopped(why error) {
	e := audit.Event{Kind: audit.Stopped, Length: audit.Number(s.authority.Status().Length)}
	if why != nil {
		e.Reason = why.Error()
	}
	_ = s.audit.Record(e) // if it is the audit log that failed, why says so
}
