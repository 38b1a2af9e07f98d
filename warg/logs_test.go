package warg_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// state is what the states of both kinds of log can do.
type state interface {
	Validate(warg.Envelope) error
	MarshalJSON() ([]byte, error)
	Head() (warg.RecordID, warg.Timestamp, bool)
}

// kind is a kind of log, as the known answers name it.
type kind struct {
	state    func() state
	recordID func([]byte) warg.RecordID
	sign     func(warg.PrivateKey, []byte) warg.Signature
	encode   func(*testing.T, frame, []inputEntry) []byte
	decode   func([]byte) (decoded, error)
}

// frame is a record without its entries.
type frame struct {
	prev    *warg.AnyHash
	version uint32
	time    warg.Timestamp
}

// decoded is a decoded record of either kind.
type decoded struct {
	frame
	entries int
	encoded []byte // canonical form
	record  any
}

func kindOf(t *testing.T, name string) kind {
	t.Helper()
	switch name {
	case "package":
		return kind{
			func() state { return new(pkglog.State) }, warg.PackageRecordID,
			warg.PrivateKey.SignPackageRecord, encodePackage, decodePackage,
		}
	case "operator":
		return kind{
			func() state { return new(oplog.State) }, warg.OperatorRecordID,
			warg.PrivateKey.SignOperatorRecord, encodeOperator, decodeOperator,
		}
	}
	t.Fatalf("unknown kind of log %q", name)
	return kind{}
}

func decodePackage(b []byte) (decoded, error) {
	r, err := pkglog.Decode(b)
	return decoded{frame{r.Prev, r.Version, r.Time}, len(r.Entries), r.Encode(), r}, err
}

func decodeOperator(b []byte) (decoded, error) {
	r, err := oplog.Decode(b)
	return decoded{frame{r.Prev, r.Version, r.Time}, len(r.Entries), r.Encode(), r}, err
}

