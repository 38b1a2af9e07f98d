package wargtest

import (
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

func admissionChecks() []check {
	return []check{
		{"admission/name and log", checkNameAndLog},
		{"admission/no record", checkUndecodable},
		{"admission/short digest", checkShortDigest},
		{"admission/namespace", checkNamespace},
		{"admission/unknown key", checkUnknownKey},
		{"admission/bad signature", checkBadSignature},
		{"admission/stale", checkStale},
		{"admission/another name", checkAnotherName},
		{"admission/waiting does not block", checkWaitingDoesNotBlock},
	}
}

// refusedPublish checks that a request is refused and leaves nothing behind.
func (s *scene) refusedPublish(t testing.TB, doing string, req warg.PublishRequest, want *warg.Error) {
	t.Helper()
	length := s.view(t).Checkpoint.LogLength
	st, err := s.Publisher.Publish(t.Context(), req)
	refused(t, doing, err, want)
	if err == nil {
		t.Errorf("%s: the record is %s", doing, st.State)
	}
	if got, err := s.Registry.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err == nil {
		t.Errorf("%s: the record is known as %s", doing, got.State)
	}
	if now := s.view(t).Checkpoint.LogLength; now != length {
		t.Errorf("%s: the log went from length %d to %d", doing, length, now)
	}
}

func checkNameAndLog(t testing.TB, s *scene) {
	p := NewPackage("test:name-and-log")
	req := p.Request(p.Next(Bob(), Init(Bob())))
	for _, id := range []warg.LogID{strangerLog(), warg.OperatorLogID, {}} {
		req.LogID = id
		s.refusedPublish(t, "publishing under a log id that is not the name's", req, kind(warg.KindBadRequest))
	}
}

func checkUndecodable(t testing.TB, s *scene) {
	p := NewPackage("test:undecodable")
	good := p.Next(Bob(), Init(Bob()))
	for _, content := range [][]byte{nil, []byte("\xff\xff"), good.Content[:len(good.Content)-1]} {
		env := warg.Envelope{Content: content, KeyID: Bob().Public().ID(), Signature: Bob().SignPackageRecord(content)}
		s.refusedPublish(t, "publishing what is no record", p.Request(env), kind(warg.KindBadRequest))
	}
}

// checkShortDigest: a release must name its content with a digest of full length.
func checkShortDigest(t testing.TB, s *scene) {
	short, err := warg.ParseAnyHash("sha256:00ff")
	if err != nil {
		t.Fatal(err)
	}
	p := NewPackage("test:short-digest")
	env := p.Next(Bob(), Init(Bob()), pkglog.Release{Version: parseVersion("1.0.0"), Content: short})
	s.refusedPublish(t, "releasing content with a short digest", p.Request(env), kind(warg.KindBadRequest))
}

func checkNamespace(t testing.TB, s *scene) {
	p := NewPackage("nowhere:hello")
	s.refusedPublish(t, "publishing in an unknown namespace", p.Request(p.Next(Bob(), Init(Bob()))),
		&warg.Error{Kind: warg.KindNamespaceNotFound, ID: "nowhere"})
	if !s.Imports {
		return
	}
	p = NewPackage(ImportedNamespace + ":hello")
	s.refusedPublish(t, "publishing in another registry's namespace", p.Request(p.Next(Bob(), Init(Bob()))),
		&warg.Error{Kind: warg.KindNamespaceImported, ID: ImportedNamespace})
}

// checkUnknownKey: a key that the log does not know may sign only a record that begins
// with it.
func checkUnknownKey(t testing.TB, s *scene) {
	mallory := Stranger("mallory")
	p := NewPackage("test:unknown-key")
	empty := p.Fork()
	for _, env := range []warg.Envelope{empty.Next(mallory), p.Fork().Next(mallory, Release("1.0.0", nil)), p.Fork().Next(mallory, Init(Bob()))} {
		s.refusedPublish(t, "beginning a log with an unknown key", p.Request(env), kind(warg.KindUnauthorized))
	}
	s.release(t, p, p.Next(Bob(), Init(Bob())))
	env := p.Fork().Next(mallory, Grant(mallory.Public(), pkglog.PermissionRelease))
	_, err := s.Publisher.Publish(t.Context(), p.Request(env))
	refused(t, "publishing with an unknown key", err, kind(warg.KindUnauthorized))
	if want := "unknown key id `" + string(mallory.Public().ID()) + "`"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q in it", err, want)
	}
}

