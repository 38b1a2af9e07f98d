package wargtest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func recordChecks() []check {
	return []check{
		{"record", checkRecord},
		{"record/unknown", checkUnknownRecord},
	}
}

// checkRecord: what is in the log is published, and says where.
func checkRecord(t testing.TB, s *scene) {
	for _, p := range s.world.packages {
		for _, r := range p.records {
			st, err := s.Registry.Record(t.Context(), p.LogID(), r.env.PackageRecordID())
			if err != nil {
				t.Fatalf("reading the state of a record of %s: %v", p.Name(), err)
			}
			if st.State != warg.StatePublished || st.Index != r.index || st.RecordID != r.env.PackageRecordID() {
				t.Errorf("record of %s is %+v, want published at index %d", p.Name(), st, r.index)
			}
		}
	}
}

func checkUnknownRecord(t testing.TB, s *scene) {
	a, b := s.world.packages[0], s.world.packages[1]
	mine, theirs := a.records[0].env.PackageRecordID(), b.records[0].env.PackageRecordID()
	nobodys := warg.RecordID(warg.Sum([]byte("no record")))
	tests := []struct {
		doing string
		log   warg.LogID
		id    warg.RecordID
		want  *warg.Error
	}{
		{"reading a record of an unknown log", strangerLog(), mine, warg.NotFound(warg.KindLogNotFound, strangerLog())},
		{"reading an unknown record", a.LogID(), nobodys, warg.NotFound(warg.KindRecordNotFound, nobodys)},
		{"reading another log's record", a.LogID(), theirs, warg.NotFound(warg.KindRecordNotFound, theirs)},
	}
	for _, tt := range tests {
		_, err := s.Registry.Record(t.Context(), tt.log, tt.id)
		refused(t, tt.doing, err, tt.want)
	}
	operator := s.logs(t, warg.LogsRequest{LogLength: s.world.latest().LogLength}).Operator[0].OperatorRecordID()
	if st, err := s.Registry.Record(t.Context(), warg.OperatorLogID, operator); !errors.Is(err, kind(warg.KindRecordNotFound)) && !errors.Is(err, kind(warg.KindLogNotFound)) {
		t.Errorf("reading an operator record: got %+v, %v; want it not to be found", st, err)
	}
}

func contentChecks() []check {
	return []check{
		{"content", checkContent},
		{"content/unknown", checkUnknownContent},
	}
}

// read returns content as a client would get it.
func (s *scene) read(t testing.TB, digest warg.Digest) ([]byte, error) {
	c, err := s.Registry.Open(t.Context(), digest)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

// checkContent: released content is there, yanked or not, and can be read from
// anywhere, more than once at a time.
func checkContent(t testing.TB, s *scene) {
	for _, want := range s.world.contents {
		digest := warg.Sum(want)
		stat, err := s.Registry.Stat(t.Context(), digest)
		if err != nil || stat.Digest != digest || stat.Size != int64(len(want)) {
			t.Fatalf("got %+v, %v; want %d bytes of %s", stat, err, len(want), digest)
		}
		c, err := s.Registry.Open(t.Context(), digest)
		if err != nil {
			t.Fatalf("opening content: %v", err)
		}
		if again, err := s.read(t, digest); err != nil || !bytes.Equal(again, want) {
			t.Errorf("while open, read %x, %v; want %x", again, err, want)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %x, %v; want %x", got, err, want)
		}
		if end, err := c.Seek(-3, io.SeekEnd); err != nil || end != int64(len(want))-3 {
			t.Errorf("seeking: got %d, %v", end, err)
		}
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want[len(want)-3:]) {
			t.Errorf("read the end as %x, %v", got, err)
		}
		part := make([]byte, 4)
		if n, err := c.ReadAt(part, 2); err != nil || n != len(part) || !bytes.Equal(part, want[2:6]) {
			t.Errorf("read the middle as %x, %v", part, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
}

// checkUnknownContent: what no published record releases is not there.
func checkUnknownContent(t testing.TB, s *scene) {
	for _, digest := range []warg.Digest{warg.Sum([]byte("no content")), warg.Sum(s.world.wanted)} {
		_, err := s.Registry.Stat(t.Context(), digest)
		refused(t, "asking for unknown content", err, warg.NotFound(warg.KindContentNotFound, digest))
		_, err = s.Registry.Open(t.Context(), digest)
		refused(t, "opening unknown content", err, warg.NotFound(warg.KindContentNotFound, digest))
	}
}
