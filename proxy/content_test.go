package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/entrepot/entrepot/warg"
)

// contentSite has the same content in memory and as a file, and returns its URL.
func contentSites(t *testing.T, content []byte) map[string]*site {
	t.Helper()
	inMemory := newSite(t)
	inMemory.own.put(content)
	asFile := newSite(t)
	asFile.own.dir = t.TempDir()
	asFile.own.put(content)
	return map[string]*site{"memory": inMemory, "file": asFile}
}

func contentURL(d warg.Digest) string { return "/content/sha256-" + d.Hex() }

func TestContentSizes(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 32 << 10, smallContent - 1, smallContent, smallContent + 1, 1 << 20, 5<<20 + 7} {
		data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		for where, st := range contentSites(t, data) {
			d := warg.Sum(data)
			r := st.get(contentURL(d))
			if r.status != 200 || r.body != string(data) {
				t.Errorf("%d bytes from %s: status %d, %d bytes", size, where, r.status, len(r.body))
			}
			want := map[string]string{
				"Content-Type": "application/octet-stream", "Content-Length": fmt.Sprint(size), "Etag": `"` + d.String() + `"`,
				"Accept-Ranges": "bytes", "Cache-Control": "public, max-age=31536000, immutable",
			}
			for name, value := range want {
				if got := r.header.Get(name); got != value {
					t.Errorf("%d bytes from %s: %s is %q, want %q", size, where, name, got, value)
				}
			}
			if h := st.head(contentURL(d)); h.status != 200 || h.body != "" || h.header.Get("Content-Length") != fmt.Sprint(size) {
				t.Errorf("HEAD of %d bytes from %s: %d %v", size, where, h.status, h.header)
			}
		}
	}
}

func TestRanges(t *testing.T) {
	for _, size := range []int{1000, 200_000} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7)
		}
		d := warg.Sum(data)
		last := size - 1
		rows := []struct {
			name, field string
			first, end  int // of what is sent; -1: refused
		}{
			{"the first byte", "bytes=0-0", 0, 1},
			{"a part", "bytes=10-99", 10, 100},
			{"to the end", "bytes=10-", 10, size},
			{"everything", "bytes=0-", 0, size},
			{"beyond the end", "bytes=10-99999999", 10, size},
			{"the last byte", fmt.Sprintf("bytes=%d-", last), last, size},
			{"a suffix", "bytes=-7", size - 7, size},
			{"a suffix longer than all", "bytes=-99999999", 0, size},
			{"blanks around", "bytes= 10-99 ", 10, 100},
			{"from the end", fmt.Sprintf("bytes=%d-", size), -1, 0},
			{"far beyond", "bytes=99999999-", -1, 0},
			{"backwards", "bytes=99-10", -1, 0},
			{"an empty suffix", "bytes=-0", -1, 0},
			{"no numbers", "bytes=-", -1, 0},
			{"nothing", "bytes=", -1, 0},
			{"no dash", "bytes=10", -1, 0},
			{"letters", "bytes=a-b", -1, 0},
			{"a sign", "bytes=+1-2", -1, 0},
			{"hexadecimal", "bytes=0x1-2", -1, 0},
			{"a number beyond 64 bits", "bytes=99999999999999999999-", -1, 0},
			{"another unit", "items=0-1", -1, 0},
			{"no unit", "0-1", -1, 0},
		}
		for where, st := range contentSites(t, data) {
			for _, row := range rows {
				t.Run(fmt.Sprintf("%d %s %s", size, where, row.name), func(t *testing.T) {
					st := &site{t, st.s, st.addr, st.own, st.up}
					r := st.get(contentURL(d), "Range: "+row.field)
					if row.first < 0 {
						if r.status != 416 || r.body != "" || r.header.Get("Content-Range") != fmt.Sprintf("bytes */%d", size) || r.header.Get("Content-Type") != "" {
							t.Errorf("%d %q %v", r.status, r.body, r.header)
						}
						return
					}
					want := fmt.Sprintf("bytes %d-%d/%d", row.first, row.end-1, size)
					if r.status != 206 || r.header.Get("Content-Range") != want || r.body != string(data[row.first:row.end]) {
						t.Errorf("%d, %d bytes, %q; want %q", r.status, len(r.body), r.header.Get("Content-Range"), want)
					}
					if h := st.head(contentURL(d), "Range: "+row.field); h.status != 206 || h.header.Get("Content-Length") != fmt.Sprint(row.end-row.first) {
						t.Errorf("HEAD: %d %v", h.status, h.header)
					}
				})
			}
			r := st.get(contentURL(d), "Range: bytes=0-1,3-4")
			if r.status != 416 || r.body != "Cannot serve multipart range requests" {
				t.Errorf("several ranges: %d %q", r.status, r.body)
			}
		}
	}
}

