package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/internal/kv"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/memstore"
	"github.com/entrepot/entrepot/upstream/mirror"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

const homeDomain = "home.example"

// lostHome is a site without peers in its configuration, whose registry has two
// packages, and an old copy of it with one.
type lostHome struct {
	*person
	data, old string
}

func newLostHome(t *testing.T) *lostHome {
	t.Helper()
	h := &lostHome{person: newPerson(t)}
	h.data, h.old = h.path("entrepot-data"), h.path("old")
	h.write(t, "home.key", wargtest.Alice().Text()+"\n")
	if err := os.Chmod(h.path("home.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write(t, "entrepot.toml", fmt.Sprintf("listen = \"127.0.0.1:0\"\n[authority]\ndomain = %q\nnamespaces = [\"test\"]\nkey_file = \"home.key\"\n", homeDomain))
	h.publish(t, "test:first")
	if err := os.CopyFS(h.old, os.DirFS(h.data)); err != nil {
		t.Fatal(err)
	}
	h.publish(t, "test:second")
	return h
}

// open opens the registry without a server, which takes no time. The index is made anew
// by whoever comes next.
func (h *lostHome) open(t *testing.T) *authority.Authority {
	t.Helper()
	a, err := authority.Open(t.Context(), authority.Options{
		Dir: filepath.Join(h.data, "authority"), ContentDir: filepath.Join(h.data, "content"), Domain: homeDomain,
		Key: wargtest.Alice(), KeyFile: h.path("home.key"), Namespaces: []string{"test"}, Index: index.InMemory(new(kv.Memory)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// publish publishes packages, each with a release.
func (h *lostHome) publish(t *testing.T, names ...string) {
	t.Helper()
	a := h.open(t)
	for _, name := range names {
		p, content := wargtest.NewPackage(name), wargtest.Component(name)
		env := p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content))
		st, err := a.Publish(t.Context(), p.Request(env))
		if err == nil {
			err = a.Upload(t.Context(), p.LogID(), st.RecordID, warg.Sum(content), bytes.NewReader(content))
		}
		if err == nil {
			st, err = a.Settled(t.Context(), p.LogID(), st.RecordID)
		}
		if err != nil || st.State != warg.StatePublished {
			t.Fatalf("%s: %+v, %v", name, st, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
}

// goesOn checks that the registry has its packages, and takes another.
func (h *lostHome) goesOn(t *testing.T, names ...string) {
	t.Helper()
	a := h.open(t)
	for _, name := range names {
		if _, err := a.Stat(t.Context(), warg.Sum(wargtest.Component(name))); err != nil {
			t.Errorf("content of %s: %v", name, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	h.publish(t, "test:another")
}

// mirrored serves the registry from a replica that holds everything, as a peer does.
// Requests go through gate if that is not nil.
func (h *lostHome) mirrored(t *testing.T, gate func(http.Handler) http.Handler) (address string) {
	t.Helper()
	a := h.open(t)
	defer a.Close()
	return peerServing(t, replicaOver(t, upstream.Adapt(a)), gate)
}

// replicaOver returns a replica of the home registry that holds everything.
func replicaOver(t *testing.T, from upstream.Transport) *upstream.Replica {
	t.Helper()
	r, err := upstream.Open(t.Context(), upstream.Options{
		Domain: homeDomain, Transport: from, Store: memstore.New(), TrustFirstKey: true, MaxAge: time.Hour,
		Dir: t.TempDir(), EvidenceDir: t.TempDir(), TempDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := mirror.Sync(t.Context(), r, mirror.Plan{Everything: true}, 0, func(mirror.Step) {}); err != nil {
		t.Fatal(err)
	}
	return r
}

// peerServing serves a replica of the home registry.
func peerServing(t *testing.T, r *upstream.Replica, gate func(http.Handler) http.Handler) string {
	t.Helper()
	own := wargtest.NewMemory(wargtest.Options{Domain: "peer.example", Namespaces: []string{"none"}})
	base := served(t, own, map[string]proxy.Upstream{homeDomain: r})
	if gate == nil {
		return base
	}
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: gate(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }})}
	go func() { _ = front.Serve(l) }()
	t.Cleanup(func() { _ = front.Close() })
	return "http://" + l.Addr().String()
}

// truth returns the files of a registry that count.
func truth(t *testing.T, data string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(filepath.Join(data, "authority"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "index") || strings.HasSuffix(path, "lock") {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestRecoverTellsLies: a peer whose log is not ours ends recovery with 65, changes
// nothing, and does not keep an honest peer from being used afterwards.
func TestRecoverTellsLies(t *testing.T) {
	h := newLostHome(t)
	honest := h.mirrored(t, nil)
	restoreInPlace(t, h.old, h.data)
	history := func(key warg.PrivateKey, packages int) upstream.Transport {
		m := wargtest.NewMemory(wargtest.Options{Domain: homeDomain, Namespaces: []string{"test"}, Key: key})
		for i := range packages {
			name := fmt.Sprint("test:other", i)
			released(t, m, wargtest.NewPackage(name), "1.0.0", name, true)
		}
		return upstream.Adapt(m)
	}
	for name, c := range map[string]struct {
		peer  upstream.Transport
		want  string
		forks bool // two histories are signed with our key
	}{
		"another operator":                     {history(wargtest.Bob(), 4), "key", false},
		"another history of our key, longer":   {history(wargtest.Alice(), 6), "lead to log root", true},
		"another history of our key, as long":  {history(wargtest.Alice(), 1), "another checkpoint of length 2", true},
		"another history, as long as the loss": {history(wargtest.Alice(), 2), "lead to log root", true},
	} {
		t.Run(name, func(t *testing.T) {
			before := truth(t, h.data)
			evidence := filepath.Join(h.data, evidenceDir)
			gone(t, evidence)
			r := h.run(t, "recover", "--from", peerServing(t, replicaOver(t, c.peer), nil))
			if r.code != exitVerification || r.stdout != "" || !strings.Contains(r.stderr, c.want) {
				t.Errorf("%+v", r)
			}
			if c.forks {
				proves(t, evidence)
			} else if files, err := filepath.Glob(evidence + "/*"); err != nil || len(files) > 0 {
				t.Errorf("evidence of a stranger: %v, %v", files, err)
			}
			if !maps.Equal(before, truth(t, h.data)) {
				t.Error("something changed")
			}
		})
	}
	h.ok(t, "recover", "--from", honest)
	h.goesOn(t, "test:first", "test:second")
}

// TestRecoverBehind: a peer that saw less than the anchor says is refused with 78, and
// nothing changes.
func TestRecoverBehind(t *testing.T) {
	h := newLostHome(t)
	peer := h.mirrored(t, nil)
	h.publish(t, "test:third")
	before := truth(t, h.data)
	r := h.run(t, "recover", "--from", peer)
	if r.code != exitConfig || !strings.Contains(r.stderr, "the peer is behind: it holds length 3, and 4 was issued here") {
		t.Errorf("%+v", r)
	}
	if !maps.Equal(before, truth(t, h.data)) {
		t.Error("something changed")
	}
	if r := h.run(t, "recover", "--from", "http://127.0.0.1:1"); r.code != exitTemporary {
		t.Errorf("nobody there: %+v", r)
	}
	h.goesOn(t, "test:third")
}

// TestRecoverWithoutAnchor: where no anchor says how much was issued, the command tells
// what the peer holds, and how old that is, and the words that it prints are those that
// it then takes. Other words are not.
func TestRecoverWithoutAnchor(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, h *lostHome){
		"anchor": func(t *testing.T, h *lostHome) { gone(t, h.path("entrepot-data/authority/anchor")) },
		"everything": func(t *testing.T, h *lostHome) {
			gone(t, h.path("entrepot-data"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newLostHome(t)
			peer := h.mirrored(t, nil)
			lose(t, h)
			h.ahead = 3 * time.Hour
			r := h.run(t, "recover", "--from", peer)
			found := regexp.MustCompile(`has length 3 and log root (sha256:[0-9a-f]{64}) and was signed at \S+Z, 3h0m\d+s ago: .* --accept (3:sha256:[0-9a-f]{64})\n$`).FindStringSubmatch(r.stderr)
			if r.code != exitConfig || r.stdout != "" || found == nil || "3:"+found[1] != found[2] {
				t.Fatalf("%+v", r)
			}
			for _, word := range []string{"2" + found[2][1:], found[2][:len(found[2])-4] + "0000"} {
				if r := h.run(t, "recover", "--from", peer, "--accept", word); r.code != exitConfig || !strings.Contains(r.stderr, "the peer's newest checkpoint is "+found[2]) {
					t.Errorf("vouching for %s: %+v", word, r)
				}
			}
			var done recovered
			decode(t, h.ok(t, "recover", "--from", peer, "--accept", found[2], "--json"), &done)
			if done.To != 3 || len(done.Lacking) != 0 {
				t.Errorf("%+v", done)
			}
			h.ahead = 0
			h.goesOn(t, "test:first", "test:second")
		})
	}
}

func gone(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

// TestRecoverInterrupted: wherever the peer goes away, recovery ends with 75 and leaves
// the registry as it was; the next attempt does not begin anew.
func TestRecoverInterrupted(t *testing.T) {
	h := newLostHome(t)
	var left, asked atomic.Int64
	peer := h.mirrored(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if left.Add(-1) < 0 {
				panic(http.ErrAbortHandler) // the line breaks
			}
			next.ServeHTTP(w, r)
		})
	})
	restoreInPlace(t, h.old, h.data)
	before := truth(t, h.data)
	recovery := func(requests int64) (result, int64) {
		left.Store(requests)
		asked.Store(0)
		r := h.run(t, "recover", "--from", peer, "--json")
		return r, asked.Load()
	}
	attempts := 0
	for requests := int64(0); ; requests++ { // each alone: nothing is left of the attempt before
		gone(t, filepath.Join(h.data, recoverDir))
		r, _ := recovery(requests)
		if r.code == exitOK {
			break
		}
		if attempts++; r.code != exitTemporary || attempts > 50 {
			t.Fatalf("the peer went away after %d requests: %+v", requests, r)
		}
		if !maps.Equal(before, truth(t, h.data)) {
			t.Fatalf("the peer went away after %d requests: something changed", requests)
		}
	}
	if attempts < 3 {
		t.Errorf("the peer was asked %d times; nothing was interrupted", attempts)
	}
	whole := int64(attempts)

	restoreInPlace(t, h.old, h.data)
	if r, _ := recovery(whole - 1); r.code != exitTemporary {
		t.Fatalf("%+v", r)
	}
	r, again := recovery(1 << 20)
	var done recovered
	if r.code != exitOK || json.Unmarshal([]byte(r.stdout), &done) != nil || done.From != 2 || done.To != 3 {
		t.Fatalf("%+v", r)
	}
	if again >= whole {
		t.Errorf("%d requests after an attempt that ended with the last of %d", again, whole)
	}
	h.goesOn(t, "test:first", "test:second")
}

// TestRecoverFromMendedPeer: a peer that began its mirror of us anew is believed again,
// although what it said before was not.
func TestRecoverFromMendedPeer(t *testing.T) {
	h := newLostHome(t)
	m := wargtest.NewMemory(wargtest.Options{Domain: homeDomain, Namespaces: []string{"test"}})
	for _, name := range []string{"test:x", "test:y", "test:z"} {
		released(t, m, wargtest.NewPackage(name), "1.0.0", name, true)
	}
	target, err := url.Parse(peerServing(t, replicaOver(t, upstream.Adapt(m)), nil))
	if err != nil {
		t.Fatal(err)
	}
	liar := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	var mended atomic.Bool
	peer := h.mirrored(t, func(honest http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if mended.Load() {
				honest.ServeHTTP(w, r)
			} else {
				liar.ServeHTTP(w, r)
			}
		})
	})
	restoreInPlace(t, h.old, h.data)
	if r := h.run(t, "recover", "--from", peer); r.code != exitVerification {
		t.Fatalf("%+v", r)
	}
	mended.Store(true)
	h.ok(t, "recover", "--from", peer)
}

// TestRecoverFromAnotherPeer: what was fetched from one peer, before it went away, is
// nothing that another is judged by: that has seen less, and is refused for that.
func TestRecoverFromAnotherPeer(t *testing.T) {
	h := newLostHome(t)
	behind := h.mirrored(t, nil)
	h.publish(t, "test:third")
	var requests atomic.Int64
	ahead := h.mirrored(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) > 4 {
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	restoreInPlace(t, h.old, h.data)
	if r := h.run(t, "recover", "--from", ahead); r.code != exitTemporary {
		t.Fatalf("%+v", r)
	}
	var done recovered
	decode(t, h.ok(t, "recover", "--from", behind, "--json"), &done)
	if done.To != 3 {
		t.Errorf("%+v", done)
	}
}
