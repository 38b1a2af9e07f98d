package upstream

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Files of upstreams/<domain>/.
const (
	headFile     = "head"         // what is believed of the registry now
	acceptedFile = "accepted.log" // the checkpoint of every length that was accepted

	trustedFormat = 1
	maxHeadFile   = 64 << 10
	maxAccepted   = 1 << 30 // bytes of accepted.log that are read: two million checkpoints
	sumLen        = 16      // hexadecimal digits of a line's checksum
)

// trusted is what is remembered of a registry outside the cache: the head that was
// served, the key that everything hangs on, every accepted length, quarantine.
// Losing it would let a rewind go unnoticed. It is written by one goroutine, the
// refresh, and read by many.
type trusted struct {
	fsys   durable.FS
	dir    string
	domain string
	log    *slog.Logger

	mu       sync.RWMutex
	head     head
	accepted []accepted // ascending by length; the last has the head's view
	size     int64      // of accepted.log
}

// head is the content of the head file.
type head struct {
	Format      int             `json:"format"`
	Domain      string          `json:"domain"`
	OperatorKey warg.KeyID      `json:"operatorKey"` // signer of the first operator record
	Pinned      string          `json:"pinned"`      // why that key is believed
	Checkpoint  json.RawMessage `json:"checkpoint"`  // signed
	VerifiedAt  time.Time       `json:"verifiedAt"`
	Quarantine  *Quarantine     `json:"quarantine,omitempty"`

	signed warg.SignedCheckpoint
	view   warg.Checkpoint
}

// Why an operator key is believed.
const (
	pinnedByConfiguration = "configuration"
	pinnedOnFirstUse      = "first use"
)

// Quarantine says that a registry contradicted itself and is believed nothing more
// until an operator decides.
type Quarantine struct {
	Class    string    `json:"class"`
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
	Evidence string    `json:"evidence"` // file name
}

// accepted is a line of accepted.log.
type accepted struct {
	view   warg.Checkpoint
	offset int64 // of the line
	length int   // of the line
}

// openTrusted reads what is remembered, which may be nothing.
func openTrusted(fsys durable.FS, dir, domain string, log *slog.Logger) (*trusted, error) {
	t := &trusted{fsys: fsys, dir: dir, domain: domain, log: log}
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return nil, fmt.Errorf("making directory of upstream `%s`: %w", domain, err)
	}
	// A head that a killed process left is served from now on, so it must not go back
	// with a power cut.
	if err := fsys.SyncDir(dir); err != nil {
		return nil, fmt.Errorf("opening directory of upstream `%s`: %w", domain, err)
	}
	if err := t.readHead(); err != nil {
		return nil, fmt.Errorf("reading head of upstream `%s`: %w", domain, err)
	}
	if err := t.readAccepted(); err != nil {
		return nil, fmt.Errorf("reading accepted checkpoints of upstream `%s`: %w", domain, err)
	}
	return t, t.reconcile()
}

func (t *trusted) path(name string) string { return filepath.Join(t.dir, name) }

func checksum(b []byte) string {
	sum := warg.Sum(b)
	return hex.EncodeToString(sum[:])[:sumLen]
}

// cutChecksum splits "text checksum" and verifies it.
func cutChecksum(line []byte) ([]byte, error) {
	i := bytes.LastIndexByte(line, ' ')
	if i < 0 || checksum(line[:i]) != string(line[i+1:]) {
		return nil, errors.New("the checksum is wrong")
	}
	return line[:i], nil
}

func (t *trusted) readHead() error {
	b, err := durable.ReadFile(t.fsys, t.path(headFile), maxHeadFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text, err := cutChecksum(bytes.TrimSuffix(b, []byte("\n")))
	if err != nil {
		return fmt.Errorf("%s: %w; restore it from a backup, or reset the mirror", t.path(headFile), err)
	}
	var h head
	if err := json.Unmarshal(text, &h); err != nil {
		return fmt.Errorf("%s: %w", t.path(headFile), err)
	}
	if h.Format != trustedFormat || h.Domain != t.domain {
		return fmt.Errorf("%s is of format %d and about `%s`", t.path(headFile), h.Format, h.Domain)
	}
	if h.signed, err = api.ParseCheckpoint(h.Checkpoint); err != nil {
		return fmt.Errorf("%s: %w", t.path(headFile), err)
	}
	h.view = claimed(h.signed)
	t.head = h
	return nil
}

func (t *trusted) readAccepted() error {
	b, err := durable.ReadFile(t.fsys, t.path(acceptedFile), maxAccepted)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.size = int64(len(b))
	offset := int64(0)
	for line := range bytes.Lines(b) {
		t.addLine(line, offset)
		offset += int64(len(line))
	}
	return nil
}

// addLine takes up a line of accepted.log. A damaged line, for example one that was
// being written when the power went, costs only proofs for its length.
func (t *trusted) addLine(line []byte, offset int64) {
	text, err := cutChecksum(bytes.TrimSuffix(line, []byte("\n")))
	var s warg.SignedCheckpoint
	if err == nil {
		s, err = api.ParseCheckpoint(text)
	}
	if err != nil {
		t.log.Warn("accepted checkpoint is damaged", "upstream", t.domain, "offset", offset, "error", err)
		return
	}
	a := accepted{claimed(s), offset, len(line)}
	if n := len(t.accepted); n > 0 && t.accepted[n-1].view.LogLength >= a.view.LogLength {
		return // written again after a crash
	}
	t.accepted = append(t.accepted, a)
}

// reconcile completes what a crash between the two files left undone. The head is
// written first, so accepted.log can only be behind, unless an old head file was
// put back: then the newer checkpoint counts, or the view would go back.
func (t *trusted) reconcile() error {
	n := len(t.accepted)
	switch {
	case t.head.Format == 0 && n == 0:
		return nil
	case t.head.Format == 0:
		return fmt.Errorf("upstream `%s`: %s is missing, but checkpoints up to length %d were accepted; restore it from a backup, or reset the mirror",
			t.domain, t.path(headFile), t.accepted[n-1].view.LogLength)
	case n > 0 && t.accepted[n-1].view.LogLength > t.head.view.LogLength:
		signed, err := t.signedAt(t.accepted[n-1])
		if err != nil {
			return err
		}
		t.head.signed, t.head.view = signed, claimed(signed)
		return t.writeHead(t.head)
	case n == 0 || t.accepted[n-1].view.LogLength < t.head.view.LogLength:
		return t.append(t.head.signed)
	}
	return nil
}

// signedAt reads back the signed checkpoint of a line.
func (t *trusted) signedAt(a accepted) (warg.SignedCheckpoint, error) {
	f, err := t.fsys.Open(t.path(acceptedFile))
	if err != nil {
		return warg.SignedCheckpoint{}, err
	}
	defer f.Close()
	line := make([]byte, a.length)
	if _, err := f.ReadAt(line, a.offset); err != nil {
		return warg.SignedCheckpoint{}, fmt.Errorf("reading %s: %w", t.path(acceptedFile), err)
	}
	text, err := cutChecksum(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		return warg.SignedCheckpoint{}, err
	}
	return api.ParseCheckpoint(text)
}

func (t *trusted) writeHead(h head) error {
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encoding head: %w", err)
	}
	text = append(append(text, ' '), checksum(text)...)
	if err := durable.Replace(t.fsys, t.path(headFile), append(text, '\n'), nil); err != nil {
		return fmt.Errorf("writing head of upstream `%s`: %w", t.domain, err)
	}
	return nil
}

