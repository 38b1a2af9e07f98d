package warg_test

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"pgregory.net/rapid"
)

// model is the simplest thing that follows the rules of both kinds of log: plain
// maps, copied whole before each record.
type model struct {
	operator    bool
	initialized bool
	head        string // record id
	time        warg.Timestamp
	keys        map[string]bool            // by key id
	permissions map[string]map[string]bool // by key id and name
	releases    map[string]string          // content, or "yanked"
	namespaces  map[string]string          // registry, or "defined"
}

func (m model) clone() model {
	m.keys, m.releases, m.namespaces = maps.Clone(m.keys), maps.Clone(m.releases), maps.Clone(m.namespaces)
	permissions := map[string]map[string]bool{}
	for id, set := range m.permissions {
		permissions[id] = maps.Clone(set)
	}
	m.permissions = permissions
	return m
}

// fault is the label of a rule that a record breaks.
type fault string

func check(ok bool, label fault) {
	if !ok {
		panic(label)
	}
}

// step is a record of a schedule.
type step struct {
	frame
	prev     string // text, or ""
	signer   string // key id
	signedOK bool
	entries  []inputEntry
	recordID string
}

// apply returns the model after a record, or the label of the rule it breaks.
func (m model) apply(s step) (next model, broken fault) {
	next = m.clone()
	defer func() {
		if f, ok := recover().(fault); ok {
			next, broken = m, f
		}
	}()
	check(m.head != "" || s.prev == "", warg.LabelPreviousHashOnFirstRecord)
	check(m.head == "" || s.prev != "", warg.LabelNoPreviousHashAfterInit)
	check(m.head == s.prev, warg.LabelRecordHashDoesNotMatch)
	check(s.version == 0, warg.LabelProtocolVersionNotAllowed)
	check(m.head == "" || s.time.Compare(m.time) >= 0, warg.LabelTimestampLowerThanPrevious)
	for _, e := range s.entries {
		next.entry(e, s.signer)
	}
	check(next.initialized, warg.LabelInitialRecordDoesNotInit)
	check(next.keys[s.signer], warg.LabelKeyIDNotRecognized)
	check(s.signedOK, warg.LabelSignatureError)
	next.head, next.time = s.recordID, s.time
	return next, ""
}

func keyID(text string) string {
	k, err := warg.ParsePublicKey(text)
	if err != nil {
		panic(err)
	}
	return string(k.ID())
}

func (m *model) may(signer string, permissions ...string) {
	for _, p := range permissions {
		check(m.permissions[signer][p], warg.LabelUnauthorizedAction)
	}
}

func (m *model) grant(id string, permissions ...string) {
	if m.permissions[id] == nil {
		m.permissions[id] = map[string]bool{}
	}
	for _, p := range permissions {
		m.permissions[id][p] = true
	}
}

func (m *model) entry(e inputEntry, signer string) {
	switch {
	case m.operator && (e.Grant != nil || e.Revoke != nil):
		m.may(signer, "commit")
	case e.Release != nil:
		m.may(signer, "release")
	case e.Yank != nil:
		m.may(signer, "yank")
	case e.Define != nil:
		m.may(signer, "defineNamespace")
	case e.Import != nil:
		m.may(signer, "importNamespace")
	}
	check(m.initialized || e.Init != nil, warg.LabelFirstEntryIsNotInit)
	switch {
	case e.Init != nil:
		check(!m.initialized, warg.LabelInitialEntryAfterBeginning)
		id := keyID(e.Init.Key)
		check(m.operator || id == signer, warg.LabelKeyIDNotRecognized)
		m.initialized, m.keys[id] = true, true
		if m.operator {
			m.grant(signer, "commit", "defineNamespace", "importNamespace")
		} else {
			m.grant(signer, "release", "yank")
		}
	case e.Grant != nil:
		m.may(signer, e.Grant.Permissions...)
		id := keyID(e.Grant.Key)
		m.keys[id] = true
		m.grant(id, e.Grant.Permissions...)
	case e.Revoke != nil:
		m.may(signer, e.Revoke.Permissions...)
		for _, p := range e.Revoke.Permissions {
			check(m.permissions[e.Revoke.KeyID][p], warg.LabelPermissionNotFoundToRevoke)
			delete(m.permissions[e.Revoke.KeyID], p)
		}
	case e.Release != nil:
		check(m.releases[e.Release.Version] == "", warg.LabelReleaseOfReleased)
		m.releases[e.Release.Version] = e.Release.Content
	case e.Yank != nil:
		check(m.releases[e.Yank.Version] != "", warg.LabelYankOfUnreleased)
		check(m.releases[e.Yank.Version] != "yanked", warg.LabelYankOfYanked)
		m.releases[e.Yank.Version] = "yanked"
	case e.Define != nil:
		m.namespace(e.Define.Namespace, "defined")
	case e.Import != nil:
		m.namespace(e.Import.Namespace, e.Import.Registry)
	}
}

