package authority

import (
	"errors"
	"fmt"
	"strings"

	"github.com/entrepot/entrepot/authority/journal"
	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// This file is about the audit log. What is published gets its line when it is visible;
// a line that a crash kept from being written is made from the journal at the next
// start. What is rejected gets its line first, so that no rejection is without one;
// after a crash there may be two.

// note records events. An error is final. Without space the events are kept in memory,
// and nothing is taken in until they are written.
func (a *Authority) note(events ...trail.Event) error {
	err := a.o.Audit.Record(events...)
	if errors.Is(err, trail.ErrNoSpace) {
		a.o.Log.Warn("the audit log waits for space", "error", err)
		return nil
	}
	return err
}

// noteBatch records what was decided about a batch, in one write with one sync.
func (a *Authority) noteBatch(b *batch) error {
	if a.o.Audit == nil {
		return nil
	}
	events := make([]trail.Event, 0, len(b.items)+len(b.rejected))
	for _, it := range b.items {
		events = append(events, a.publishedEvent(it.frame))
	}
	for _, r := range b.rejected {
		events = append(events, rejectedEvent(r, EndInvalid))
	}
	return a.note(events...)
}

func (a *Authority) publishedEvent(f journal.Frame) trail.Event {
	e := trail.Event{
		Kind: trail.Published, Index: trail.Number(f.Index), Record: f.Record.String(),
		Key: string(f.Envelope.KeyID), Entries: entriesOf(f),
	}
	if f.Kind == journal.Package {
		e.Package, e.Upstream = f.Name.String(), a.adopts[f.Name.Namespace()]
	}
	return e
}

func rejectedEvent(r rejection, end End) trail.Event {
	return trail.Event{
		Kind: trail.Rejected, Package: r.sub.name.String(), Record: r.sub.id.String(),
		Key: string(r.sub.env.KeyID), Class: end.String(), Reason: r.why,
	}
}

// noteRejected records rejections that are about to become durable.
func (a *Authority) noteRejected(end End, list ...rejection) error {
	if a.o.Audit == nil {
		return nil
	}
	events := make([]trail.Event, len(list))
	for i, r := range list {
		events[i] = rejectedEvent(r, end)
	}
	return a.note(events...)
}

// auditBehind writes what found no space before, and reports whether it still finds
// none.
func (a *Authority) auditBehind() (bool, error) {
	if !a.o.Audit.Behind() {
		return false, nil
	}
	err := a.o.Audit.Flush()
	if errors.Is(err, trail.ErrNoSpace) {
		return true, nil
	}
	return false, err
}

// openAudit brings the audit log to the anchor's length: a crash can come between a
// checkpoint and its lines.
func (a *Authority) openAudit() error {
	if a.o.Audit == nil {
		return nil
	}
	to := a.anchor.Length()
	from, begun := a.o.Audit.Covered()
	switch {
	case !begun:
		return a.note(trail.Event{Kind: trail.Begun, Domain: a.o.Domain, Length: trail.Number(to)})
	case from > to:
		a.o.Log.Warn("the audit log knows records that the registry does not have any more", "from", to, "to", from)
		return a.note(trail.Event{Kind: trail.Rewound, Length: trail.Number(to)})
	case to-from > journal.MaxTail:
		a.o.Log.Error("the audit log lacks records that were published", "from", from, "to", to)
		return a.note(trail.Event{Kind: trail.Gap, Length: trail.Number(to)})
	}
	var events []trail.Event
	err := a.journal.Scan(from, to, func(f journal.Frame, _ journal.Position) error {
		e := a.publishedEvent(f)
		e.Recovered = true
		events = append(events, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("completing the audit log: %w", err)
	}
	return a.note(events...)
}

// entriesOf says what a record does, in the words of the command line.
func entriesOf(f journal.Frame) string {
	if f.Kind == journal.Operator {
		return operatorEntries(f.Envelope)
	}
	rec, err := pkglog.Decode(f.Envelope.Content)
	if err != nil {
		return "" // it was validated before it was published
	}
	words := make([]string, len(rec.Entries))
	for i, e := range rec.Entries {
		switch e := e.(type) {
		case pkglog.Init:
			words[i] = "init " + string(e.Key.ID())
		case pkglog.Release:
			words[i] = "release " + e.Version.String() + " " + e.Content.String()
		case pkglog.Yank:
			words[i] = "yank " + e.Version.String()
		case pkglog.Grant:
			words[i] = "grant " + string(e.Key.ID()) + permissions(e.Permissions)
		case pkglog.Revoke:
			words[i] = "revoke " + string(e.KeyID) + permissions(e.Permissions)
		}
	}
	return strings.Join(words, ", ")
}

func operatorEntries(env warg.Envelope) string {
	rec, err := oplog.Decode(env.Content)
	if err != nil {
		return ""
	}
	words := make([]string, len(rec.Entries))
	for i, e := range rec.Entries {
		switch e := e.(type) {
		case oplog.Init:
			words[i] = "init " + string(e.Key.ID())
		case oplog.DefineNamespace:
			words[i] = "define namespace " + e.Namespace
		case oplog.ImportNamespace:
			words[i] = "import namespace " + e.Namespace + " " + e.Registry
		case oplog.Grant:
			words[i] = "grant " + string(e.Key.ID()) + permissions(e.Permissions)
		case oplog.Revoke:
			words[i] = "revoke " + string(e.KeyID) + permissions(e.Permissions)
		}
	}
	return strings.Join(words, ", ")
}

func permissions[P fmt.Stringer](list []P) (text string) {
	for _, p := range list {
		text += " " + p.String()
	}
	return text
}
