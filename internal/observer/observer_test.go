package observer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// liar is a registry that can be made to say anything. What it says by default is true,
// and computed by the code of the registry.
type liar struct {
	leaves    []warg.Leaf
	envelopes []warg.Envelope
	content   []byte
	time      uint64
	lie       func(path string, answer []byte) []byte // nil = the truth
}

const published = "local:thing"

// newLiar returns a registry with an operator record and two releases.
func newLiar(t *testing.T) *liar {
	t.Helper()
	l := &liar{content: []byte("content"), time: 1_800_000_000}
	op := oplog.Record{Entries: []oplog.Entry{oplog.Init{Key: wargtest.Alice().Public()}, oplog.DefineNamespace{Namespace: "local"}}}.Sign(wargtest.Alice())
	l.add(warg.OperatorLogID, op)
	p := wargtest.NewPackage(published)
	for _, entries := range [][]pkglog.Entry{
		{wargtest.Init(wargtest.Bob()), wargtest.Release("1.0.0", l.content)}, {wargtest.Release("2.0.0", l.content)},
	} {
		l.add(p.LogID(), p.Next(wargtest.Bob(), entries...))
	}
	return l
}

func (l *liar) add(log warg.LogID, env warg.Envelope) {
	l.envelopes = append(l.envelopes, env)
	l.leaves = append(l.leaves, warg.Leaf{LogID: log, RecordID: env.RecordID(log)})
}

func (l *liar) checkpoint() []byte {
	var log vlog.Log
	var m vmap.Map
	for _, leaf := range l.leaves {
		log.Append(vlog.LeafHash(leaf.LogValue()))
		m = m.Update([]vmap.Entry{{Key: leaf.MapKey(), Value: leaf.MapValue()}})
	}
	c := warg.Checkpoint{LogLength: uint64(len(l.leaves)), LogRoot: log.Root(), MapRoot: m.Root(), Timestamp: l.time}
	return signed(c)
}