func (m *model) namespace(name, registry string) {
	check(!strings.Contains(name, "_"), warg.LabelInvalidNamespace) // the only invalid one drawn
	check(m.namespaces[name] == "", warg.LabelNamespaceAlreadyDefined)
	m.namespaces[name] = registry
}

// stateJSON is the JSON of a state, as far as the model knows it.
type stateJSON struct {
	Head struct {
		Digest string
	}
	Permissions map[string][]string
	Keys        map[string]string
	Releases    map[string]struct {
		State struct{ Status, Content string }
	}
	Namespaces map[string]struct{ State any }
}

// check compares a state with the model.
func (m model) check(t *rapid.T, s state) {
	b, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var got stateJSON
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	seen := model{
		operator: m.operator, initialized: m.initialized, time: m.time, head: got.Head.Digest,
		keys: map[string]bool{}, permissions: map[string]map[string]bool{},
		releases: map[string]string{}, namespaces: map[string]string{},
	}
	for id := range got.Keys {
		seen.keys[id] = true
	}
	for id, list := range got.Permissions {
		seen.grant(id, list...)
	}
	for v, r := range got.Releases {
		seen.releases[v] = r.State.Content
		if r.State.Status == "yanked" {
			seen.releases[v] = "yanked"
		}
	}
	for name, n := range got.Namespaces {
		seen.namespaces[name] = "defined"
		if imported, ok := n.State.(map[string]any); ok {
			seen.namespaces[name] = imported["imported"].(map[string]any)["registry"].(string)
		}
	}
	if !reflect.DeepEqual(seen, m) {
		t.Fatalf("state %s\nwant %+v", b, m)
	}
}

// actors are the keys of the schedules.
func actors(t *testing.T) []warg.PrivateKey {
	t.Helper()
	return []warg.PrivateKey{
		warg.MustKey(t, warg.AliceText), warg.MustKey(t, warg.BobText),
		warg.MustKey(t, "ecdsa-p256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="),
	}
}

// drawEntry draws an entry, of which most fit and some do not.
func drawEntry(t *rapid.T, operator bool, keys []warg.PrivateKey) (e inputEntry) {
	public := rapid.SampledFrom(keys).Draw(t, "key").Public()
	all := []string{"release", "yank"}
	kinds := []string{"grant", "grant", "revoke", "release", "release", "yank"}
	if operator {
		all = []string{"commit", "defineNamespace", "importNamespace"}
		kinds = []string{"grant", "grant", "revoke", "define", "import"}
	}
	if rarely(t, "second init") {
		kinds = []string{"init"}
	}
	permissions := rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "permissions")
	subject := &struct {
		Key, KeyID  string
		Permissions []string
	}{public.String(), string(public.ID()), permissions}
	version := rapid.SampledFrom([]string{"1.0.0", "1.0.0+a", "2.0.0-rc.1"}).Draw(t, "version")
	namespace := &struct{ Namespace, Registry string }{
		rapid.SampledFrom([]string{"a", "b-c", "d_e", "f"}).Draw(t, "namespace"), "registry.example",
	}
	switch rapid.SampledFrom(kinds).Draw(t, "entry") {
	case "init":
		e.Init = &struct{ Key string }{subject.Key}
	case "grant":
		e.Grant = subject
	case "revoke":
		e.Revoke = subject
	case "release":
		e.Release = &struct{ Version, Content string }{version, "sha256:" + strings.Repeat("ab", 32)}
	case "yank":
		e.Yank = &struct{ Version string }{version}
	case "define":
		e.Define = namespace
	case "import":
		e.Import = namespace
	}
	return e
}

