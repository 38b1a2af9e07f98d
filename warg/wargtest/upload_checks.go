package wargtest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func uploadChecks() []check {
	return []check{
		{"upload/wrong bytes", checkUploadWrong},
		{"upload/cut off", checkUploadCutOff},
		{"upload/refused", checkUploadRefused},
		{"upload/content known", checkUploadKnown},
		{"upload/shared content", checkUploadShared},
		{"upload/large", checkUploadLarge},
		{"upload/policy", checkUploadPolicy},
	}
}

func emptyBody() io.Reader { return bytes.NewReader(nil) }

// sourcing publishes the first record of a package that waits for one content.
func (s *scene) sourcing(t testing.TB, name string, content []byte) (*Package, warg.Envelope) {
	t.Helper()
	p := NewPackage(name)
	env := p.Next(Bob(), Init(Bob()), Release("1.0.0", content))
	st := s.publish(t, p, env)
	if st.State != warg.StateSourcing || len(st.Missing) != 1 || st.Missing[0] != warg.Sum(content) {
		t.Fatalf("got %+v, want %s missing", st, warg.Sum(content))
	}
	return p, env
}

// checkUploadWrong: bytes with another digest are refused and change nothing, however
// often, also if they are no WebAssembly.
func checkUploadWrong(t testing.TB, s *scene) {
	c := Component("wrong")
	p, env := s.sourcing(t, "test:upload-wrong", c)
	for _, b := range [][]byte{nil, []byte("no wasm at all"), c[:len(c)-1], append(c[:len(c):len(c)], 0), Component("wronG")} {
		err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(c), bytes.NewReader(b))
		refused(t, "uploading wrong bytes", err, kind(warg.KindBadRequest))
		if st := s.publish(t, p, env); st.State != warg.StateSourcing {
			t.Fatalf("wrong bytes made the record %s", st.State)
		}
		_, err = s.Registry.Stat(t.Context(), warg.Sum(b))
		refused(t, "asking for refused bytes", err, kind(warg.KindContentNotFound))
	}
	s.hidden(t, p)
	s.upload(t, p, env, c)
	s.published(t, p, env)
}

// checkUploadCutOff: a body that ends with an error stores nothing.
func checkUploadCutOff(t testing.TB, s *scene) {
	c := Component("cut off")
	p, env := s.sourcing(t, "test:upload-cut-off", c)
	broken := errors.New("connection lost")
	body := io.MultiReader(bytes.NewReader(c), &failing{broken})
	if err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(c), body); err == nil {
		t.Error("a body that broke off was accepted")
	}
	if st := s.publish(t, p, env); st.State != warg.StateSourcing {
		t.Fatalf("a body that broke off made the record %s", st.State)
	}
	s.upload(t, p, env, c)
	s.published(t, p, env)
}

type failing struct{ err error }

// Read always fails.
func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// checkUploadRefused: only what a record waits for can be uploaded, and only to it.
func checkUploadRefused(t testing.TB, s *scene) {
	c, other := Component("refused"), Component("not wanted")
	p, env := s.sourcing(t, "test:upload-refused", c)
	id := env.PackageRecordID()
	nobodys := warg.RecordID(warg.Sum([]byte("no record")))
	try := func(doing string, log warg.LogID, id warg.RecordID, content []byte, want *warg.Error) {
		t.Helper()
		err := s.Publisher.Upload(t.Context(), log, id, warg.Sum(content), bytes.NewReader(content))
		refused(t, doing, err, want)
	}
	try("uploading what is not wanted", p.LogID(), id, other, kind(warg.KindBadRequest))
	try("uploading to an unknown log", strangerLog(), id, c, warg.NotFound(warg.KindLogNotFound, strangerLog()))
	try("uploading to an unknown record", p.LogID(), nobodys, c, warg.NotFound(warg.KindRecordNotFound, nobodys))
	q, theirs := s.sourcing(t, "test:upload-refused-too", other)
	try("uploading to another log's record", p.LogID(), theirs.PackageRecordID(), other, warg.NotFound(warg.KindRecordNotFound, theirs.PackageRecordID()))
	s.upload(t, q, theirs, other)
	s.upload(t, p, env, c)
	s.published(t, p, env)
	try("uploading to a published record", p.LogID(), id, c, kind(warg.KindNotSourcing))
	try("uploading something else to a published record", p.LogID(), id, other, kind(warg.KindNotSourcing))
}

// checkUploadKnown: content that is here already need not be sent again.
func checkUploadKnown(t testing.TB, s *scene) {
	c := Component("known")
	p, env := s.sourcing(t, "test:known", c)
	s.upload(t, p, env, c)
	s.published(t, p, env)
	q := NewPackage("test:known-too")
	env = q.Next(Bob(), Init(Bob()), Release("1.0.0", c))
	if st := s.publish(t, q, env); st.State == warg.StateSourcing {
		t.Fatalf("got %+v, want nothing to be missing", st)
	}
	s.published(t, q, env)
}

// checkUploadShared: two records wait for the same content. Both are published, each
// after it was sent to both or, if that is enough, to one.
func checkUploadShared(t testing.TB, s *scene) {
	c := Component("shared")
	p, envP := s.sourcing(t, "test:shared", c)
	q, envQ := s.sourcing(t, "test:shared-too", c)
	s.upload(t, p, envP, c)
	s.published(t, p, envP)
	if st := s.publish(t, q, envQ); st.State == warg.StateSourcing {
		s.upload(t, q, envQ, c)
	}
	s.published(t, q, envQ)
}

// checkUploadLarge sends more than fits a buffer, in odd pieces.
func checkUploadLarge(t testing.TB, s *scene) {
	const size = 3 << 20
	c := Component(strings.Repeat("0123456789abcde\n", size/16))
	p, env := s.sourcing(t, "test:large", c)
	body := &trickle{b: c}
	if err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(c), body); err != nil {
		t.Fatalf("uploading: %v", err)
	}
	s.published(t, p, env)
	s.sync(t)
	if got, err := s.read(t, warg.Sum(c)); err != nil || !bytes.Equal(got, c) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}

// trickle reads in pieces of changing size.
type trickle struct {
	b []byte
	n int
}

// Read returns at most 70 kB, sometimes one byte.
func (r *trickle) Read(p []byte) (int, error) {
	const step, most = 7919, 70_000
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	r.n = (r.n + step) % most
	n := copy(p[:min(len(p), r.n+1)], r.b)
	r.b = r.b[n:]
	return n, nil
}

// checkUploadPolicy: content with the right digest that the policy refuses rejects its
// record for good, and is not kept.
func checkUploadPolicy(t testing.TB, s *scene) {
	if !s.Wasm {
		return
	}
	bad := []byte("right digest, but no wasm")
	p, env := s.sourcing(t, "test:policy", bad)
	err := s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(bad), bytes.NewReader(bad))
	refused(t, "uploading what the policy refuses", err, kind(warg.KindRejected))
	st := s.settled(t, p, env)
	want := "content with digest `" + warg.Sum(bad).String() + "` was rejected by policy: "
	if st.State != warg.StateRejected || !strings.HasPrefix(st.Reason, want) {
		t.Errorf("got %+v, want rejected because %q…", st, want)
	}
	err = s.Publisher.Upload(t.Context(), p.LogID(), env.PackageRecordID(), warg.Sum(bad), bytes.NewReader(bad))
	refused(t, "uploading to a rejected record", err, kind(warg.KindNotSourcing))
	_, err = s.Registry.Stat(t.Context(), warg.Sum(bad))
	refused(t, "asking for refused content", err, kind(warg.KindContentNotFound))
	s.hidden(t, p)
}
