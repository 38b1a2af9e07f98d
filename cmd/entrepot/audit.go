package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/journal"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check that no line of the audit log was lost or changed."`
}

type auditVerifyCmd struct {
	siteFlags
	jsonFlag
	Noted []string `placeholder:"LINE:SHA256" sep:"none" help:"A line that was noted elsewhere, as the server's log says it; may be given several times."`
	Keys  []string `name:"operator-key" placeholder:"KEYID" help:"A key that may have signed the log, besides the one in use; may be given several times."`
}

func (auditVerifyCmd) Help() string {
	return `Reads audit.log and the full files before it, also while a server writes them: every
line must follow the one before, every published record must have its line, up to the
registry's last checkpoint. Once a day the operator's key signs for all lines so far:
the signatures are verified, and must be of the key in use, or of one that is named.
Who has that key and can write the files could make up a whole log; the server's own
log says number and hash of the last line at every start and stop and once a day (the
audit log stands), and --noted looks for such a line.

Example:

    entrepot audit verify --config /etc/entrepot/entrepot.toml --noted 1201:9f86d081…
`
}

// auditVerified is what audit verify prints.
type auditVerified struct {
	audit.Report
	Length   uint64          `json:"length"` // of the registry's log, by its anchor; 0 = not known
	Findings []audit.Finding `json:"findings"`
}

func (c auditVerifyCmd) Run(p *process) error {
	marks, err := parseMarks(c.Noted)
	if err != nil {
		return err
	}
	conf, err := p.siteConfig(c.siteFlags)
	if err != nil {
		return err
	}
	// The length first: what is published while the log is read has its line later.
	length, err := anchoredLength(conf)
	if err != nil {
		return err
	}
	keys, err := p.auditKeys(conf, c.Keys)
	if err != nil {
		return err
	}
	report, findings, err := audit.Verify(audit.VerifyOptions{Path: auditPath(conf), Known: marks, Keys: keys})
	if errors.Is(err, fs.ErrNotExist) {
		return exitf(exitConfig, "there is no audit log in %s; a server writes one from its first start on", conf.Data)
	}
	if err != nil {
		return err
	}
	if report.Covers() && length > report.To+journal.MaxTail {
		findings = append(findings, audit.Finding{
			File:   auditPath(conf),
			Reason: fmt.Sprintf("it ends with record %d, and the registry has %d", int64(report.To)-1, length),
		})
	}
	result := auditVerified{report, length, append([]audit.Finding{}, findings...)}
	if err := p.print(c.jsonFlag, result, result.show); err != nil || len(findings) == 0 {
		return err
	}
	more := ""
	if n := len(findings) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return exitf(exitVerification, "the audit log is not what was written: %w%s", findings[0], more)
}

func (v auditVerified) show(w io.Writer) {
	fmt.Fprintf(w, "lines\t%d in %d files, from %s to %s\n", v.Lines, v.Files, v.Since.Format(time.RFC3339), v.Until.Format(time.RFC3339))
	fmt.Fprintf(w, "last\t%d:%s\n", v.Last, strings.TrimPrefix(v.Head, "sha256:"))
	if v.Covers() {
		fmt.Fprintf(w, "published\trecords %d to %d of %d\n", v.From, int64(v.To)-1, max(v.Length, v.To))
	}
	if v.Signed > 0 {
		fmt.Fprintf(w, "signed\tlines 1 to %d of %d, at %s by %s\n", v.Signed, v.Last, v.SignedAt.Format(time.RFC3339), v.SignedBy)
	} else {
		fmt.Fprintf(w, "signed\tnothing\n")
	}
	if v.Torn > 0 {
		fmt.Fprintf(w, "unfinished\t%d bytes at the end, which the next start cuts off\n", v.Torn)
	}
	for _, f := range v.Findings {
		fmt.Fprintf(w, "wrong\t%v\n", f)
	}
}

// parseMarks reads lines noted as LINE:SHA256.
func parseMarks(texts []string) (marks []audit.Mark, err error) {
	for _, text := range texts {
		number, hash, ok := strings.Cut(text, ":")
		line, bad := strconv.ParseUint(number, 10, 64)
		digest, worse := warg.ParseDigest("sha256:" + strings.TrimPrefix(hash, "sha256:"))
		if err := cmp.Or(bad, worse); err != nil || !ok || line == 0 {
			return nil, exitf(exitUsage, "--noted wants the number of a line and its SHA-256, `17:9f86…`, not `%s`", text)
		}
		marks = append(marks, audit.Mark{Line: line, Hash: digest})
	}
	return marks, nil
}

// auditKeys returns the keys that may have signed the audit log: those that are named, the
// one that is configured, and the one that signed the last checkpoint.
func (p *process) auditKeys(conf *config.Config, named []string) (keys []warg.KeyID, err error) {
	for _, text := range named {
		id, err := parseKeyID(text)
		if err != nil {
			return nil, exitf(exitUsage, "--operator-key: %w", err)
		}
		keys = append(keys, id)
	}
	if key, err := p.readPrivateKey(conf.KeyFile()); err == nil { // who verifies need not be able to
		keys = append(keys, key.Public().ID())
	}
	a, err := readAnchor(conf)
	if a.KeyID != "" {
		keys = append(keys, a.KeyID)
	}
	return keys, err
}

// anchoredLength returns the length of our own registry by its anchor, 0 where that
// cannot be read: whether it is sound is not the question here.
func anchoredLength(conf *config.Config) (uint64, error) {
	a, err := readAnchor(conf)
	return a.Length(), err
}

func readAnchor(conf *config.Config) (anchor.Anchor, error) {
	file := cmp.Or(conf.Authority.AnchorFile, filepath.Join(conf.Data, authorityDir, "anchor"))
	a, err := anchor.NewFile(durable.OS{}, file, "").Load()
	if errors.Is(err, fs.ErrPermission) {
		return anchor.Anchor{}, err
	}
	if err != nil {
		return anchor.Anchor{}, nil
	}
	return a, nil
}
