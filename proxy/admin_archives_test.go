package proxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// shelf keeps what it was given and tells what it was asked for.
type shelf struct {
	told string
	fail error
}

type proven struct{ error }

func (p proven) Unwrap() error { return p.error }

func (proven) EvidenceText() []byte { return []byte("evidence") }

func (s *shelf) ExportArchive(_ context.Context, want ArchiveWanted, since io.Reader, w io.Writer) (json.RawMessage, error) {
	s.told = fmt.Sprintf("%v %v %v", want.Domains, want.Own, want.Packages)
	if since != nil {
		stub, err := io.ReadAll(since)
		if err != nil {
			return nil, err
		}
		s.told += " since " + string(stub)
	}
	_, err := io.WriteString(w, strings.Repeat("archive", 10_000))
	return json.RawMessage(`{"id":1}`), errors.Join(err, s.fail)
}

func (s *shelf) TakeArchives(_ context.Context, verifyOnly bool, next func() (io.Reader, int64, error), progress func(MirrorProgress)) (json.RawMessage, error) {
	s.told = fmt.Sprint(verifyOnly)
	for {
		body, size, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(body)
		if err != nil || int64(len(b)) != size {
			return nil, warg.Errorf(warg.KindBadRequest, "%d of %d bytes: %v", len(b), size, err)
		}
		s.told += " " + string(b)
	}
	progress(MirrorProgress{Domain: upDomain, Stage: "verifying", Done: 1, Total: 1})
	return json.RawMessage(`[2]`), s.fail
}

func framed(texts ...string) string {
	var b []byte
	for _, s := range texts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	return string(b)
}

func TestArchiveExportCall(t *testing.T) {
	s := &shelf{}
	_, client := adminSite(t, Admin{Archives: s})
	export := func(body string) (*http.Response, string, ArchiveEnd) {
		t.Helper()
		resp, err := client.Post("http://admin/admin/archive/export", "application/octet-stream", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var end ArchiveEnd
		if text, err := base64.StdEncoding.DecodeString(resp.Trailer.Get(TrailerArchive)); err != nil {
			t.Fatal(err)
		} else if len(text) > 0 {
			if err := json.Unmarshal(text, &end); err != nil {
				t.Fatal(err)
			}
		}
		return resp, string(b), end
	}
	archive := strings.Repeat("archive", 10_000)
	for _, row := range []struct{ name, body, told string }{
		{"all", framed(`{}`), "[] false []"},
		{"some", framed(`{"domains":["up.example"],"own":true,"packages":["a:b"]}`), "[up.example] true [a:b]"},
		{"since", framed(`{}`, "stub"), "[] false [] since stub"},
	} {
		resp, got, end := export(row.body)
		if resp.StatusCode != 200 || got != archive || s.told != row.told || string(end.Result) != `{"id":1}` || end.Error != "" {
			t.Errorf("%s: %d, %d bytes, told %q, %+v", row.name, resp.StatusCode, len(got), s.told, end)
		}
	}
	for name, body := range map[string]string{"nothing": "", "no JSON": framed("x"), "cut": framed(`{}`)[:5], "huge": "\xff\xff\xff\xff\xff\xff\xff\xff{}"} {
		if resp, got, _ := export(body); resp.StatusCode != 400 {
			t.Errorf("%s: %d %.100s", name, resp.StatusCode, got)
		}
	}
	s.fail = warg.Errorf(warg.KindUnavailable, "nothing is held")
	if _, _, end := export(framed(`{}`)); end.Code != 503 || end.Error == "" || end.Result != nil {
		t.Errorf("failed: %+v", end)
	}
}

func TestArchiveImportCalls(t *testing.T) {
	s := &shelf{}
	_, client := adminSite(t, Admin{Archives: s})
	const progress = `{"domain":"up.example","stage":"verifying","done":1,"total":1}` + "\n"
	for _, row := range []struct {
		name, path, body string
		fail             error
		told, answer     string
	}{
		{"two", "import", framed("one", "two"), nil, "false one two", progress + `{"end":{"result":[2]}}`},
		{"verify", "verify", framed("one"), nil, "true one", progress + `{"end":{"result":[2]}}`},
		{"none", "import", "", nil, "false", progress + `{"end":{"result":[2]}}`},
		{"cut", "import", framed("one")[:10], nil, "false", `{"end":{"error":"2 of 3 bytes: \u003cnil\u003e","code":400}}`},
		{"refused", "import", framed("one"), proven{warg.Errorf(warg.KindUpstreamInvalid, "a fork")}, "false one",
			progress + `{"end":{"error":"a fork","code":502,"evidence":"ZXZpZGVuY2U="}}`},
	} {
		s.fail = row.fail
		status, answer := ask(t, client, "POST", "/admin/archive/"+row.path, row.body)
		if status != 200 || answer != row.answer || s.told != row.told {
			t.Errorf("%s: %d told %q\n%s", row.name, status, s.told, answer)
		}
	}
	big := bytes.Repeat([]byte("x"), 3<<20) // more than other calls may send
	s.fail = nil
	if status, answer := ask(t, client, "POST", "/admin/archive/import", framed(string(big))); status != 200 || !strings.HasSuffix(answer, `{"end":{"result":[2]}}`) {
		t.Errorf("large: %d %.200s", status, answer)
	}
}

func TestArchiveCallsWithoutArchives(t *testing.T) {
	_, client := adminSite(t, Admin{})
	for _, path := range []string{"export", "import", "verify"} {
		if status, answer := ask(t, client, "POST", "/admin/archive/"+path, framed(`{}`)); status != 501 {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}
