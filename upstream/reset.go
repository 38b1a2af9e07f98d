package upstream

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

const (
	resetFile   = "reset.json"       // in a directory that was set aside: why
	resetSuffix = ".reset-"          // between the name of the directory and the time
	resetTime   = "20060102T150405Z" // UTC, to the second
)

// Reset says what was set aside, when, and why. It is the content of reset.json in
// the directory that was set aside.
type Reset struct {
	Registry    string      `json:"registry"`
	Reason      string      `json:"reason"` // the operator's words
	At          time.Time   `json:"at"`
	Length      uint64      `json:"length"`                // of the log that was believed, 0 = unknown
	OperatorKey warg.KeyID  `json:"operatorKey,omitempty"` // what that hung on
	Quarantine  *Quarantine `json:"quarantine,omitempty"`  // names the evidence; nil if there was none
	Damage      string      `json:"damage,omitempty"`      // what could not be read of it
	Directory   string      `json:"directory"`             // where it is now
}

// SetAside renames the directory of a replica, which must not be open, so that the
// replica that is opened next begins anew, under the pin of its options: finding no
// head, [Open] empties its store. Nothing is deleted. The reason is written first and
// the rename is durable when SetAside returns, so that a crash leaves either the old
// replica, or none and the reason.
func SetAside(fsys durable.FS, dir, domain, reason string, now time.Time) (Reset, error) {
	now = now.UTC()
	to := dir + resetSuffix + now.Format(resetTime)
	switch exists, err := durable.Exists(fsys, dir); {
	case err != nil:
		return Reset{}, fmt.Errorf("looking for the replica of `%s`: %w", domain, err)
	case !exists:
		return Reset{}, warg.Errorf(warg.KindNotFound, "nothing is held of `%s`, so there is nothing to reset", domain)
	}
	switch exists, err := durable.Exists(fsys, to); {
	case err != nil:
		return Reset{}, fmt.Errorf("setting the replica of `%s` aside: %w", domain, err)
	case exists: // a rename would fail, or replace it
		return Reset{}, warg.Errorf(warg.KindConflict, "`%s` was reset in this very second: %s exists", domain, to)
	}
	r := describe(fsys, dir, domain)
	r.Reason, r.At, r.Directory = reason, now, to
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return Reset{}, fmt.Errorf("encoding why `%s` is reset: %w", domain, err)
	}
	if err := durable.Replace(fsys, filepath.Join(dir, resetFile), append(text, '\n'), nil); err != nil {
		return Reset{}, fmt.Errorf("writing why `%s` is reset: %w", domain, err)
	}
	if err := fsys.Rename(dir, to); err != nil {
		return Reset{}, fmt.Errorf("setting the replica of `%s` aside: %w", domain, err)
	}
	if err := fsys.SyncDir(filepath.Dir(dir)); err != nil {
		return Reset{}, fmt.Errorf("setting the replica of `%s` aside: %w", domain, err)
	}
	return r, nil
}

// describe says what is believed in a directory. What cannot be read keeps nobody from
// a reset: it may be the reason for it.
func describe(fsys durable.FS, dir, domain string) Reset {
	t := &trusted{fsys: fsys, dir: dir, domain: domain, log: slog.New(slog.DiscardHandler)}
	r := Reset{Registry: domain}
	err := t.readHead()
	if err == nil {
		err = t.readAccepted()
	}
	if err != nil {
		r.Damage = err.Error()
	}
	r.Length, r.OperatorKey, r.Quarantine = t.head.view.LogLength, t.head.OperatorKey, t.head.Quarantine
	if n := len(t.accepted); n > 0 {
		r.Length = max(r.Length, t.accepted[n-1].view.LogLength)
	}
	return r
}
