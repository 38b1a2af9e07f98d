package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// attack is something that an upstream, or somebody on the way, does to a replica
// that has verified the first three records of a registry and not yet fetched any
// package log.
type attack struct {
	name  string
	class Class
	setUp func(w *world)       // begins the attack
	try   func(w *world) error // nil = refresh
	final bool                 // it leads into quarantine
	end   func(w *world)       // nil = the transport becomes honest again
}

// resigned returns a checkpoint that says something else, signed by a key.
func resigned(v warg.View, key warg.PrivateKey, change func(*warg.Checkpoint)) warg.View {
	change(&v.Checkpoint)
	v.Signed = v.Checkpoint.Sign(key)
	return v
}

func checkpointAttack(name string, class Class, change func(v warg.View) warg.View) attack {
	return attack{name: name, class: class, setUp: func(w *world) {
		w.publish("test:c", "1.0.0")
		w.tap.checkpoint = change
	}}
}

func fetchA(w *world) error {
	_, err := w.fetch("test:a")
	return err
}

func nameA(w *world) error {
	_, err := w.replica.Names(w.t.Context(), []warg.LogID{wargtest.Name("test:a").LogID()})
	return err
}

func recordAttack(name string, class Class, change func(records []warg.Record) []warg.Record) attack {
	return attack{name: name, class: class, try: fetchA, setUp: func(w *world) {
		w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
			for i := range page.Packages {
				page.Packages[i].Records = change(slices.Clone(page.Packages[i].Records))
			}
		}
	}}
}

func operatorAttack(name string, class Class, change func(records []warg.Record) []warg.Record) attack {
	return attack{name: name, class: class, setUp: func(w *world) {
		err := w.up.Operate(wargtest.Alice(), oplog.DefineNamespace{Namespace: "more"})
		if err != nil {
			w.t.Fatal(err)
		}
		w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
			page.Operator = change(slices.Clone(page.Operator))
		}
	}}
}

func ledgerAttack(name string, class Class, change func(start uint64, page []byte) []byte) attack {
	return attack{name: name, class: class, setUp: func(w *world) {
		w.publish("test:c", "1.0.0")
		w.publish("test:c", "1.1.0")
		w.tap.ledger = change
	}}
}

func contentAttack(name string, class Class, change func([]byte) []byte) attack {
	return attack{
		name: name, class: class, setUp: func(w *world) { w.tap.content = change },
		try: func(w *world) error {
			_, err := w.replica.Open(w.t.Context(), warg.Sum(wargtest.Component("test:a 1.0.0")))
			return err
		},
	}
}

// forked makes upstream go on as a clone that differs from length on, with as many
// records as given.
func forked(length, more int) func(w *world) {
	return func(w *world) {
		fork := wargtest.NewMemory(wargtest.Options{Domain: "up.example", Namespaces: []string{"test"}})
		pkgs := map[string]*wargtest.Package{}
		for i := 1; i < length; i++ {
			publishTo(w.t, fork, pkgs, "test:"+string(rune('a'+i-1)), "1.0.0")
		}
		for i := range more {
			publishTo(w.t, fork, pkgs, "test:evil", fmt.Sprintf("6.6.%d", i))
		}
		w.tap.Transport = Adapt(fork)
	}
}

