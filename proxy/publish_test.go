package proxy

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// memorySite serves a real registry in memory.
func memorySite(t *testing.T, m *wargtest.Memory) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{Own: m, BaseURL: baseURL})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &site{t: t, s: s, addr: ln.Addr().String()}
}

// submit publishes a record under a name that need not be the one it was made for.
func (st *site) submit(name warg.PackageName, env warg.Envelope) reply {
	st.t.Helper()
	body := api.AppendPublishRequest(nil, api.PublishBody{Name: name, Record: env})
	return st.post("/"+api.PathPublish(name.LogID()), string(body))
}

func (st *site) send(log warg.LogID, id warg.RecordID, d warg.Digest, content []byte) reply {
	st.t.Helper()
	return st.one("POST", request("POST", "/"+api.PathUpload(log, id, d), ptr(string(content))))
}

func (st *site) length() uint64 {
	st.t.Helper()
	cp, err := api.ParseCheckpoint([]byte(st.get("/v1/fetch/checkpoint").body))
	if err != nil {
		st.t.Fatal(err)
	}
	return cp.Unverified().LogLength
}

// TestPublishStory follows a package through its life, with everything that can go
// wrong on the way, byte for byte.
func TestPublishStory(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	st := memorySite(t, m)
	want := func(what string, r reply, status int, body string) {
		t.Helper()
		if r.status != status || r.body != body {
			t.Errorf("%s: %d %s\n  want %d %s", what, r.status, r.body, status, body)
		}
		checkCommon(t, r)
	}
	alice, bob := wargtest.Alice(), wargtest.Bob()
	p := wargtest.NewPackage("test:story")
	content := wargtest.Component("story")
	d := warg.Sum(content)
	first := p.Next(alice, wargtest.Init(alice), wargtest.Release("1.0.0", content))
	id := first.PackageRecordID()
	sourcing := fmt.Sprintf(`{"recordId":%q,"state":"sourcing","missingContent":{%q:{"upload":[{"type":"http","method":"POST","url":"v1/package/%s/record/%s/content/%s"}]}}}`,
		id, d, p.LogID(), id, d)
	published := func(id warg.RecordID, index int) string {
		return fmt.Sprintf(`{"recordId":%q,"state":"published","registryIndex":%d}`, id, index)
	}

	before := st.length()
	want("an undefined namespace", st.submit(mustName("nowhere:x"), first), 404, typed("namespace", "nowhere"))
	want("an imported namespace", st.submit(mustName("other:x"), first), 409, `{"status":409,"type":"namespaceImport","id":"other"}`)
	forged := first
	forged.Signature = p.Fork().Next(bob, wargtest.Init(bob)).Signature
	want("a signature of something else", st.submit(p.Name(), forged), 401, fmt.Sprintf(`{"status":401,"message":"signature `+"`%s`"+` verification failed"}`, forged.Signature))
	stranger := wargtest.NewPackage("test:story").Next(bob, wargtest.Init(alice))
	want("a key that is not that of the init", st.submit(p.Name(), stranger), 401, escaped(401, fmt.Sprintf("unknown key id `%s`", bob.Public().ID())))
	if st.length() != before {
		t.Error("something was published")
	}
	want("nothing is known yet", st.get("/"+api.PathRecord(p.LogID(), id)), 404, typed("log", p.LogID().String()))

	want("the record", st.submit(p.Name(), first), 202, sourcing)
	want("its state", st.get("/"+api.PathRecord(p.LogID(), id)), 200, sourcing)
	want("the record again", st.submit(p.Name(), first), 202, sourcing)
	want("under another name", st.submit(mustName("test:thief"), first), 409, escaped(409, fmt.Sprintf("record `%s` is known under another name", id)))
	want("damaged content", st.send(p.LogID(), id, d, content[1:]), 400, escaped(400, fmt.Sprintf("content digest `%s` does not match expected digest `%s`", warg.Sum(content[1:]), d)))
	want("content that nobody wants", st.send(p.LogID(), id, warg.Sum(nil), nil), 400, escaped(400, fmt.Sprintf("content digest `%s` is not required for package record `%s`", warg.Sum(nil), id)))
	want("content is not public yet", st.get(contentURL(d)), 404, "")
	want("nor is where it is", st.get("/"+api.PathSources(d)), 404, typed("contentDigest", d.String()))
	want("the content", st.send(p.LogID(), id, d, content), 201, "")
	want("published", st.get("/"+api.PathRecord(p.LogID(), id)), 200, published(id, 1))
	want("the record once more", st.submit(p.Name(), first), 202, published(id, 1))
	want("the content once more", st.send(p.LogID(), id, d, content), 405, `{"status":405}`)
	want("content is public", st.get(contentURL(d)), 200, string(content))

	behind := wargtest.NewPackage("test:story").Next(alice, wargtest.Init(alice), wargtest.Yank("1.0.0"))
	want("a record that begins the log anew", st.submit(p.Name(), behind), 409, fmt.Sprintf(`{"status":409,"type":"record","id":%q}`, id))
	unknown := p.Fork().Next(bob, wargtest.Yank("1.0.0"))
	want("a key that the log does not know", st.submit(p.Name(), unknown), 401, escaped(401, fmt.Sprintf("unknown key id `%s`", bob.Public().ID())))

	release := m.Hold()
	second := p.Next(alice, wargtest.Yank("1.0.0"))
	processing := fmt.Sprintf(`{"recordId":%q,"state":"processing"}`, second.PackageRecordID())
	want("a record that is being processed", st.submit(p.Name(), second), 202, processing)
	rival := p.Fork().Next(alice, wargtest.Yank("1.0.0"))
	want("another one meanwhile", st.submit(p.Name(), rival), 409, fmt.Sprintf(`{"status":409,"type":"record","id":%q}`, second.PackageRecordID()))
	release()
	want("published in turn", st.get("/"+api.PathRecord(p.LogID(), second.PackageRecordID())), 200, published(second.PackageRecordID(), 2))

	bad := p.Next(alice, wargtest.Yank("1.0.0"))
	want("a record that may not follow", st.submit(p.Name(), bad), 202,
		fmt.Sprintf(`{"recordId":%q,"state":"rejected","reason":"the package record was invalid: an entry attempted to yank version 1.0.0 which is already yanked"}`, bad.PackageRecordID()))

	q := wargtest.NewPackage("test:text")
	text := []byte("not WebAssembly")
	env := q.Next(alice, wargtest.Init(alice), wargtest.Release("1.0.0", text))
	if r := st.submit(q.Name(), env); r.status != 202 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	want("content that the policy refuses", st.send(q.LogID(), env.PackageRecordID(), warg.Sum(text), text), 422, message(422, "content is not valid WebAssembly: bad preamble"))
	if n := st.length(); n != 3 {
		t.Errorf("the log has %d leaves, want 3", n)
	}
}