func TestConditions(t *testing.T) {
	data := []byte("content")
	d := warg.Sum(data)
	tag := `"` + d.String() + `"`
	sites := contentSites(t, data)
	st := sites["file"]
	modified := st.get(contentURL(d)).header.Get("Last-Modified")
	when, err := http.ParseTime(modified)
	if err != nil {
		t.Fatal(err)
	}
	before, after := when.Add(-time.Hour).Format(http.TimeFormat), when.Add(time.Hour).Format(http.TimeFormat)
	rows := []struct {
		name   string
		fields []string
		status int
	}{
		{"the same tag", []string{"If-None-Match: " + tag}, 304},
		{"the same tag, weak", []string{"If-None-Match: W/" + tag}, 304},
		{"a list with it", []string{`If-None-Match: "x", ` + tag}, 304},
		{"the star", []string{"If-None-Match: *"}, 304},
		{"another tag", []string{`If-None-Match: "x"`}, 200},
		{"not modified since", []string{"If-Modified-Since: " + modified}, 304},
		{"not modified since later", []string{"If-Modified-Since: " + after}, 304},
		{"modified since earlier", []string{"If-Modified-Since: " + before}, 200},
		{"a date that is none", []string{"If-Modified-Since: yesterday"}, 200},
		{"the tag wins over the date", []string{`If-None-Match: "x"`, "If-Modified-Since: " + after}, 200},
		{"if it is the same", []string{"If-Match: " + tag}, 200},
		{"if it is one of them", []string{`If-Match: "x", ` + tag}, 200},
		{"if there is any", []string{"If-Match: *"}, 200},
		{"if it is another", []string{`If-Match: "x"`}, 412},
		{"a weak tag matches nothing", []string{"If-Match: W/" + tag}, 412},
		{"unmodified since", []string{"If-Unmodified-Since: " + modified}, 200},
		{"unmodified since earlier", []string{"If-Unmodified-Since: " + before}, 412},
		{"a range of the same", []string{"Range: bytes=0-0", "If-Range: " + tag}, 206},
		{"a range of another", []string{"Range: bytes=0-0", `If-Range: "x"`}, 200},
		{"a range of a weak tag", []string{"Range: bytes=0-0", "If-Range: W/" + tag}, 200},
		{"a range of that date", []string{"Range: bytes=0-0", "If-Range: " + modified}, 206},
		{"a range of another date", []string{"Range: bytes=0-0", "If-Range: " + before}, 200},
		{"a condition before a range", []string{"Range: bytes=99-", "If-None-Match: " + tag}, 304},
	}
	for _, row := range rows {
		for _, method := range []string{"GET", "HEAD"} {
			r := st.one(method, request(method, contentURL(d), nil, row.fields...))
			if r.status != row.status {
				t.Errorf("%s, %s: %d, want %d", row.name, method, r.status, row.status)
			}
			if row.status >= 300 && (r.body != "" || r.header.Get("Content-Type") != "") {
				t.Errorf("%s: body %q, content type %q", row.name, r.body, r.header.Get("Content-Type"))
			}
			if row.status == 304 && (r.header.Get("Etag") != tag || r.header.Get("Cache-Control") != cacheForever) {
				t.Errorf("%s: 304 with %v", row.name, r.header)
			}
		}
	}
	// Content in memory has no date, so dates decide nothing.
	for _, field := range []string{"If-Modified-Since: " + after, "If-Unmodified-Since: " + before} {
		if r := sites["memory"].get(contentURL(d), field); r.status != 200 || r.header.Get("Last-Modified") != "" {
			t.Errorf("%s without a date: %d %v", field, r.status, r.header)
		}
	}
}

