package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// A release that is made through us is in the registry behind, and whoever made it
// reads it back at once, however long we would have gone on with what we had.
func TestPublishThrough(t *testing.T) {
	up, front := behind(t, "token_file = \"up.token\"")
	front.write(t, "up.token", "ours\n")
	w := newWire(t, up.url, (*httptest.Server).Start)
	front.through(t, up, w.URL)
	front.maxAge(t, "1h")
	home := front.serve(t)
	through := []string{"--registry", home.url, "--on-behalf", "up.example"}
	front.ok(t, "key", "new")
	front.ok(t, with(through, "packages")...) // a checkpoint that is good for an hour

	for i, version := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		front.write(t, "x", string(wargtest.Component("release "+version)))
		var done publishedRecord
		decode(t, front.ok(t, with(through, "publish", "local:new@"+version, "x", "--json")...), &done)
		if done.Began != (i == 0) || done.Index != uint64(3+i) {
			t.Errorf("published %+v", done)
		}
	}
	front.ok(t, with(through, "yank", "local:new@2.0.0")...)
	for _, at := range [][]string{through, {"--registry", up.url}} {
		v := newPerson(t)
		v.ok(t, with(at, "download", "local:new", "-o", "got")...)
		if v.read(t, "got") != string(wargtest.Component("release 1.1.0")) {
			t.Errorf("%v: other bytes, or another release", at)
		}
	}
	if own := newPerson(t).ok(t, "packages", "--registry", home.url); strings.Contains(own, "new") {
		t.Errorf("our own registry has it as well: %q", own)
	}
	uploads := 0
	for _, r := range w.requests("/v1/package/") {
		token := r.Header.Get("Authorization")
		switch upload := strings.Contains(r.URL.Path, "/content/"); {
		case upload && (token != "" || r.ContentLength <= 0 || r.Header.Get(api.HeaderRegistry) != ""):
			t.Errorf("uploaded %d bytes with %v", r.ContentLength, r.Header)
		case upload:
			uploads++
		case token != "Bearer ours":
			t.Errorf("%s with token %q", r.URL.Path, token)
		}
	}
	if uploads != 3 {
		t.Errorf("%d uploads", uploads)
	}
}

// What the registry behind says about a publisher reaches the publisher.
func TestRefusedThrough(t *testing.T) {
	_, front := behind(t, "")
	home := front.serve(t)
	front.write(t, "x", string(wargtest.Component("x")))
	front.write(t, "text", "this is no component")
	front.ok(t, "key", "new")
	for _, test := range []struct {
		name, args, want string
		code             int
	}{
		{"without the header", "local:new@1.0.0 x", "namespace belongs to another registry: `local`", exitFailed},
		{"a namespace that it does not have", "nowhere:new@1.0.0 x --on-behalf up.example", "unknown namespace `nowhere`", exitFailed},
		{"somebody else's package", "local:tool@3.0.0 x --on-behalf up.example", "local:tool", exitFailed},
		{"what its policy refuses", "local:text@1.0.0 text --on-behalf up.example", "not valid WebAssembly", exitFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := front.run(t, append([]string{"publish", "--registry", home.url}, strings.Fields(test.args)...)...)
			if r.code != test.code || !strings.Contains(r.stderr, test.want) {
				t.Errorf("got %+v, want %d and %q", r, test.code, test.want)
			}
		})
	}
}

// The client's own token opens no door behind us.
func TestTokenStaysHere(t *testing.T) {
	up, front := behind(t, "")
	w := newWire(t, up.url, (*httptest.Server).Start)
	front.through(t, up, w.URL)
	home := front.serve(t)
	p := wargtest.NewPackage("local:secret")
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))
	c, err := upstream.NewClient(upstream.ClientOptions{
		Domain: "up.example", URL: home.url, OnBehalf: "up.example", Token: "of the user", AllowPrivateAddresses: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Publish(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Record(t.Context(), req.LogID, req.Record.PackageRecordID()); err != nil {
		t.Fatal(err)
	}
	if len(w.requests("/v1/package/")) == 0 {
		t.Error("nothing was handed on")
	}
	for _, r := range w.requests("/") {
		if strings.Contains(fmt.Sprint(r.Header), "of the user") || r.Header.Get(api.HeaderRegistry) != "" {
			t.Errorf("%s: %v", r.URL.Path, r.Header)
		}
	}
}

// An upload that breaks off, and a server that is started anew in between: the address
// still leads to the same record.
func TestUploadOverARestart(t *testing.T) {
	up, front := behind(t, "")
	home := front.serve(t)
	content := wargtest.Component(strings.Repeat("restart", 20_000))
	p := wargtest.NewPackage("local:restart")
	req := p.Request(p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", content)))
	status, err := clientOf(t, home.url, "up.example", "up.example").Publish(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	sites := status.Uploads[warg.Sum(content)]
	if len(sites) != 1 || !strings.HasPrefix(sites[0].URL, "v1/upload/") {
		t.Fatalf("offered %+v", status)
	}
	send := func(base string, body io.Reader) (int, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/"+sites[0].URL, body)
		if err != nil {
			return 0, err
		}
		r.ContentLength = int64(len(content))
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	half := io.MultiReader(bytes.NewReader(content[:len(content)/2]), hangUp{})
	if code, err := send(home.url, half); err == nil {
		t.Errorf("half of it was answered with %d", code)
	}
	home.end(t)
	if state, err := clientOf(t, up.url, "up.example", "").Record(t.Context(), req.LogID, status.RecordID); err != nil || state.State != warg.StateSourcing {
		t.Errorf("after half of it: %+v, %v", state, err)
	}
	if _, err := os.Stat(front.path("entrepot-data/capability.key")); err != nil {
		t.Error(err)
	}

	home = front.serve(t)
	c := clientOf(t, home.url, "up.example", "up.example")
	again, err := c.Record(t.Context(), req.LogID, status.RecordID)
	if err != nil || len(again.Uploads[warg.Sum(content)]) != 1 || again.Uploads[warg.Sum(content)][0] != sites[0] {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	for range 2 { // the answer to the first one may have been lost
		if code, err := send(home.url, bytes.NewReader(content)); err != nil || code != http.StatusCreated {
			t.Errorf("after the restart: %d, %v", code, err)
		}
	}
	for state := status; state.State != warg.StatePublished; {
		if state, err = c.Record(t.Context(), req.LogID, status.RecordID); err != nil || state.State == warg.StateRejected {
			t.Fatalf("%+v, %v", state, err)
		}
	}
	newPerson(t).ok(t, "download", "--registry", home.url, "--on-behalf", "up.example", "local:restart")
	if strings.Contains(home.log.String(), strings.TrimPrefix(sites[0].URL, "v1/upload/")) {
		t.Error("the right to upload stands in the log")
	}
}

// hangUp breaks a connection instead of giving more of a body.
type hangUp struct{}

func (hangUp) Read([]byte) (int, error) { return 0, errors.New("hung up") }

// A key of upload addresses that is damaged is a matter of configuration.
func TestDamagedCapabilityKey(t *testing.T) {
	_, front := behind(t, "")
	front.write(t, "entrepot-data/capability.key", "nonsense")
	if r := front.run(t, "serve"); r.code != exitConfig || !strings.Contains(r.stderr, "capability.key") || !strings.Contains(r.stderr, "remove it") {
		t.Errorf("got %+v", r)
	}
}
