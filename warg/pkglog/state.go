package pkglog

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/logstate"
)

// logIs is what error texts call this kind of log.
const logIs = "package"

// State is what a package log amounts to after some records. The zero value is
// the state of an empty log. Pass it by pointer; it is not safe for use by more
// than one goroutine while one of them changes it.
type State struct {
	core     logstate.Core[Permission]
	releases logstate.Table[warg.Version, ReleaseState]

	released int        // releases at the start of the record being applied
	yanked   []yankUndo // releases yanked since then
}

// yankUndo is a release as it was before it was yanked.
type yankUndo struct {
	at  int
	old ReleaseState
}

// ReleaseState is the state of a version.
type ReleaseState struct {
	Version  warg.Version
	RecordID warg.RecordID // of the record that released it
	By       warg.KeyID    // signer of that record
	Time     warg.Timestamp
	Content  warg.AnyHash // zero when yanked

	Yanked   bool
	YankedBy warg.KeyID
	YankedAt warg.Timestamp
}

// ApplyOption says what [State.Apply] need not check.
type ApplyOption uint8

// The options.
const (
	CheckSignature    ApplyOption = iota // check everything
	SignatureVerified                    // the caller has verified the signature with the signer's key
)

// signer is who signed the record being applied, and the record's id and time.
type signer struct {
	keyID warg.KeyID
	id    warg.RecordID
	time  warg.Timestamp
}

// Validate decodes the next record of the log and applies it after checking
// everything, its signature included. On an error the state is unchanged. The
// error is a [*warg.RecordError] if the record decodes but may not follow.
func (s *State) Validate(env warg.Envelope) error {
	rec, err := Decode(env.Content)
	if err != nil {
		return err
	}
	return s.Apply(rec, env, CheckSignature)
}

// Apply is Validate for a record that was decoded already; rec must be what
// env.Content decodes to. On an error, a [*warg.RecordError], the state is
// unchanged.
func (s *State) Apply(rec Record, env warg.Envelope, opt ApplyOption) error {
	s.released, s.yanked = s.releases.Len(), s.yanked[:0]
	if err := s.core.Begin(rec.frame()); err != nil {
		return err
	}
	if err := s.apply(rec, env, opt); err != nil {
		s.undo()
		return err
	}
	return nil
}

func (s *State) apply(rec Record, env warg.Envelope, opt ApplyOption) error {
	by := signer{env.KeyID, env.PackageRecordID(), rec.Time}
	for _, e := range rec.Entries {
		if err := e.apply(s, by); err != nil {
			return err
		}
	}
	signing := logstate.Signing{ID: by.id, KeyID: by.keyID, LogIs: logIs}
	if opt != SignatureVerified {
		signing.Verify = func(k warg.PublicKey) error { return k.VerifyPackageRecord(env.Content, env.Signature) }
	}
	return s.core.Seal(rec.frame(), signing)
}

func (s *State) undo() {
	for _, y := range slices.Backward(s.yanked) {
		s.releases.Set(y.at, y.old)
	}
	s.yanked = s.yanked[:0]
	s.releases.Truncate(s.released)
	s.core.Undo()
}

func recordErr(label, format string, args ...any) error {
	return &warg.RecordError{Label: label, Msg: fmt.Sprintf(format, args...)}
}

func (e Init) apply(s *State, by signer) error {
	return s.core.InitOwn(by.keyID, e.Key, allPermissions(), logIs)
}

func (e Grant) apply(s *State, by signer) error {
	if err := s.core.Initialized(); err != nil {
		return err
	}
	return s.core.Grant(by.keyID, e.Key, e.Permissions)
}

func (e Revoke) apply(s *State, by signer) error {
	if err := s.core.Initialized(); err != nil {
		return err
	}
	return s.core.Revoke(by.keyID, e.KeyID, e.Permissions)
}

func (e Release) apply(s *State, by signer) error {
	if err := s.core.Authorize(by.keyID, PermissionRelease); err != nil {
		return err
	}
	if _, ok := s.releases.Find(e.Version); ok {
		return recordErr(warg.LabelReleaseOfReleased, "an entry attempted to release version %s which is already released", e.Version)
	}
	s.releases.Add(e.Version, ReleaseState{
		Version: e.Version, RecordID: by.id, By: by.keyID, Time: by.time, Content: e.Content,
	})
	return nil
}

func (e Yank) apply(s *State, by signer) error {
	if err := s.core.Authorize(by.keyID, PermissionYank); err != nil {
		return err
	}
	at, ok := s.releases.Find(e.Version)
	if !ok {
		return recordErr(warg.LabelYankOfUnreleased, "an entry attempted to yank version %s which had not yet been released", e.Version)
	}
	_, release := s.releases.At(at)
	if release.Yanked {
		return recordErr(warg.LabelYankOfYanked, "an entry attempted to yank version %s which is already yanked", e.Version)
	}
	s.yanked = append(s.yanked, yankUndo{at, release})
	release.Content = warg.AnyHash{}
	release.Yanked, release.YankedBy, release.YankedAt = true, by.keyID, by.time
	s.releases.Set(at, release)
	return nil
}