// append adds lines to accepted.log, by ascending length, and waits until they are
// durable.
func (t *trusted) append(list ...warg.SignedCheckpoint) error {
	f, err := t.openAccepted()
	if err != nil {
		return err
	}
	defer f.Close()
	var lines []byte
	added := make([]accepted, 0, len(list))
	for _, s := range list {
		begin := len(lines)
		lines = api.AppendCheckpoint(lines, s)
		lines = append(append(append(lines, ' '), checksum(lines[begin:])...), '\n')
		added = append(added, accepted{claimed(s), t.size + int64(begin), len(lines) - begin})
	}
	if _, err := f.WriteAt(lines, t.size); err != nil {
		return fmt.Errorf("writing %s: %w", t.path(acceptedFile), err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", t.path(acceptedFile), err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted = append(t.accepted, added...)
	t.size += int64(len(lines))
	return nil
}

// openAccepted opens accepted.log for writing at its end, cut back to the last
// full line.
func (t *trusted) openAccepted() (durable.File, error) {
	name := t.path(acceptedFile)
	exists, err := durable.Exists(t.fsys, name)
	if err != nil {
		return nil, err
	}
	if !exists {
		f, err := t.fsys.Create(name)
		if err != nil {
			return nil, fmt.Errorf("making %s: %w", name, err)
		}
		t.size = 0
		if err := t.fsys.SyncDir(t.dir); err != nil {
			return nil, errors.Join(fmt.Errorf("making %s: %w", name, err), f.Close())
		}
		return f, nil
	}
	f, err := t.fsys.OpenWrite(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	end := int64(0)
	if n := len(t.accepted); n > 0 {
		end = t.accepted[n-1].offset + int64(t.accepted[n-1].length)
	}
	if end < t.size { // half a line from a crash, or lines we cannot read
		if err := f.Truncate(end); err != nil {
			return nil, errors.Join(fmt.Errorf("truncating %s: %w", name, err), f.Close())
		}
		t.size = end
	}
	return f, nil
}

// accept makes a checkpoint the head: durable when it returns nil, and only then to
// be served.
func (t *trusted) accept(signed warg.SignedCheckpoint, view warg.Checkpoint, op *operator, pinned string, now time.Time) error {
	h := t.current()
	h.Format, h.Domain, h.VerifiedAt = trustedFormat, t.domain, now.UTC()
	h.Checkpoint, h.signed, h.view = api.AppendCheckpoint(nil, signed), signed, view
	h.OperatorKey, h.Pinned = op.signer, pinned
	if err := t.replaceHead(h); err != nil {
		return err
	}
	if _, ok := t.at(view.LogLength); ok {
		return nil
	}
	return t.append(signed)
}

func (t *trusted) quarantine(q Quarantine) error {
	h := t.current()
	h.Quarantine = &q
	return t.replaceHead(h)
}

func (t *trusted) replaceHead(h head) error {
	if err := t.writeHead(h); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = h
	return nil
}

func (t *trusted) current() head {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.head
}

// quarantined returns why the registry is believed nothing more, or nil.
func (t *trusted) quarantined() *Quarantine {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.head.Quarantine
}

// at returns the accepted checkpoint of a length.
func (t *trusted) at(length uint64) (accepted, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	i, ok := slices.BinarySearchFunc(t.accepted, length, func(a accepted, n uint64) int {
		return cmp.Compare(a.view.LogLength, n)
	})
	if !ok {
		return accepted{}, false
	}
	return t.accepted[i], true
}

// beyond returns the accepted checkpoints that are longer than a length.
func (t *trusted) beyond(length uint64) []warg.Checkpoint {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var views []warg.Checkpoint
	for _, a := range t.accepted {
		if a.view.LogLength > length {
			views = append(views, a.view)
		}
	}
	return views
}