func flip(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

func attacks() []attack {
	alice, eve := wargtest.Alice(), wargtest.Stranger("eve")
	farFuture := func(c *warg.Checkpoint) { c.Timestamp += 400_000 }
	return []attack{
		checkpointAttack("checkpoint signed by a stranger", ClassKey, func(v warg.View) warg.View {
			return resigned(v, eve, func(*warg.Checkpoint) {})
		}),
		checkpointAttack("checkpoint with somebody else's signature under the right key id", ClassSignature, func(v warg.View) warg.View {
			other := v.Checkpoint.Sign(eve)
			v.Signed = warg.NewSignedCheckpoint(v.Checkpoint.Claims(), alice.Public().ID(), other.Signature())
			return v
		}),
		checkpointAttack("checkpoint with the signature of another one", ClassSignature, func(v warg.View) warg.View {
			claims := v.Checkpoint.Claims()
			claims.Timestamp++
			v.Signed = warg.NewSignedCheckpoint(claims, v.Signed.KeyID(), v.Signed.Signature())
			return v
		}),
		checkpointAttack("checkpoint of no length", ClassClaims, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.LogLength = 0 })
		}),
		checkpointAttack("checkpoint longer than the protocol allows", ClassClaims, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.LogLength = 1<<63 + 1 })
		}),
		checkpointAttack("checkpoint longer than we replicate", ClassEndless, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.LogLength = DefaultMaxLength + 1 })
		}),
		checkpointAttack("checkpoint of a length that upstream does not know", ClassAbsence, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.LogLength = 1000 })
		}),
		checkpointAttack("checkpoint from the future", ClassClaims, func(v warg.View) warg.View { return resigned(v, alice, farFuture) }),
		checkpointAttack("checkpoint with a root of two bytes", ClassClaims, func(v warg.View) warg.View {
			short, err := warg.ParseAnyHash("sha256:abcd")
			if err != nil {
				panic(err)
			}
			claims := v.Checkpoint.Claims()
			claims.MapRoot = short
			v.Signed = warg.NewSignedCheckpoint(claims, v.Signed.KeyID(), v.Signed.Signature())
			return v
		}),
		checkpointAttack("log root of nothing", ClassRoots, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.LogRoot = warg.Sum([]byte("x")) })
		}),
		checkpointAttack("map root of nothing", ClassRoots, func(v warg.View) warg.View {
			return resigned(v, alice, func(c *warg.Checkpoint) { c.MapRoot = warg.Sum([]byte("x")) })
		}),
		{name: "map root of the checkpoint before", class: ClassRoots, setUp: func(w *world) {
			old := w.replica.view.Load().cp.MapRoot
			w.publish("test:c", "1.0.0")
			w.tap.checkpoint = func(v warg.View) warg.View {
				return resigned(v, alice, func(c *warg.Checkpoint) { c.MapRoot = old })
			}
		}},
		{name: "key that was revoked signs", class: ClassKey, setUp: func(w *world) {
			next := wargtest.Stranger("next")
			if err := w.up.Operate(alice, oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
				w.t.Fatal(err)
			}
			if err := w.up.Operate(next, oplog.Revoke{KeyID: alice.Public().ID(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
				w.t.Fatal(err)
			}
			w.up.Resign() // still with Alice's key
		}, end: func(w *world) {
			w.up.UseKey(wargtest.Stranger("next"))
			w.up.Resign()
		}},
		{name: "key that may only define namespaces signs", class: ClassKey, setUp: func(w *world) {
			clerk := wargtest.Stranger("clerk")
			if err := w.up.Operate(alice, oplog.Grant{Key: clerk.Public(), Permissions: []oplog.Permission{oplog.PermissionDefineNamespace}}); err != nil {
				w.t.Fatal(err)
			}
			w.up.UseKey(clerk)
			w.up.Resign()
		}, end: func(w *world) {
			w.up.UseKey(alice)
			w.up.Resign()
		}},
		{name: "key that is granted later signs an earlier length", class: ClassKey, setUp: func(w *world) {
			next := wargtest.Stranger("next")
			w.publish("test:c", "1.0.0")
			v, _ := w.up.Checkpoint(w.t.Context())
			if err := w.up.Operate(alice, oplog.Grant{Key: next.Public(), Permissions: []oplog.Permission{oplog.PermissionCommit}}); err != nil {
				w.t.Fatal(err)
			}
			w.refresh()
			early := resigned(v, next, func(*warg.Checkpoint) {})
			w.tap.checkpoint = func(warg.View) warg.View { return early }
		}},

		{name: "fork at the same length", class: ClassEquivocation, final: true, setUp: forked(2, 1)},
		{name: "fork at the same length, other map root alone", class: ClassEquivocation, final: true, setUp: func(w *world) {
			w.tap.checkpoint = func(v warg.View) warg.View {
				return resigned(v, alice, func(c *warg.Checkpoint) { c.MapRoot = warg.Sum([]byte("x")) })
			}
		}},
		{name: "fork that is longer", class: ClassEquivocation, final: true, setUp: forked(2, 3)},
		{name: "fork from the first record on", class: ClassEquivocation, final: true, setUp: forked(1, 5)},
		{name: "fork that is longer and does not prove itself", class: ClassRoots, setUp: func(w *world) {
			forked(2, 3)(w)
			w.tap.consistency = func([]byte) []byte { return []byte("nothing") }
		}},
		{name: "fork at a shorter length", class: ClassEquivocation, final: true, setUp: forked(1, 1)},
		{name: "other map root at a shorter length that was accepted", class: ClassEquivocation, final: true, setUp: func(w *world) {
			first := w.replica.view.Load()
			w.publish("test:c", "1.0.0")
			w.refresh()
			bad := resigned(warg.View{Checkpoint: first.cp}, alice, func(c *warg.Checkpoint) { c.MapRoot = warg.Sum([]byte("x")) })
			w.tap.checkpoint = func(warg.View) warg.View { return bad }
		}},
		{name: "other map root at a shorter length that was never accepted", class: ClassEquivocation, final: true, setUp: func(w *world) {
			w.publish("test:c", "1.0.0")
			v, _ := w.up.Checkpoint(w.t.Context())
			w.publish("test:c", "1.1.0")
			w.refresh()
			bad := resigned(v, alice, func(c *warg.Checkpoint) { c.MapRoot = warg.Sum([]byte("x")) })
			w.tap.checkpoint = func(warg.View) warg.View { return bad }
		}},
		{name: "rewind signed later", class: ClassRewind, final: true, setUp: func(w *world) {
			old := w.up.Clone()
			w.publish("test:c", "1.0.0")
			w.publish("test:c", "1.1.0")
			w.refresh()
			for range 5 {
				old.Resign()
			}
			w.tap.Transport = Adapt(old)
		}},
		{name: "replay of an old checkpoint", class: ClassRollback, setUp: func(w *world) {
			old, _ := w.up.Checkpoint(w.t.Context())
			w.publish("test:c", "1.0.0")
			w.refresh()
			w.tap.checkpoint = func(warg.View) warg.View { return old }
		}},
		{name: "replay of an old signature of the same length", class: ClassRollback, setUp: func(w *world) {
			old, _ := w.up.Checkpoint(w.t.Context())
			w.up.Resign()
			w.refresh()
			w.tap.checkpoint = func(warg.View) warg.View { return old }
		}},

		ledgerAttack("ledger too short", ClassLedger, func(start uint64, page []byte) []byte {
			if start == 3 {
				return page[:64]
			}
			return nil
		}),
		ledgerAttack("empty ledger", ClassLedger, func(uint64, []byte) []byte { return nil }),
		ledgerAttack("half a leaf", ClassLedger, func(_ uint64, page []byte) []byte { return page[:len(page)-1] }),
		ledgerAttack("one bit of a log id", ClassRoots, func(_ uint64, page []byte) []byte { return flip(page, 0) }),
		ledgerAttack("one bit of a record id", ClassRoots, func(_ uint64, page []byte) []byte { return flip(page, 63) }),
		ledgerAttack("leaves swapped", ClassRoots, func(_ uint64, page []byte) []byte {
			return append(slices.Clone(page[64:128]), page[:64]...)
		}),
		ledgerAttack("leaf repeated", ClassRoots, func(_ uint64, page []byte) []byte {
			return append(slices.Clone(page[:64]), page[:64]...)
		}),

		operatorAttack("operator record left out", ClassLedger, func([]warg.Record) []warg.Record { return nil }),
		operatorAttack("operator record with one bit changed", ClassSignature, func(r []warg.Record) []warg.Record {
			for i := range r {
				r[i].Content = flip(r[i].Content, len(r[i].Content)-1)
			}
			return r
		}),
		operatorAttack("operator record with another signature", ClassSignature, func(r []warg.Record) []warg.Record {
			for i := range r {
				r[i].Signature = eve.SignOperatorRecord(r[i].Content)
			}
			return r
		}),
		operatorAttack("operator record at another index", ClassLedger, func(r []warg.Record) []warg.Record {
			for i := range r {
				r[i].Index--
			}
			return r
		}),
		operatorAttack("operator record beyond the checkpoint", ClassEndless, func(r []warg.Record) []warg.Record {
			for i := range r {
				r[i].Index += 1000
			}
			return r
		}),
		operatorAttack("another valid operator record instead", ClassLedger, func(r []warg.Record) []warg.Record {
			for i := range r {
				rec, err := oplog.Decode(r[i].Content)
				if err != nil {
					panic(err)
				}
				rec.Entries = []oplog.Entry{oplog.DefineNamespace{Namespace: "evil"}}
				r[i].Envelope = rec.Sign(alice)
			}
			return r
		}),
		{name: "operator log that never ends", class: ClassEndless, setUp: func(w *world) {
			first, err := w.up.Logs(w.t.Context(), warg.LogsRequest{LogLength: 1})
			if err != nil {
				w.t.Fatal(err)
			}
			w.publish("test:c", "1.0.0")
			w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
				page.More, page.Operator = true, first.Operator
			}
		}},

		recordAttack("record left out", ClassAbsence, func(r []warg.Record) []warg.Record { return r[:len(r)-1] }),
		recordAttack("no records", ClassAbsence, func([]warg.Record) []warg.Record { return nil }),
		recordAttack("first record left out", ClassRecord, func(r []warg.Record) []warg.Record { return r[1:] }),
		recordAttack("records swapped", ClassRecord, func(r []warg.Record) []warg.Record {
			slices.Reverse(r)
			return r
		}),
		recordAttack("record of another package", ClassRecord, func(r []warg.Record) []warg.Record {
			r[0].Envelope = wargtest.NewPackage("test:other").Next(wargtest.Bob(), wargtest.Init(wargtest.Bob()))
			return r
		}),
		recordAttack("one bit of a record", ClassRecord, func(r []warg.Record) []warg.Record {
			r[0].Content = flip(r[0].Content, 5)
			return r
		}),
		recordAttack("record at another index", ClassRecord, func(r []warg.Record) []warg.Record {
			r[0].Index++
			return r
		}),
		recordAttack("record signed by somebody else", ClassSignature, func(r []warg.Record) []warg.Record {
			r[0].Signature = eve.SignPackageRecord(r[0].Content)
			return r
		}),
		recordAttack("record with another key id", ClassRecord, func(r []warg.Record) []warg.Record {
			r[0].KeyID = eve.Public().ID()
			return r
		}),
		{name: "records that go round in a circle", class: ClassEndless, try: fetchA, setUp: func(w *world) {
			var first []warg.Record
			w.tap.logs = func(_ warg.LogsRequest, page *warg.LogsPage) {
				if first == nil {
					first = page.Packages[0].Records[:1]
				}
				page.Packages[0].Records = first
			}
		}},
		{name: "log denied that is in the ledger", class: ClassAbsence, try: fetchA, setUp: func(w *world) {
			w.tap.setDown(warg.NotFound(warg.KindLogNotFound, wargtest.Name("test:a").LogID()))
		}},
		{name: "name of another package", class: ClassName, try: nameA, setUp: func(w *world) {
			w.tap.names = func(_ []warg.LogID, names []warg.PackageName) {
				for i := range names {
					names[i] = wargtest.Name("test:evil")
				}
			}
		}},
		{name: "name denied that is in the ledger", class: ClassAbsence, try: nameA, setUp: func(w *world) {
			w.tap.setDown(warg.NotFound(warg.KindLogNotFound, wargtest.Name("test:a").LogID()))
		}},

		contentAttack("one bit of the content", ClassContent, func(b []byte) []byte { return flip(b, len(b)/2) }),
		contentAttack("content cut short", ClassContent, func(b []byte) []byte { return b[:len(b)-1] }),
		contentAttack("no content", ClassContent, func([]byte) []byte { return nil }),
		contentAttack("content with something behind it", ClassContent, func(b []byte) []byte { return append(slices.Clone(b), 0) }),
		contentAttack("content of another release", ClassContent, func([]byte) []byte { return wargtest.Component("evil") }),
	}
}

