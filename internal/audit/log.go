package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// Options say which log to open.
type Options struct {
	Path string           // of the newest file, DATA/audit.log
	FS   durable.FS       // nil = the real one
	Now  func() time.Time // nil = time.Now
	Log  *slog.Logger     // nil = nothing is logged
	Max  int64            // bytes after which a file is full, 0 = 16 MiB
}

const defaultMax = 16 << 20

// maxBacklog is how many events are kept in memory while the disk is full. What makes
// most of them, publishing, waits meanwhile.
const maxBacklog = 1 << 16

// ErrNoSpace says that the disk is full. The events are kept, and are written before
// the next ones.
var ErrNoSpace = errors.New("no space left for the audit log")

// Log is an open log. It is safe for concurrent use. A nil *Log records nothing.
type Log struct {
	o Options

	mu      sync.Mutex
	file    durable.File // nil until something is written
	size    int64        // bytes of good lines in it
	place   place
	covered uint64  // records of the registry's log up to here have their line
	begun   bool    // covered is known
	due     []Event // to be written before anything else: what was found while opening
	backlog []entry // what found no space
	synced  uint64  // how often
	day     string  // of the last head that was said
	err     error   // final
	signer  Signer  // zero = nobody signs
	signed  string  // day of the last signature
	last    Kind    // of the last line

	numbers []uint64 // of full files
	torn    int64    // bytes behind the good lines, to be cut
	broken  bool     // the newest file is to be set aside

	failed chan struct{}
}

// entry is an event and when it happened.
type entry struct {
	at time.Time
	Event
}

// Open finds the end of a log, or that there is none yet. It reads the newest file and
// changes nothing: that is left to the first Record.
func Open(o Options) (*Log, error) {
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	l := &Log{o: o, failed: make(chan struct{})}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return l, nil
}

func (l *Log) open() (err error) {
	if l.numbers, err = rotated(l.o.FS, l.o.Path); err != nil {
		return err
	}
	known, err := l.afterRotated()
	if err != nil {
		return err
	}
	e, err := l.resume(l.o.Path, !known)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case e.bad != nil && e.lines == 0 && known && endsAt(l.o.FS, l.o.Path, l.place):
		// A crash while the full file got its number left it under both names.
		return l.o.FS.Remove(l.o.Path)
	case e.bad != nil:
		l.broken = true
		l.due = append(l.due, Event{Kind: Damaged, File: filepath.Base(l.o.Path), Line: e.lines + 1, Reason: e.bad.Error()})
		l.o.Log.Error("the audit log is damaged, and goes on in a new file", "file", l.o.Path, "line", e.lines+1, "reason", e.bad.Error())
	case e.torn > 0:
		l.torn = e.torn
		l.due = append(l.due, Event{Kind: Repaired, Bytes: e.torn})
	}
	l.size = e.size
	return nil
}

// afterRotated moves to the end of the last full file, and reports whether the newest
// one must go on from there. Behind a damaged one it is believed about where it begins.
func (l *Log) afterRotated() (known bool, err error) {
	if len(l.numbers) == 0 {
		return false, nil
	}
	name := rotatedName(l.o.Path, l.numbers[len(l.numbers)-1])
	e, err := l.resume(name, true)
	if err != nil || e.torn == 0 {
		return err == nil, err
	}
	return false, l.standsAs(name)
}

// resume reads a file. Unless it must go on from where the log stands, its first line
// is believed about where that is.
func (l *Log) resume(name string, anywhere bool) (end, error) {
	f, err := l.o.FS.Open(name)
	if err != nil {
		return end{}, err
	}
	defer f.Close()
	if p, ok := beginning(f); anywhere && ok {
		l.place = p
	}
	var telling, signed []byte // the last line that says what is covered, and the last that is signed
	e, err := l.place.scan(f, func(_ uint64, text []byte) error {
		if l.last = kindOf(text); covers(l.last) {
			telling = append(telling[:0], text...)
		}
		if l.last == Signed {
			signed = append(signed[:0], text...)
		}
		return nil
	})
	if last, bad := parseLine(signed); bad == nil {
		l.signed, _, _ = strings.Cut(last.Time, "T")
	}
	if last, bad := parseLine(telling); bad == nil {
		l.cover(last.Event)
	}
	return e, err
}