// inputEntry is an entry as the scenarios write it: exactly one member is set.
type inputEntry struct {
	Init *struct{ Key string }
	Grant,
	Revoke *struct {
		Key, KeyID  string
		Permissions []string
	}
	Release        *struct{ Version, Content string }
	Yank           *struct{ Version string }
	Define, Import *struct{ Namespace, Registry string }
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func permissions[P fmt.Stringer](t *testing.T, names []string, all ...P) []P {
	t.Helper()
	list := []P{}
	for _, name := range names {
		i := slices.IndexFunc(all, func(p P) bool { return p.String() == name })
		if i < 0 {
			t.Fatalf("unknown permission %q", name)
		}
		list = append(list, all[i])
	}
	return list
}

func encodePackage(t *testing.T, f frame, entries []inputEntry) []byte {
	t.Helper()
	key, version, hash := must[warg.PublicKey](t), must[warg.Version](t), must[warg.AnyHash](t)
	perms := func(names []string) []pkglog.Permission {
		return permissions(t, names, pkglog.PermissionRelease, pkglog.PermissionYank)
	}
	r := pkglog.Record{Prev: f.prev, Version: f.version, Time: f.time}
	for _, e := range entries {
		switch {
		case e.Init != nil:
			r.Entries = append(r.Entries, pkglog.Init{Key: key(warg.ParsePublicKey(e.Init.Key))})
		case e.Grant != nil:
			r.Entries = append(r.Entries, pkglog.Grant{Key: key(warg.ParsePublicKey(e.Grant.Key)), Permissions: perms(e.Grant.Permissions)})
		case e.Revoke != nil:
			r.Entries = append(r.Entries, pkglog.Revoke{KeyID: warg.KeyID(e.Revoke.KeyID), Permissions: perms(e.Revoke.Permissions)})
		case e.Release != nil:
			r.Entries = append(r.Entries, pkglog.Release{
				Version: version(warg.ParseVersion(e.Release.Version)), Content: hash(warg.ParseAnyHash(e.Release.Content)),
			})
		case e.Yank != nil:
			r.Entries = append(r.Entries, pkglog.Yank{Version: version(warg.ParseVersion(e.Yank.Version))})
		default:
			t.Fatalf("unknown entry %+v", e)
		}
	}
	return r.Encode()
}

func encodeOperator(t *testing.T, f frame, entries []inputEntry) []byte {
	t.Helper()
	key := must[warg.PublicKey](t)
	perms := func(names []string) []oplog.Permission {
		return permissions(t, names, oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace)
	}
	r := oplog.Record{Prev: f.prev, Version: f.version, Time: f.time}
	for _, e := range entries {
		switch {
		case e.Init != nil:
			r.Entries = append(r.Entries, oplog.Init{Key: key(warg.ParsePublicKey(e.Init.Key))})
		case e.Grant != nil:
			r.Entries = append(r.Entries, oplog.Grant{Key: key(warg.ParsePublicKey(e.Grant.Key)), Permissions: perms(e.Grant.Permissions)})
		case e.Revoke != nil:
			r.Entries = append(r.Entries, oplog.Revoke{KeyID: warg.KeyID(e.Revoke.KeyID), Permissions: perms(e.Revoke.Permissions)})
		case e.Define != nil:
			r.Entries = append(r.Entries, oplog.DefineNamespace{Namespace: e.Define.Namespace})
		case e.Import != nil:
			r.Entries = append(r.Entries, oplog.ImportNamespace{Namespace: e.Import.Namespace, Registry: e.Import.Registry})
		default:
			t.Fatalf("unknown entry %+v", e)
		}
	}
	return r.Encode()
}

// answer is a record of a log, or of a scenario, as it should be.
type answer struct {
	ContentBytes, RecordID, KeyID, Signature, Envelope string
}

func (a answer) envelope(t *testing.T) warg.Envelope {
	t.Helper()
	return warg.Envelope{
		Content: must[[]byte](t)(hex.DecodeString(a.ContentBytes)), KeyID: warg.KeyID(a.KeyID),
		Signature: must[warg.Signature](t)(warg.ParseSignature(a.Signature)),
	}
}

type scenarioInput struct {
	Name, Kind string
	Records    []struct {
		Signer, Prev, SignWith string
		KeyID                  *string
		Version                uint32
		Secs                   int64
		Nanos                  int32
		Entries                []inputEntry
	}
}

type scenarioAnswer struct {
	Name, Kind, State string
	Records           []answer
	Error             *struct {
		Record int
		Error  string
	}
}

// TestVectorScenarios builds each record of each scenario, compares bytes, id and
// signature, and replays the log.
func TestVectorScenarios(t *testing.T) {
	inputs := warg.ReadTestdata[[]*scenarioInput](t, "scenarios.json")
	answers := warg.ReadGroup[[]*scenarioAnswer](t, "scenarios")
	if len(inputs) != len(answers) {
		t.Fatalf("%d inputs, %d answers", len(inputs), len(answers))
	}
	ran := 0
	for i, in := range inputs {
		if in == nil || answers[i] == nil {
			continue
		}
		ran++
		t.Run(in.Kind+" "+in.Name, func(t *testing.T) {
			if in.Name != answers[i].Name || in.Kind != answers[i].Kind {
				t.Fatalf("answer for %q", answers[i].Name)
			}
			s := kindOf(t, in.Kind).state()
			failed := replayScenario(t, s, *in, *answers[i])
			if failed != (answers[i].Error != nil) {
				t.Fatalf("failed: %v", failed)
			}
			if failed {
				return
			}
			if got := string(must[[]byte](t)(s.MarshalJSON())); got != answers[i].State {
				t.Errorf("state\n%s\nwant\n%s", got, answers[i].State)
			}
		})
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

// replayScenario reports whether a record was refused; it must be the right one
// for the right reason, and change nothing.
func replayScenario(t *testing.T, s state, in scenarioInput, want scenarioAnswer) (failed bool) {
	t.Helper()
	k := kindOf(t, in.Kind)
	keys := map[string]warg.PrivateKey{"alice": warg.MustKey(t, warg.AliceText), "bob": warg.MustKey(t, warg.BobText)}
	for i, r := range in.Records {
		if i >= len(want.Records) {
			t.Fatalf("record %d has no answer", i)
		}
		f := frame{version: r.Version, time: warg.Timestamp{Seconds: r.Secs, Nanos: r.Nanos}}
		switch head, _, ok := s.Head(); {
		case r.Prev == "auto" && ok:
			h := warg.Digest(head).AnyHash()
			f.prev = &h
		case r.Prev != "auto" && r.Prev != "none":
			h := must[warg.AnyHash](t)(warg.ParseAnyHash(r.Prev))
			f.prev = &h
		}
		signer := keys[r.Signer]
		env := warg.Envelope{Content: k.encode(t, f, r.Entries), KeyID: signer.Public().ID()}
		if r.KeyID != nil {
			env.KeyID = warg.KeyID(*r.KeyID)
		}
		if r.SignWith != "" {
			signer = keys[r.SignWith]
		}
		env.Signature = k.sign(signer, env.Content)

		got := answer{hex.EncodeToString(env.Content), k.recordID(env.Content).String(), "", env.Signature.String(), ""}
		if got != want.Records[i] {
			t.Fatalf("record %d is\n%+v\nwant\n%+v", i, got, want.Records[i])
		}
		before := string(must[[]byte](t)(s.MarshalJSON()))
		err := s.Validate(env)
		if err == nil {
			continue
		}
		var re *warg.RecordError
		if !errors.As(err, &re) {
			t.Fatalf("record %d: %v", i, err)
		}
		if want.Error == nil || want.Error.Record != i || want.Error.Error != re.Label {
			t.Fatalf("record %d: %s (%v), want %+v", i, re.Label, err, want.Error)
		}
		if after := string(must[[]byte](t)(s.MarshalJSON())); after != before {
			t.Errorf("record %d was refused and changed the state\n%s\nto\n%s", i, before, after)
		}
		return true
	}
	return false
}

// TestVectorLogs replays the reference implementation's own test logs.
func TestVectorLogs(t *testing.T) {
	type logCase struct {
		Kind, Name string
		Records    []answer
		State      json.RawMessage
	}
	cases := warg.ReadGroup[[]*logCase](t, "logs")
	ran := 0
	for _, c := range cases {
		if c == nil {
			continue
		}
		ran++
		t.Run(c.Kind+" "+c.Name, func(t *testing.T) {
			k := kindOf(t, c.Kind)
			s := k.state()
			for i, r := range c.Records {
				env := r.envelope(t)
				if got := k.recordID(env.Content).String(); got != r.RecordID {
					t.Errorf("record %d has id %s, want %s", i, got, r.RecordID)
				}
				if got := hex.EncodeToString(env.AppendProto(nil)); got != r.Envelope {
					t.Errorf("record %d: envelope is %s, want %s", i, got, r.Envelope)
				}
				again := must[warg.Envelope](t)(warg.ParseEnvelopeProto(must[[]byte](t)(hex.DecodeString(r.Envelope))))
				if !reflect.DeepEqual(again, env) {
					t.Errorf("record %d: envelope reads as %+v", i, again)
				}
				if d := must[decoded](t)(k.decode(env.Content)); hex.EncodeToString(d.encoded) != r.ContentBytes {
					t.Errorf("record %d: encodes again as %x", i, d.encoded)
				}
				if err := s.Validate(env); err != nil {
					t.Fatalf("record %d: %v", i, err)
				}
			}
			got := warg.DecodeTestdata[any](t, "state", must[[]byte](t)(s.MarshalJSON()))
			want := warg.DecodeTestdata[any](t, "state", c.State)
			sortPermissions(got)
			sortPermissions(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("state %v\nwant %v", got, want)
			}
		})
	}
	t.Logf("%d cases", ran)
	if ran == 0 {
		t.Error("no cases")
	}
}

// sortPermissions sorts the permissions in the JSON of a state, whose order means nothing.
func sortPermissions(state any) {
	perms, _ := state.(map[string]any)["permissions"].(map[string]any)
	for _, list := range perms {
		slices.SortFunc(list.([]any), func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	}
}

type decodeAnswer struct {
	Name, Err string
	Panic     bool
	OK        *struct {
		Prev     *string
		Version  uint32
		Time     string
		Entries  int
		Reencode string
		KeyID    string
	}
}

// TestVectorDecode tests what is accepted of records and envelopes.
func TestVectorDecode(t *testing.T) {
	inputs := warg.ReadTestdata[[]*struct{ Name, Kind, Hex string }](t, "decode.json")
	answers := warg.ReadGroup[[]*json.RawMessage](t, "decode")
	if len(inputs) != len(answers) {
		t.Fatalf("%d inputs, %d answers", len(inputs), len(answers))
	}
	ran := map[string]int{}
	for i, in := range inputs {
		if in == nil || answers[i] == nil {
			continue
		}
		ran[in.Kind]++
		t.Run(in.Kind+" "+in.Name, func(t *testing.T) {
			b := must[[]byte](t)(hex.DecodeString(in.Hex))
			switch in.Kind {
			case "package", "operator":
				checkDecode(t, kindOf(t, in.Kind), b, warg.DecodeTestdata[decodeAnswer](t, "answer", *answers[i]))
			case "envelope":
				checkDecodeEnvelope(t, b, warg.DecodeTestdata[decodeAnswer](t, "answer", *answers[i]))
			case "mapbundle", "logbundle": // the tests of vmap and vlog read these
			default:
				t.Fatalf("unknown kind %q", in.Kind)
			}
		})
	}
	t.Logf("cases: %v", ran)
	if ran["package"] == 0 || ran["operator"] == 0 || ran["envelope"] == 0 {
		t.Error("no cases")
	}
}

func checkDecode(t *testing.T, k kind, b []byte, want decodeAnswer) {
	t.Helper()
	got, err := k.decode(b)
	if (err == nil) != (want.OK != nil) || (want.OK == nil) == (want.Err == "") {
		t.Fatalf("got %v, want %+v", err, want)
	}
	if err != nil {
		return
	}
	var prev *string
	if got.prev != nil {
		s := got.prev.String()
		prev = &s
	}
	if !reflect.DeepEqual(prev, want.OK.Prev) || got.version != want.OK.Version || decimal(got.time) != want.OK.Time ||
		got.entries != want.OK.Entries || hex.EncodeToString(got.encoded) != want.OK.Reencode {
		t.Errorf("got %+v, time %s, encoded %x\nwant %+v", got, decimal(got.time), got.encoded, want.OK)
	}
	if again, err := k.decode(got.encoded); err != nil || !reflect.DeepEqual(again, got) {
		t.Errorf("decodes again as %+v, %v", again, err)
	}
}

// decimal writes a time as a decimal number of seconds with its sign.
func decimal(t warg.Timestamp) string {
	if t.Seconds >= 0 {
		return fmt.Sprintf("+%d.%09d", t.Seconds, t.Nanos)
	}
	seconds, nanos := uint64(-(t.Seconds)), t.Nanos
	if nanos > 0 {
		seconds, nanos = seconds-1, 1_000_000_000-nanos
	}
	return fmt.Sprintf("-%d.%09d", seconds, nanos)
}

func checkDecodeEnvelope(t *testing.T, b []byte, want decodeAnswer) {
	t.Helper()
	env, err := warg.ParseEnvelopeProto(b)
	if err == nil {
		_, err = pkglog.Decode(env.Content)
	}
	if (err == nil) != (want.OK != nil) || (want.OK == nil) == (want.Err == "") {
		t.Fatalf("got %v, want %+v", err, want)
	}
	if err != nil {
		return
	}
	if got := hex.EncodeToString(env.AppendProto(nil)); got != want.OK.Reencode || string(env.KeyID) != want.OK.KeyID {
		t.Errorf("key id %q, encodes again as %s, want %+v", env.KeyID, got, want.OK)
	}
}