func signed(c warg.Checkpoint) []byte {
	s := c.Sign(wargtest.Alice())
	u := s.Unverified()
	return fmt.Appendf(nil, `{"contents":{"logRoot":%q,"logLength":%d,"mapRoot":%q,"timestamp":%d},"keyId":%q,"signature":%q}`,
		u.LogRoot, u.LogLength, u.MapRoot, u.Timestamp, s.KeyID(), s.Signature())
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer []byte
	switch {
	case r.URL.Path == "/v1/fetch/checkpoint":
		answer = l.checkpoint()
	case strings.HasPrefix(r.URL.Path, "/v1/ledger/records/"):
		for _, leaf := range l.leaves {
			answer = append(append(answer, leaf.LogID[:]...), leaf.RecordID[:]...)
		}
	case r.URL.Path == "/v1/fetch/logs":
		answer = l.logs()
	case r.URL.Path == "/content/sha256-"+warg.Sum(l.content).Hex():
		answer = slices.Clone(l.content)
	case strings.HasPrefix(r.URL.Path, "/v1/proof/"):
		answer = l.proof(r)
	case strings.HasPrefix(r.URL.Path, "/v1/package/"):
		answer = fmt.Appendf(nil, `{"recordId":%q,"state":"rejected"}`, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	}
	if l.lie != nil {
		answer = l.lie(r.URL.Path, answer)
	}
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = w.Write(answer)
}

func (l *liar) logs() []byte {
	p := page{Packages: map[string][]record{}}
	for i, env := range l.envelopes {
		r := record{Content: env.Content, KeyID: string(env.KeyID), Signature: env.Signature.String(), Index: uint64(i), Token: fmt.Sprint(i)}
		if i == 0 {
			p.Operator = append(p.Operator, r)
			continue
		}
		id := l.leaves[i].LogID.String()
		p.Packages[id] = append(p.Packages[id], r)
	}
	answer, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return answer
}

// proof makes the proof that is asked for with the code of the registry.
func (l *liar) proof(r *http.Request) []byte {
	var asked struct {
		From, To, LogLength uint64
		Leafs               []uint64
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		panic(err)
	}
	var log vlog.Log
	var m vmap.Map
	for i, leaf := range l.leaves[:max(asked.To, asked.LogLength)] {
		log.Append(vlog.LeafHash(leaf.LogValue()))
		if uint64(i) < asked.LogLength {
			m = m.Update([]vmap.Entry{{Key: leaf.MapKey(), Value: leaf.MapValue()}})
		}
	}
	if asked.LogLength == 0 {
		b, err := vlog.BuildBundle(&log, asked.To, []uint64{asked.From}, nil)
		return mustEncode(map[string][]byte{"proof": b.Encode()}, err)
	}
	keys := make([][]byte, len(asked.Leafs))
	for i, at := range asked.Leafs {
		keys[i] = l.leaves[at].MapKey()
	}
	inMap, err := m.ProveAll(keys)
	if err != nil {
		panic(err)
	}
	inLog, err := vlog.BuildBundle(&log, asked.LogLength, nil, asked.Leafs)
	return mustEncode(map[string][]byte{"log": inLog.Encode(), "map": inMap.Encode()}, err)
}

// bundle returns the proofs about the log of a length.
func (l *liar) bundle(t *testing.T, length uint64, consistent, included []uint64) []byte {
	t.Helper()
	var log vlog.Log
	for _, leaf := range l.leaves[:length] {
		log.Append(vlog.LeafHash(leaf.LogValue()))
	}
	b, err := vlog.BuildBundle(&log, length, consistent, included)
	if err != nil {
		t.Fatal(err)
	}
	return b.Encode()
}

func mustEncode(v any, err error) []byte {
	if err != nil {
		panic(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// watched returns an observer that has seen a registry and what it promised.
func watched(t *testing.T, l *liar) (*Observer, string) {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(server.Close)
	book := filepath.Join(t.TempDir(), "book")
	o := reopened(t, book, server.URL)
	for i, env := range l.envelopes[1:] {
		log, id := l.leaves[1].LogID.String(), env.PackageRecordID().String()
		for _, p := range []Promise{
			{Kind: Sent, Log: log, Record: id, Key: string(env.KeyID), Signature: env.Signature.String()},
			{Kind: Accepted, Log: log, Record: id},
			{Kind: Uploaded, Log: log, Record: id, Content: warg.Sum(l.content).String()},
			{Kind: Published, Log: log, Record: id, Index: uint64(i + 1)},
			{Kind: Rejected, Log: log, Record: warg.Sum([]byte("refused")).String()},
			{Kind: Defined, Namespace: "local"},
		} {
			if err := o.Promised(p); err != nil {
				t.Fatal(err)
			}
		}
	}
	return o, book
}

func reopened(t *testing.T, book, url string) *Observer {
	t.Helper()
	o, err := Open(book, url, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	return o
}

func judged(t *testing.T, o *Observer, damaged bool) Verdict {
	t.Helper()
	v, err := o.Review(t.Context(), Options{All: true, Damaged: damaged})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestHonest(t *testing.T) {
	l := newLiar(t)
	o, book := watched(t, l)
	if v := judged(t, o, false); v.Bad() {
		t.Fatalf("%+v", v)
	}
	l.time++
	if v := judged(t, reopened(t, book, o.base), false); v.Bad() {
		t.Fatalf("by its book alone: %+v", v)
	}
	if v := judged(t, o, false); v.Proven != 1 { // the second release: at the one length that was seen it is the newest
		t.Errorf("%d proofs hold", v.Proven)
	}
	if o.Length() != 3 || o.Promises() != 10 {
		t.Errorf("length %d, promises %d", o.Length(), o.Promises())
	}
}

// replace returns a lie that replaces text in answers of a path.
func replace(path, old, new string) func(string, []byte) []byte {
	return func(asked string, answer []byte) []byte {
		if !strings.HasPrefix(asked, path) {
			return answer
		}
		return []byte(strings.ReplaceAll(string(answer), old, new))
	}
}

// gone returns a lie that there is nothing at a path.
func gone(path string) func(string, []byte) []byte {
	return func(asked string, answer []byte) []byte {
		if strings.HasPrefix(asked, path) {
			return nil
		}
		return answer
	}
}

// TestLies: each lie is found, and counted as what it is.
func TestLies(t *testing.T) {
	lost, forks, corrupt := Verdict{Lost: 1}, Verdict{Forks: 1}, Verdict{Corrupt: 1}
	tests := map[string]struct {
		want Verdict
		lie  func(*liar)
	}{
		"a shorter log":          {forks, func(l *liar) { l.leaves, l.envelopes = l.leaves[:2], l.envelopes[:2]; l.time++ }},
		"an older time":          {forks, func(l *liar) { l.time-- }},
		"another record":         {forks, func(l *liar) { l.leaves[2].RecordID[0]++; l.time++ }},
		"two records exchanged":  {forks, func(l *liar) { l.leaves[1], l.leaves[2] = l.leaves[2], l.leaves[1]; l.time++ }},
		"another signature":      {corrupt, func(l *liar) { l.time++; l.lie = replace("/v1/fetch/checkpoint", `"timestamp":18`, `"timestamp":19`) }},
		"other content":          {corrupt, func(l *liar) { l.lie = replace("/content/", "content", "contenT") }},
		"content without end":    {corrupt, func(l *liar) { l.lie = replace("/content/", "content", "conten") }},
		"no content":             {lost, func(l *liar) { l.lie = gone("/content/") }},
		"a rejection forgotten":  {lost, func(l *liar) { l.lie = gone("/v1/package/") }},
		"a rejection taken back": {lost, func(l *liar) { l.lie = replace("/v1/package/", "rejected", "published") }},
		"another record's key":   {corrupt, func(l *liar) { l.envelopes[2].KeyID = wargtest.Alice().Public().ID() }},
		"another record's bytes": {corrupt, func(l *liar) { l.envelopes[2].Content[3]++ }},
		"a record missing":       {corrupt, func(l *liar) { l.envelopes = l.envelopes[:2] }},
		"not JSON":               {corrupt, func(l *liar) { l.lie = replace("/v1/fetch/logs", "{", "[") }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := newLiar(t)
			o, _ := watched(t, l)
			if v := judged(t, o, false); v.Bad() {
				t.Fatalf("before: %+v", v)
			}
			tt.lie(l)
			v, err := o.Review(t.Context(), Options{All: true, Settle: time.Millisecond})
			if min(v.Lost, 1) < tt.want.Lost || min(v.Forks, 1) < tt.want.Forks || min(v.Corrupt, 1) < tt.want.Corrupt {
				t.Errorf("%+v, %v", v, err)
			}
		})
	}
}

// TestUnsentRecord: a record in the log that nobody sent is not harmless.
func TestUnsentRecord(t *testing.T) {
	l := newLiar(t)
	o, _ := watched(t, l)
	p := wargtest.NewPackage("local:other")
	l.add(p.LogID(), p.Next(wargtest.Bob(), wargtest.Init(wargtest.Bob())))
	if v := judged(t, o, false); v.Corrupt != 1 {
		t.Errorf("%+v", v)
	}
}

// TestMapRoot: a map that disagrees with the log is found though both are signed.
func TestMapRoot(t *testing.T) {
	l := newLiar(t)
	o, _ := watched(t, l)
	l.lie = func(path string, answer []byte) []byte {
		if path != "/v1/fetch/checkpoint" {
			return answer
		}
		var log vlog.Log
		for _, leaf := range l.leaves {
			log.Append(vlog.LeafHash(leaf.LogValue()))
		}
		return signed(warg.Checkpoint{LogLength: uint64(len(l.leaves)), LogRoot: log.Root(), MapRoot: vmap.Map{}.Root(), Timestamp: l.time})
	}
	if v := judged(t, o, false); v.Corrupt == 0 || v.Lost+v.Forks > 0 {
		t.Errorf("%+v", v)
	}
}

// TestDamaged: where files are damaged errors are answers, and denials are not.
func TestDamaged(t *testing.T) {
	l := newLiar(t)
	o, _ := watched(t, l)
	l.lie = gone("/content/")
	if v := judged(t, o, true); v.Bad() || v.Refused == 0 {
		t.Errorf("content that is gone: %+v", v)
	}
	l.lie = gone("/v1/fetch/logs")
	if v := judged(t, o, true); v.Lost == 0 {
		t.Errorf("logs that are denied: %+v", v)
	}
}