func TestAttacks(t *testing.T) {
	all := attacks()
	if len(all) < 50 {
		t.Fatalf("only %d attacks", len(all))
	}
	for _, a := range all {
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("test:a", "1.0.0")
			w.publish("test:a", "1.1.0")
			w.refresh()
			honest := w.tap.Transport
			a.setUp(w)
			before := w.replica.view.Load()
			stored := w.store.Trees()
			try := a.try
			if try == nil {
				try = func(w *world) error { return w.replica.Refresh(t.Context()) }
			}
			err := try(w)
			if got := ClassOf(err); got != a.class {
				t.Fatalf("class %s (%v); want %s", got, err, a.class)
			}
			if e, ok := asWarg(err); !ok || e.Kind != warg.KindUpstreamInvalid {
				t.Errorf("kind of %v", err)
			}
			if w.replica.Status().Refused[a.class] == 0 {
				t.Error("the refusal was not counted")
			}
			if w.replica.view.Load() != before || w.store.Trees() != stored {
				t.Error("the view or the trees changed")
			}
			if _, err := w.replica.Inclusion(t.Context(), before.cp.LogLength, []uint64{before.cp.LogLength - 1}); err != nil {
				t.Errorf("the last good view is not served: %v", err)
			}
			checkQuarantine(t, w, a)

			*w.tap = *newTap(honest)
			if a.end != nil {
				a.end(w)
			}
			w.clock.advance(time.Hour)
			err = w.replica.Refresh(t.Context())
			if a.final != (err != nil) {
				t.Errorf("honest again: %v", err)
			}
			if !a.final {
				checkHonest(t, w)
			}
		})
	}
}