// cover takes in what an event says about what is covered.
func (l *Log) cover(e Event) {
	switch {
	case !covers(e.Kind):
	case e.Kind == Published && e.Index != nil:
		l.covered, l.begun = *e.Index+1, true
	case e.Length != nil:
		l.covered, l.begun = *e.Length, true
	}
}

// Covered returns the length of the registry's log up to which records have their line;
// ok is false if nothing was said about it yet.
func (l *Log) Covered() (length uint64, ok bool) {
	if l == nil {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.covered, l.begun
}

// Record writes events and returns when they are durable. [ErrNoSpace] says that they
// are kept until there is space again; any other error is final, for this call and all
// that follow: what is on disk is no longer known.
func (l *Log) Record(events ...Event) error {
	if l == nil || len(events) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	now := l.o.Now()
	if len(l.backlog)+len(events) > maxBacklog {
		return l.fail(fmt.Errorf("the audit log waits for space with %d events: %w", len(l.backlog), ErrNoSpace))
	}
	for _, e := range events {
		l.backlog = append(l.backlog, entry{now, e})
	}
	return l.flush()
}

// Flush writes what found no space before.
func (l *Log) Flush() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || len(l.backlog) == 0 {
		return l.err
	}
	return l.flush()
}

// Behind reports whether events wait for space.
func (l *Log) Behind() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.backlog) > 0
}

// flush writes the backlog: one write, one sync.
func (l *Log) flush() error {
	fresh, err := l.ready()
	if err == nil {
		err = l.write(fresh)
	}
	if durable.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		return l.fail(fmt.Errorf("writing the audit log: %w", err))
	}
	l.sayHead()
	return nil
}

// write appends the backlog. Without space everything is as it was before.
func (l *Log) write(fresh bool) error {
	next, due := l.place, make([]entry, 0, len(l.due)+1)
	now := l.o.Now()
	if fresh && l.place.n > 0 {
		e := Event{Kind: Continued}
		if l.begun {
			e.Length = Number(l.covered)
		}
		due = append(due, entry{now, e})
	}
	for _, e := range l.due {
		due = append(due, entry{now, e})
	}
	var text []byte
	var err error
	last, signed := l.last, l.signed
	for _, e := range append(due, l.backlog...) {
		if text, err = next.appendLine(text, e.at, e.Event); err != nil {
			return err
		}
		last = e.Kind
	}
	if l.mustSign(now) {
		if text, err = next.appendLine(text, now, l.signer.signedLine(next, now)); err != nil {
			return err
		}
		last, signed = Signed, dayOf(now)
	}
	if _, err := l.file.WriteAt(text, l.size); err != nil {
		if durable.IsNoSpace(err) {
			if undo := l.file.Truncate(l.size); undo != nil {
				return fmt.Errorf("taking back what found no space: %w", undo)
			}
		}
		return err
	}
	if err := l.file.Datasync(); err != nil {
		return err
	}
	l.synced++
	if fresh {
		if err := l.o.FS.SyncDir(filepath.Dir(l.o.Path)); err != nil {
			return err
		}
		l.synced++
	}
	for _, e := range l.backlog {
		l.cover(e.Event)
	}
	l.place, l.size, l.due, l.backlog = next, l.size+int64(len(text)), nil, nil
	l.last, l.signed = last, signed
	return nil
}

// fail makes an error final.
func (l *Log) fail(err error) error {
	l.err = err
	close(l.failed)
	l.o.Log.Error("the audit log stops", "error", err)
	return err
}

// Failed is closed when an error has ended all writing for good. The process should end
// with it.
func (l *Log) Failed() <-chan struct{} {
	if l == nil {
		return nil
	}
	return l.failed
}

// Err returns the error that ended all writing, or nil.
func (l *Log) Err() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Syncs returns how often the log waited for the disk.
func (l *Log) Syncs() uint64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.synced
}

// Close says where the log stands and closes its file.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = errors.New("the audit log is closed")
	}
	if l.file == nil {
		return nil
	}
	l.head()
	err := l.file.Close()
	l.file = nil
	return err
}

// sayHead says where the log stands, at its first line and once a day.
func (l *Log) sayHead() {
	if day := dayOf(l.o.Now()); day != l.day {
		l.day = day
		l.head()
	}
}

func (l *Log) head() {
	l.o.Log.Info("the audit log stands", "line", l.place.n, "digest", "sha256:"+l.place.hash.Hex())
}