// recorder notes what a connection is asked to send.
type recorder struct {
	counting
	files int
}

func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	if part, ok := src.(*io.LimitedReader); ok {
		if _, isFile := part.R.(*os.File); isFile {
			r.files++
		}
	}
	return io.Copy(struct{ io.Writer }{&r.counting}, src)
}

// TestLargeFilesReachSendfile: the file itself arrives at the connection, limited
// to the part that is sent; anything around it would cost the system call.
func TestLargeFilesReachSendfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "content")
	data := bytes.Repeat([]byte("x"), 1<<20)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	raw := &recorder{}
	l, _ := testListener(newScripted(), connCaps{total: 1, perPeer: 1})
	c := newConn(raw, l, netip.Prefix{}, false)
	var resp fasthttp.Response
	resp.SetBodyStream(&contentStream{f, io.LimitedReader{R: f, N: 1 << 19}}, 1<<19)
	w := bufio.NewWriterSize(c, writeBuffer)
	if err := resp.Write(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if raw.files != 1 {
		t.Errorf("the connection saw %d files", raw.files)
	}
	if _, body, _ := bytes.Cut(bytes.Join(raw.writes, nil), []byte("\r\n\r\n")); len(body) != 1<<19 {
		t.Errorf("%d bytes were sent", len(body))
	}
	if err := f.Close(); err == nil {
		t.Error("the file was left open")
	}
}

// TestTruncatedContent: content that became shorter than announced breaks the
// connection; it never looks complete.
func TestTruncatedContent(t *testing.T) {
	st := contentSites(t, bytes.Repeat([]byte("x"), 1<<20))["file"]
	d := warg.Sum(bytes.Repeat([]byte("x"), 1<<20))
	st.get(contentURL(d)) // writes the file
	truncating := &truncated{Own: st.s.federation.own}
	st.s.federation.own = truncating
	c, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, get(contentURL(d)))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes arrived without an error", len(b))
	}
}

// truncated hands out files that lose their end after they were measured.
type truncated struct{ Own }

type shrinking struct{ warg.Content }

func (s shrinking) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return 2 << 20, nil
	}
	return s.Content.Seek(offset, whence)
}

func (r *truncated) Open(ctx context.Context, d warg.Digest) (warg.Content, error) {
	c, err := r.Own.Open(ctx, d)
	return shrinking{c}, err
}

// TestUnreadContentIsNotBuffered is about many clients that ask for large
// content and read nothing.
func TestUnreadContentIsNotBuffered(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 32<<20)
	st := contentSites(t, data)["file"]
	d := warg.Sum(data)
	var conns []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", st.addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_, _ = io.WriteString(c, get(contentURL(d)))
	}
	h := sha256.New()
	c, err := net.Dial("tcp", st.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, get(contentURL(d), "Connection: close"))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(h, resp.Body); err != nil || warg.Digest(h.Sum(nil)) != d {
		t.Errorf("a reader beside 20 that do not read: %v", err)
	}
	for _, c := range conns {
		_ = c.Close()
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-0", "bytes=-5", "bytes=5-", "bytes=1-2,3-4", "bytes=", "items=0-1", "bytes=0-18446744073709551616"} {
		f.Add(s, int64(1000))
	}
	f.Fuzz(func(t *testing.T, field string, size int64) {
		if size < 0 || strings.ContainsAny(field, "\r\n") {
			return
		}
		var h fasthttp.RequestHeader
		h.Set("Range", field)
		part, err := rangeOf(&h, size, `"tag"`, time.Time{})
		if err != nil {
			return
		}
		if part.first < 0 || part.length < 0 || part.first+part.length > size || part.partial && part.length == 0 {
			t.Fatalf("%q of %d: %+v", field, size, part)
		}
	})
}