func checkBadSignature(t testing.TB, s *scene) {
	p := NewPackage("test:bad-signature")
	env := p.Next(Bob(), Init(Bob()))
	good := env.Signature
	for _, sig := range []warg.Signature{Stranger("mallory").SignPackageRecord(env.Content), Bob().SignOperatorRecord(env.Content), Bob().SignPackageRecord(nil)} {
		env.Signature = sig
		_, err := s.Publisher.Publish(t.Context(), p.Request(env))
		if err == nil || !strings.Contains(err.Error(), "verification failed") {
			t.Errorf("the error is %v, want \"verification failed\" in it", err)
		}
		s.refusedPublish(t, "publishing with a bad signature", p.Request(env), kind(warg.KindUnauthorized))
	}
	env.Signature = good
	s.release(t, p, env)
}

// checkStale: of two records that follow the same one, the second to come is told which
// record is the head.
func checkStale(t testing.TB, s *scene) {
	p := NewPackage("test:stale")
	first := p.Fork()
	s.release(t, p, p.Next(Bob(), Init(Bob())))
	fork := p.Fork()
	head := p.Next(Bob(), Grant(Alice().Public(), pkglog.PermissionRelease))
	s.release(t, p, head)
	want := warg.NotFound(warg.KindRecordPending, head.PackageRecordID())
	s.refusedPublish(t, "publishing after a record that is not the head", p.Request(fork.Next(Bob(), Grant(Alice().Public(), pkglog.PermissionYank))), want)
	s.refusedPublish(t, "beginning a log again", p.Request(first.Next(Bob(), Init(Bob()))), want)
	s.release(t, p, p.Next(Alice()))
}

// checkAnotherName: the bytes of a record do not hold the package's name, so the
// registry must not take them twice.
func checkAnotherName(t testing.TB, s *scene) {
	p, q := NewPackage("test:true-name"), NewPackage("test:false-name")
	env := p.Next(Bob(), Init(Bob()))
	index := s.release(t, p, env)
	s.refusedPublish(t, "publishing a record under another name", q.Request(env), kind(warg.KindConflict))
	s.hidden(t, q)
	waiting := p.Next(Bob(), Release("1.0.0", Component("true name")))
	s.publish(t, p, waiting)
	s.refusedPublish(t, "publishing a waiting record under another name", q.Request(waiting), kind(warg.KindConflict))
	if st := s.published(t, p, env); st.Index != index {
		t.Errorf("the record moved from index %d to %d", index, st.Index)
	}
	s.release(t, q, q.Next(Bob(), Init(Bob())))
}

// checkWaitingDoesNotBlock: a record that waits for content keeps nobody else from
// publishing; once it comes too late, it is rejected.
func checkWaitingDoesNotBlock(t testing.TB, s *scene) {
	late := Component("late")
	p, env := s.sourcing(t, "test:waiting", late)
	quick := NewPackage("test:waiting").Fork()
	s.release(t, quick, quick.Next(Bob(), Init(Bob())))
	err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(late), strings.NewReader(string(late)))
	if err != nil {
		refused(t, "uploading for a record that comes too late", err, kind(warg.KindNotSourcing))
	}
	if st := s.settled(t, p, env); st.State != warg.StateRejected {
		t.Errorf("the late record is %s", st.State)
	}
	s.release(t, quick, quick.Next(Bob(), Release("2.0.0", late)), late)
}
