package pkglog_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

func key(t testing.TB, text string) warg.PrivateKey {
	t.Helper()
	k, err := warg.ParsePrivateKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func alice(t testing.TB) warg.PrivateKey {
	return key(t, "ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
}

func bob(t testing.TB) warg.PrivateKey {
	return key(t, "ecdsa-p256:2CV1EpLaSYEn4In4OAEDAj5O4Hzu8AFAxgHXuG310Ew=")
}

func version(t testing.TB, s string) warg.Version {
	t.Helper()
	v, err := warg.ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// next returns the record that follows the head of s, at the head's time.
func next(s *pkglog.State, entries ...pkglog.Entry) pkglog.Record {
	r := pkglog.Record{Time: warg.Timestamp{Seconds: 1700000000}, Entries: entries}
	if head, at, ok := s.Head(); ok {
		prev := warg.Digest(head).AnyHash()
		r.Prev, r.Time = &prev, at
	}
	return r
}

// add applies a record and fails the test if it is refused.
func add(t testing.TB, s *pkglog.State, signer warg.PrivateKey, entries ...pkglog.Entry) {
	t.Helper()
	if err := s.Validate(next(s, entries...).Sign(signer)); err != nil {
		t.Fatal(err)
	}
}

func content() warg.AnyHash { return warg.Sum([]byte("content")).AnyHash() }

// started is a log of alice's with 1.0.0 released and 0.9.0 yanked.
func started(t testing.TB) *pkglog.State {
	t.Helper()
	s := new(pkglog.State)
	old := version(t, "0.9.0")
	add(t, s, alice(t), pkglog.Init{Key: alice(t).Public()}, pkglog.Release{Version: old, Content: content()}, pkglog.Yank{Version: old})
	add(t, s, alice(t), pkglog.Release{Version: version(t, "1.0.0"), Content: content()})
	return s
}

func encoded(t testing.TB, s *pkglog.State) string {
	t.Helper()
	b, err := s.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRefusals compares label and text of every error of a package log, and
// that nothing is left of a refused record.
func TestRefusals(t *testing.T) {
	a, b := alice(t), bob(t)
	aID, bID := a.Public().ID(), b.Public().ID()
	initA := pkglog.Init{Key: a.Public()}
	release := func(v string) pkglog.Entry { return pkglog.Release{Version: version(t, v), Content: content()} }
	yank := func(v string) pkglog.Entry { return pkglog.Yank{Version: version(t, v)} }
	grantB := pkglog.Grant{Key: b.Public(), Permissions: []pkglog.Permission{pkglog.PermissionRelease}}
	signed := func(k warg.PrivateKey, r pkglog.Record) warg.Envelope { return r.Sign(k) }
	first := func(entries ...pkglog.Entry) pkglog.Record { return next(new(pkglog.State), entries...) }
	with := func(r pkglog.Record, f func(*pkglog.Record)) pkglog.Record {
		f(&r)
		return r
	}
	log := started(t)
	prev := func(d warg.Digest) *warg.AnyHash {
		h := d.AnyHash()
		return &h
	}
	forged := next(log, release("2.0.0")).Sign(a)
	forged.Signature = b.SignPackageRecord(forged.Content)

	for name, c := range map[string]struct {
		state       *pkglog.State
		env         warg.Envelope
		label, text string
	}{
		"prev on first": {
			new(pkglog.State), signed(a, with(first(initA), func(r *pkglog.Record) { r.Prev = prev(warg.Sum(nil)) })),
			"PreviousHashOnFirstRecord", "the first record contained a previous hash value",
		},
		"no prev": {
			log, signed(a, with(next(log), func(r *pkglog.Record) { r.Prev = nil })),
			"NoPreviousHashAfterInit", "non-initial record contained no previous hash",
		},
		"other prev": {
			log, signed(a, with(next(log), func(r *pkglog.Record) { r.Prev = prev(warg.Sum(nil)) })),
			"RecordHashDoesNotMatch", "previous record hash does not match",
		},
		"version": {
			log, signed(a, with(next(log), func(r *pkglog.Record) { r.Version = 7 })),
			"ProtocolVersionNotAllowed", "protocol version 7 not allowed",
		},
		"time": {
			log, signed(a, with(next(log), func(r *pkglog.Record) { r.Time.Seconds-- })),
			"TimestampLowerThanPrevious", "record has lower timestamp than previous",
		},
		"release without permission": {
			log, signed(b, next(log, release("2.0.0"))),
			"UnauthorizedAction", fmt.Sprintf("the key with ID %s did not have required permission release", bID),
		},
		"yank without permission": {
			log, signed(b, next(log, yank("1.0.0"))),
			"UnauthorizedAction", fmt.Sprintf("the key with ID %s did not have required permission yank", bID),
		},
		"release before init": {
			new(pkglog.State), signed(a, first(release("1.0.0"))),
			"UnauthorizedAction", fmt.Sprintf("the key with ID %s did not have required permission release", aID),
		},
		"grant of what the signer lacks": {
			log, signed(b, next(log, grantB)),
			"UnauthorizedAction", fmt.Sprintf("the key with ID %s did not have required permission release", bID),
		},
		"second init": {
			log, signed(a, next(log, initA)),
			"InitialEntryAfterBeginning", `a second "init" entry was found`,
		},
		"init with another's key": {
			new(pkglog.State), signed(b, first(initA)),
			"KeyIDNotRecognized", "the Key ID used to sign this envelope is not known to this package log",
		},
		"grant before init": {
			new(pkglog.State), signed(a, first(grantB, initA)),
			"FirstEntryIsNotInit", `the first entry of the log is not "init"`,
		},
		"revoke before init": {
			new(pkglog.State), signed(a, first(pkglog.Revoke{KeyID: aID})),
			"FirstEntryIsNotInit", `the first entry of the log is not "init"`,
		},
		"revoke of what is not held": {
			log, signed(a, next(log, grantB, pkglog.Revoke{KeyID: bID, Permissions: []pkglog.Permission{pkglog.PermissionRelease, pkglog.PermissionRelease}})),
			"PermissionNotFoundToRevoke", fmt.Sprintf("attempted to remove permission release from key %s which did not have it", bID),
		},
		"revoke from an unknown key": {
			log, signed(a, next(log, pkglog.Revoke{KeyID: "x", Permissions: []pkglog.Permission{pkglog.PermissionYank}})),
			"PermissionNotFoundToRevoke", "attempted to remove permission yank from key x which did not have it",
		},
		"release of released": {
			log, signed(a, next(log, release("1.0.0"))),
			"ReleaseOfReleased", "an entry attempted to release version 1.0.0 which is already released",
		},
		"release of yanked": {
			log, signed(a, next(log, release("0.9.0"))),
			"ReleaseOfReleased", "an entry attempted to release version 0.9.0 which is already released",
		},
		"yank of unreleased": {
			log, signed(a, next(log, yank("1.0.0"), yank("1.0.0+b"))),
			"YankOfUnreleased", "an entry attempted to yank version 1.0.0+b which had not yet been released",
		},
		"yank of yanked": {
			log, signed(a, next(log, yank("1.0.0"), yank("1.0.0"))),
			"YankOfYanked", "an entry attempted to yank version 1.0.0 which is already yanked",
		},
		"empty first record": {
			new(pkglog.State), signed(a, first()),
			"InitialRecordDoesNotInit", `the initial record is empty and does not "init"`,
		},
		"unknown signer": {
			log, signed(b, next(log)),
			"KeyIDNotRecognized", "the Key ID used to sign this envelope is not known to this package log",
		},
		"bad signature": {log, forged, "SignatureError", "unable to verify signature"},
	} {
		t.Run(name, func(t *testing.T) {
			before := encoded(t, c.state)
			err := c.state.Validate(c.env)
			var re *warg.RecordError
			if !errors.As(err, &re) || re.Label != c.label || err.Error() != c.text {
				t.Errorf("got %v, want %s: %s", err, c.label, c.text)
			}
			if after := encoded(t, c.state); after != before {
				t.Errorf("the state changed from\n%s\nto\n%s", before, after)
			}
		})
	}
}

// TestUndecodable: a record that does not decode is no RecordError.
func TestUndecodable(t *testing.T) {
	var s pkglog.State
	err := s.Validate(warg.Envelope{Content: []byte{0xff}})
	var re *warg.RecordError
	if err == nil || errors.As(err, &re) {
		t.Errorf("got %v", err)
	}
	if encoded(t, &s) != "{}" {
		t.Errorf("state %s", encoded(t, &s))
	}
}

// TestEmptyGrant: the loophole of the protocol that a registry has to close.
func TestEmptyGrant(t *testing.T) {
	s := started(t)
	add(t, s, bob(t), pkglog.Grant{Key: bob(t).Public()})
	if _, ok := s.Key(bob(t).Public().ID()); !ok || len(s.Permissions(bob(t).Public().ID())) != 0 {
		t.Error("the stranger's key is not known, or may do something")
	}
}

func TestApplySignatureVerified(t *testing.T) {
	s := started(t)
	rec := next(s, pkglog.Release{Version: version(t, "2.0.0"), Content: content()})
	env := rec.Sign(alice(t))
	env.Signature = bob(t).SignPackageRecord(env.Content)
	if err := s.Clone().Apply(rec, env, pkglog.CheckSignature); err == nil {
		t.Error("a bad signature was accepted")
	}
	if err := s.Apply(rec, env, pkglog.SignatureVerified); err != nil {
		t.Errorf("the signature was checked: %v", err)
	}
	if head, _, _ := s.Head(); head != env.PackageRecordID() {
		t.Errorf("head is %s", head)
	}
}

func TestView(t *testing.T) {
	s := started(t)
	id := alice(t).Public().ID()
	if k, ok := s.Key(id); !ok || k.ID() != id || len(s.Keys()) != 1 {
		t.Error("alice's key is not known")
	}
	if !s.Can(id, pkglog.PermissionYank) || s.Can("nobody", pkglog.PermissionYank) || s.Can(id, 0) {
		t.Error("Can is wrong")
	}
	if got := s.Permissions(id); !slices.Equal(got, []pkglog.Permission{pkglog.PermissionRelease, pkglog.PermissionYank}) {
		t.Errorf("alice may %v", got)
	}
	yanked, ok := s.Release(version(t, "0.9.0"))
	if !ok || !yanked.Yanked || yanked.YankedBy != id || !yanked.Content.IsZero() || yanked.RecordID == (warg.RecordID{}) {
		t.Errorf("yanked release is %+v", yanked)
	}
	if _, ok := s.Release(version(t, "3.0.0")); ok {
		t.Error("an unknown version is released")
	}
	if all := s.Releases(); len(all) != 2 || all[0] != yanked || all[1].Version.String() != "1.0.0" || all[1].Content != content() {
		t.Errorf("releases %+v", all)
	}
}

// TestClone: neither of two states changes with the other.
func TestClone(t *testing.T) {
	s := started(t)
	before := encoded(t, s)
	c := s.Clone()
	if encoded(t, c) != before {
		t.Fatal("the clone differs")
	}
	add(t, c, alice(t), pkglog.Yank{Version: version(t, "1.0.0")}, pkglog.Grant{Key: bob(t).Public(), Permissions: []pkglog.Permission{pkglog.PermissionYank}})
	if encoded(t, s) != before {
		t.Error("the original changed with the clone")
	}
	cloned := encoded(t, c)
	add(t, s, alice(t), pkglog.Revoke{KeyID: alice(t).Public().ID(), Permissions: []pkglog.Permission{pkglog.PermissionYank}})
	if encoded(t, c) != cloned {
		t.Error("the clone changed with the original")
	}
}

func TestSelect(t *testing.T) {
	s := new(pkglog.State)
	entries := []pkglog.Entry{pkglog.Init{Key: alice(t).Public()}}
	for _, v := range []string{"1.1.0", "1.0.0", "2.0.0", "1.2.0", "2.1.0-rc.1", "1.1.0+b", "0.1.0"} {
		entries = append(entries, pkglog.Release{Version: version(t, v), Content: content()})
	}
	add(t, s, alice(t), append(entries, pkglog.Yank{Version: version(t, "1.2.0")})...)
	for req, want := range map[string]string{
		"*": "2.0.0", "1": "1.1.0+b", "^1.0": "1.1.0+b", "=1.0.0": "1.0.0", "<1": "0.1.0", ">=2.1.0-a": "2.1.0-rc.1",
		"=1.2.0": "", "3": "", "1, <1.1": "1.0.0",
	} {
		r, err := warg.ParseRequirement(req)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := pkglog.Select(s.Releases(), r)
		if got.Version.String() != want || ok != (want != "") {
			t.Errorf("%s selects %q, want %q", req, got.Version, want)
		}
	}
}

// TestMarshalTimes: the form cannot say a time before 1970.
func TestMarshalTimes(t *testing.T) {
	var s pkglog.State
	rec := pkglog.Record{Time: warg.TimestampOf(time.Unix(-1, 0)), Entries: []pkglog.Entry{pkglog.Init{Key: alice(t).Public()}}}
	if err := s.Validate(rec.Sign(alice(t))); err != nil {
		t.Fatal(err)
	}
	if b, err := s.MarshalJSON(); err == nil {
		t.Errorf("got %s", b)
	}
	rec = next(&s)
	rec.Time = warg.Timestamp{Seconds: math.MaxInt64, Nanos: 999_999_999}
	if err := s.Validate(rec.Sign(alice(t))); err != nil {
		t.Errorf("the greatest time is refused: %v", err)
	}
}

// TestRecordCost: what a record costs does not grow with the log.
func TestRecordCost(t *testing.T) {
	cost := func(releases int) uint64 {
		s := new(pkglog.State)
		entries := []pkglog.Entry{pkglog.Init{Key: alice(t).Public()}}
		for i := range releases {
			entries = append(entries, pkglog.Release{Version: version(t, fmt.Sprintf("1.0.%d", i)), Content: content()})
		}
		add(t, s, alice(t), entries...)
		rec := next(s, pkglog.Yank{Version: version(t, "1.0.0")}, pkglog.Yank{Version: version(t, "1.0.0")})
		env := rec.Sign(alice(t))
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if s.Apply(rec, env, pkglog.SignatureVerified) == nil {
				t.Fatal("accepted a record that yanks twice")
			}
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / runs
	}
	if short, long := cost(10), cost(5000); long > 2*short+1000 {
		t.Errorf("a record allocates %d bytes in a short log and %d in a long one", short, long)
	}
}

func TestPermissionString(t *testing.T) {
	if pkglog.PermissionRelease.String() != "release" || pkglog.PermissionYank.String() != "yank" || pkglog.Permission(9).String() != "permission 9" {
		t.Error("permissions print wrong")
	}
}

func BenchmarkValidate(b *testing.B) {
	s := started(b)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		env := next(s, pkglog.Release{Version: version(b, fmt.Sprintf("2.0.%d", i)), Content: content()}).Sign(alice(b))
		b.StartTimer()
		if err := s.Validate(env); err != nil {
			b.Fatal(err)
		}
	}
}