// checkHonest demands that everything can be had again.
func checkHonest(t *testing.T, w *world) {
	t.Helper()
	if err := errors.Join(fetchA(w), nameA(w)); err != nil {
		t.Errorf("honest again: %v", err)
	}
	if _, err := w.replica.Stat(t.Context(), warg.Sum(wargtest.Component("test:a 1.0.0"))); err != nil {
		t.Errorf("honest again: %v", err)
	}
}

// checkQuarantine demands evidence that a third party can check for a final attack,
// and none for others, also after a restart.
func checkQuarantine(t *testing.T, w *world, a attack) {
	t.Helper()
	w.restart()
	q := w.replica.Status().Quarantine
	files, err := filepath.Glob(filepath.Join(w.options.EvidenceDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if !a.final {
		if q != nil || len(files) != 0 {
			t.Errorf("quarantined: %+v, %v", q, files)
		}
		return
	}
	if q == nil || q.Class != a.class.String() || len(files) != 1 || q.Evidence != files[0] {
		t.Fatalf("not quarantined: %+v, %v", q, files)
	}
	v, err := w.replica.Checkpoint(t.Context())
	if err != nil || v.Warning == "" {
		t.Errorf("the last good view: %+v %v", v, err)
	}
	if _, err := w.fetch("test:a"); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("what is not held: %v", err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if v, err := monitor.CheckEvidence(text, []warg.KeyID{wargtest.Alice().Public().ID()}); err != nil || v.Class != a.class.String() {
		t.Errorf("evidence: %+v %v\n%s", v, err, text)
	}
	if a.name == "other map root at a shorter length that was never accepted" {
		return // it has one checkpoint and the ledger
	}
	if err := checkEvidence(text, wargtest.Alice().Public()); err != nil {
		t.Errorf("evidence: %v\n%s", err, text)
	}
}

// checkEvidence judges an evidence file with nothing but the registry's key.
func checkEvidence(text []byte, key warg.PublicKey) error {
	var e struct {
		Class       string
		Checkpoints []json.RawMessage
		Consistency []byte
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	var views []warg.Checkpoint
	for _, c := range e.Checkpoints {
		s, err := api.ParseCheckpoint(c)
		if err != nil {
			return err
		}
		v, err := s.Open(key)
		if err != nil {
			return err
		}
		views = append(views, v)
	}
	if len(views) != 2 {
		return fmt.Errorf("%d checkpoints", len(views))
	}
	short, long := views[0], views[1]
	if short.LogLength > long.LogLength {
		short, long = long, short
	}
	switch {
	case e.Class == "rewind":
		if views[1].LogLength >= views[0].LogLength || views[1].Timestamp <= views[0].Timestamp {
			return errors.New("the second is not shorter and later")
		}
		return nil
	case short.LogLength == long.LogLength:
		if short.SameView(long) {
			return errors.New("both say the same")
		}
		return nil
	}
	bundle, err := vlog.ParseBundle(e.Consistency)
	if err != nil {
		return err
	}
	if bundle.Length != long.LogLength || len(bundle.Consistent) != 1 || bundle.Consistent[0] != short.LogLength {
		return errors.New("the proof is about something else")
	}
	from, to, err := bundle.Consistency(0)
	if err != nil {
		return err
	}
	if to != long.LogRoot || from == short.LogRoot {
		return errors.New("the proof does not contradict the checkpoints")
	}
	return nil
}