// rarely is true in about one of 16 draws.
func rarely(t *rapid.T, what string) bool { return rapid.IntRange(0, 15).Draw(t, what) == 7 }

// drawStep draws a record that may follow m, and with it its envelope.
func drawStep(t *rapid.T, tt *testing.T, k kind, m model, keys []warg.PrivateKey) (step, warg.Envelope) {
	s := step{prev: m.head, signedOK: true}
	signer := rapid.SampledFrom(keys).Draw(t, "signer")
	s.signer = string(signer.Public().ID())
	if !m.initialized && !rarely(t, "no init") {
		s.entries = []inputEntry{{Init: &struct{ Key string }{signer.Public().String()}}}
	}
	for range rapid.IntRange(0, 2).Draw(t, "entries") {
		s.entries = append(s.entries, drawEntry(t, m.operator, keys))
	}
	s.time = warg.Timestamp{Seconds: m.time.Seconds + int64(rapid.IntRange(0, 2).Draw(t, "seconds")), Nanos: m.time.Nanos}
	if rarely(t, "other nanos") {
		s.time.Nanos = int32(rapid.IntRange(0, 9).Draw(t, "nanos"))
	}
	if rarely(t, "bad version") {
		s.version = 1
	}
	if rarely(t, "bad prev") {
		s.prev = rapid.SampledFrom([]string{"", "sha256:00", "sha256:" + strings.Repeat("00", 32)}).Draw(t, "prev")
	}
	if s.prev != "" {
		h := must[warg.AnyHash](tt)(warg.ParseAnyHash(s.prev))
		s.frame.prev = &h
	}
	env := warg.Envelope{Content: k.encode(tt, s.frame, s.entries), KeyID: warg.KeyID(s.signer)}
	if rarely(t, "bad signature") {
		i := slices.Index(keys, signer)
		signer, s.signedOK = keys[(i+1)%len(keys)], false
	}
	env.Signature = k.sign(signer, env.Content)
	s.recordID = k.recordID(env.Content).String()
	return s, env
}

// TestLogModel replays random schedules of records and compares each outcome, and
// the whole state after it, with the model.
func TestLogModel(t *testing.T) {
	for _, name := range []string{"package", "operator"} {
		t.Run(name, func(t *testing.T) {
			keys, outcomes := actors(t), map[fault]int{}
			rapid.Check(t, func(rt *rapid.T) {
				k := kindOf(t, name)
				s := k.state()
				m := model{operator: name == "operator"}.clone()
				m.keys, m.releases, m.namespaces = map[string]bool{}, map[string]string{}, map[string]string{}
				for range rapid.IntRange(1, 30).Draw(rt, "records") {
					rec, env := drawStep(rt, t, k, m, keys)
					next, want := m.apply(rec)
					err := s.Validate(env)
					var re *warg.RecordError
					if (err == nil) != (want == "") || err != nil && (!errors.As(err, &re) || re.Label != string(want)) {
						rt.Fatalf("record %+v: got %v, want %q", rec, err, want)
					}
					outcomes[want]++
					m = next
					m.check(rt, s)
				}
			})
			t.Log(outcomes)
			if outcomes[""] == 0 || len(outcomes) < 8 {
				t.Errorf("the schedules are dull: %v", outcomes)
			}
		})
	}
}
