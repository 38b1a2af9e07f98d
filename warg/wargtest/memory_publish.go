package wargtest

import (
	"bytes"
	"context"
	"io"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// submission is a record that was accepted.
type submission struct {
	log     warg.LogID
	id      warg.RecordID
	env     warg.Envelope
	state   warg.State
	content []warg.Digest // what its entries release
	missing []warg.Digest
	reason  string
	index   uint64
}

func (s *submission) clone() *submission {
	c := *s
	c.missing = slices.Clone(s.missing)
	return &c
}

func (s *submission) status() warg.RecordStatus {
	st := warg.RecordStatus{RecordID: s.id, State: s.state}
	switch s.state {
	case warg.StateSourcing:
		st.Missing = slices.Clone(s.missing)
	case warg.StateRejected:
		st.Reason = s.reason
	case warg.StatePublished:
		st.Index = s.index
	case warg.StateProcessing:
	}
	return st
}

// Publish implements [warg.Publisher].
func (m *Memory) Publish(_ context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if derived := req.Name.LogID(); derived != req.LogID {
		return warg.RecordStatus{}, warg.Errorf(warg.KindBadRequest,
			"package log identifier `%s` derived from `%s` does not match provided log identifier `%s`", derived, req.Name, req.LogID)
	}
	rec, err := pkglog.Decode(req.Record.Content)
	if err != nil {
		return warg.RecordStatus{}, warg.Errorf(warg.KindBadRequest, "%w", err)
	}
	content, err := releasedBy(rec)
	if err != nil {
		return warg.RecordStatus{}, warg.Errorf(warg.KindBadRequest, "%w", err)
	}
	id := req.Record.PackageRecordID()
	if s := m.submitted[id]; s != nil {
		if s.log != req.LogID {
			return warg.RecordStatus{}, warg.Errorf(warg.KindConflict, "record `%s` is known under another name", id)
		}
		return s.status(), nil
	}
	if err := m.admit(req, rec); err != nil {
		return warg.RecordStatus{}, err
	}
	s := &submission{log: req.LogID, id: id, env: req.Record, state: warg.StateSourcing, content: content}
	for _, d := range content {
		if _, ok := m.known[d]; !ok {
			s.missing = append(s.missing, d)
		}
	}
	if m.logs[req.LogID] == nil {
		m.logs[req.LogID] = &memoryLog{name: req.Name}
	}
	m.submitted[id] = s
	m.advance(s)
	return s.status(), nil
}

// releasedBy returns the digests that a record's entries release, each once.
func releasedBy(rec pkglog.Record) (content []warg.Digest, err error) {
	for _, e := range rec.Entries {
		r, ok := e.(pkglog.Release)
		if !ok {
			continue
		}
		d, err := r.Content.Digest()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(content, d) {
			content = append(content, d)
		}
	}
	return content, nil
}

// admit decides whether a record that is new may be accepted.
func (m *Memory) admit(req warg.PublishRequest, rec pkglog.Record) error {
	ns, ok := m.opState.Namespace(req.Name.Namespace())
	switch {
	case !ok:
		return &warg.Error{Kind: warg.KindNamespaceNotFound, ID: req.Name.Namespace()}
	case !ns.Defined:
		return &warg.Error{Kind: warg.KindNamespaceImported, ID: req.Name.Namespace()}
	}
	for _, s := range m.waiting {
		if s.log == req.LogID {
			return warg.NotFound(warg.KindRecordPending, s.id)
		}
	}
	state := new(pkglog.State)
	if log := m.logs[req.LogID]; log != nil {
		state = &log.state
	}
	key, ok := signer(state, rec, req.Record.KeyID)
	if !ok {
		return warg.Errorf(warg.KindUnauthorized, "unknown key id `%s`", req.Record.KeyID)
	}
	if err := key.VerifyPackageRecord(req.Record.Content, req.Record.Signature); err != nil {
		return warg.Errorf(warg.KindUnauthorized, "%w", err)
	}
	if head, _, ok := state.Head(); ok && (rec.Prev == nil || *rec.Prev != warg.Digest(head).AnyHash()) {
		return warg.NotFound(warg.KindRecordPending, head)
	}
	return nil
}

// signer returns the key with the given id: one that the log knows, or the one that
// the record itself begins the log with.
func signer(state *pkglog.State, rec pkglog.Record, id warg.KeyID) (warg.PublicKey, bool) {
	if key, ok := state.Key(id); ok {
		return key, true
	}
	if len(rec.Entries) == 0 {
		return warg.PublicKey{}, false
	}
	init, ok := rec.Entries[0].(pkglog.Init)
	return init.Key, ok && init.Key.ID() == id
}

// advance moves a record on once nothing is missing.
func (m *Memory) advance(s *submission) {
	switch {
	case len(s.missing) > 0:
	case m.held:
		s.state = warg.StateProcessing
		m.waiting = append(m.waiting, s)
	default:
		m.commit(s)
	}
}

// commit publishes a record, or rejects it if it may not follow its log's head.
func (m *Memory) commit(s *submission) {
	log := m.logs[s.log]
	if err := log.state.Validate(s.env); err != nil {
		s.state, s.reason = warg.StateRejected, "the package record was invalid: "+err.Error()
		return
	}
	s.index = m.append(warg.Leaf{LogID: s.log, RecordID: s.id})
	s.state = warg.StatePublished
	log.records = append(log.records, warg.Record{Envelope: s.env, Index: s.index, Token: s.id.String()})
	for _, d := range s.content {
		m.released[d] = struct{}{}
	}
}

// Record implements [warg.Registry].
func (m *Memory) Record(_ context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(log, id)
	if err != nil {
		return warg.RecordStatus{}, err
	}
	return s.status(), nil
}

func (m *Memory) find(log warg.LogID, id warg.RecordID) (*submission, error) {
	if m.logs[log] == nil && log != warg.OperatorLogID {
		return nil, warg.NotFound(warg.KindLogNotFound, log)
	}
	s := m.submitted[id]
	if s == nil || s.log != log {
		return nil, warg.NotFound(warg.KindRecordNotFound, id)
	}
	return s, nil
}

// Upload implements [warg.Publisher].
func (m *Memory) Upload(_ context.Context, log warg.LogID, id warg.RecordID, digest warg.Digest, body io.Reader) error {
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, err := m.find(log, id)
	if err != nil {
		return err
	}
	if s.state != warg.StateSourcing {
		return &warg.Error{Kind: warg.KindNotSourcing}
	}
	at := slices.Index(s.missing, digest)
	if at < 0 {
		return warg.Errorf(warg.KindBadRequest, "content digest `%s` is not required for package record `%s`", digest, id)
	}
	if got := warg.Sum(b); got != digest {
		return warg.Errorf(warg.KindBadRequest, "content digest `%s` does not match expected digest `%s`", got, digest)
	}
	if m.opt.Wasm && !bytes.HasPrefix(b, []byte("\x00asm")) {
		const why = "content is not valid WebAssembly: bad preamble"
		s.state, s.reason = warg.StateRejected, "content with digest `"+digest.String()+"` was rejected by policy: "+why
		return warg.Errorf(warg.KindRejected, why)
	}
	m.known[digest] = b
	s.missing = slices.Delete(s.missing, at, at+1)
	m.advance(s)
	return nil
}
