package upstream

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// The model of who may do what when. It is written to be obviously right, and shares
// nothing with what it judges: keys are numbers, permissions are bits.

const mayCommit, mayDefine, mayImport, mayAll = 1, 2, 4, 7

// deed is an entry of an operator record. The first of all makes its signer the first
// key.
type deed struct {
	kind string // "grant", "revoke", "define", "import"
	key  int    // who is granted or revoked
	bits int    // what
	name string // of a namespace
}

// permits is what every key may, after the record at an index of the registry's log.
type permits struct {
	index uint64
	may   map[int]int
}

type scheduleModel struct {
	history []permits // of every operator record, in order
	names   map[string]bool
}

// may returns what a key may in a registry of a length: as the last operator record
// below it left it.
func (m *scheduleModel) may(key int, length uint64) (bits int) {
	for _, p := range m.history {
		if p.index < length {
			bits = p.may[key]
		}
	}
	return bits
}

// apply notes the record at an index, if its signer may do all of its deeds, one after
// another.
func (m *scheduleModel) apply(index uint64, signer int, deeds []deed) bool {
	may, names := map[int]int{}, map[string]bool{}
	if n := len(m.history); n > 0 {
		for k, bits := range m.history[n-1].may {
			may[k] = bits
		}
	} else {
		may[signer] = mayAll
	}
	for _, d := range deeds {
		need := map[string]int{"grant": mayCommit | d.bits, "revoke": mayCommit | d.bits, "define": mayDefine, "import": mayImport}[d.kind]
		taken := m.names[d.name] || names[d.name]
		if may[signer]&need != need || d.kind == "revoke" && may[d.key]&d.bits != d.bits || d.name != "" && taken {
			return false
		}
		switch d.kind {
		case "grant":
			may[d.key] |= d.bits
		case "revoke":
			may[d.key] &^= d.bits
		default:
			names[d.name] = true
		}
	}
	for name := range names {
		m.names[name] = true
	}
	m.history = append(m.history, permits{index, may})
	return true
}

// Here the model ends.

const scheduleKeys = 4

// schedule is an operator log that is being made at random.
type schedule struct {
	rnd     *rand.Rand
	keys    []warg.PrivateKey
	model   scheduleModel
	records []warg.Record
	length  uint64 // of the registry
	prev    *warg.AnyHash
}

func newSchedule(seed uint64, keys []warg.PrivateKey) *schedule {
	return &schedule{rnd: rand.New(rand.NewPCG(seed, 9)), keys: keys, model: scheduleModel{names: map[string]bool{}}}
}

// draw draws the deeds of a record. Most are such that their signer may do them.
func (s *schedule) draw() (signer int, deeds []deed) {
	signer = s.rnd.IntN(scheduleKeys)
	for range 10 {
		if s.model.may(signer, s.length)&mayCommit != 0 {
			break
		}
		signer = s.rnd.IntN(scheduleKeys)
	}
	for range 1 + s.rnd.IntN(2) {
		d := deed{kind: []string{"grant", "grant", "revoke", "revoke", "define", "import"}[s.rnd.IntN(6)]}
		switch d.kind {
		case "define", "import":
			d.name = fmt.Sprintf("n%d", s.rnd.IntN(20))
		default:
			d.key, d.bits = s.rnd.IntN(scheduleKeys), 1+s.rnd.IntN(mayAll)
			if s.rnd.IntN(2) == 0 {
				d.bits = mayCommit
			}
			if held := s.model.may(d.key, s.length); d.kind == "revoke" && held != 0 && s.rnd.IntN(5) > 0 {
				d.bits = held & -held // the least
			}
		}
		deeds = append(deeds, d)
	}
	return signer, deeds
}

// next draws the deeds of the next record, and has the model apply them. Few are such
// that the model does not permit them.
func (s *schedule) next() (signer int, deeds []deed, ok bool) {
	for range 20 {
		signer, deeds = s.draw()
		if ok = s.model.apply(s.length, signer, deeds); ok || s.rnd.IntN(16) == 0 {
			break
		}
	}
	return signer, deeds, ok
}

// sign makes the record of deeds.
func (s *schedule) sign(signer int, deeds []deed) warg.Envelope {
	rec := oplog.Record{Prev: s.prev, Time: warg.Timestamp{Seconds: int64(len(s.records))}}
	if len(s.records) == 0 {
		rec.Entries = append(rec.Entries, oplog.Init{Key: s.keys[signer].Public()})
	}
	rec.Entries = append(rec.Entries, s.entries(deeds)...)
	return rec.Sign(s.keys[signer])
}

func (s *schedule) entries(deeds []deed) (entries []oplog.Entry) {
	for _, d := range deeds {
		var list []oplog.Permission
		for i, p := range []oplog.Permission{oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace} {
			if d.bits&(1<<i) != 0 {
				list = append(list, p)
			}
		}
		switch key := s.keys[d.key].Public(); d.kind {
		case "grant":
			entries = append(entries, oplog.Grant{Key: key, Permissions: list})
		case "revoke":
			entries = append(entries, oplog.Revoke{KeyID: key.ID(), Permissions: list})
		case "define":
			entries = append(entries, oplog.DefineNamespace{Namespace: d.name})
		case "import":
			entries = append(entries, oplog.ImportNamespace{Namespace: d.name, Registry: "other.example"})
		}
	}
	return entries
}

// add appends a record, which the model permits, and some leaves of packages.
func (s *schedule) add(env warg.Envelope) {
	s.records = append(s.records, warg.Record{Envelope: env, Index: s.length})
	prev := warg.Digest(env.OperatorRecordID()).AnyHash()
	s.prev = &prev
	s.length += 1 + uint64(s.rnd.IntN(3))
}

// run makes a schedule and fails where the replica's judgement and the model's differ:
// about the records, and about checkpoints of all keys at random lengths. It counts what
// it saw.
func (s *schedule) run(seen map[string]int) error {
	s.add(s.sign(0, nil))
	s.model.apply(0, 0, nil)
	for left := 1 + s.rnd.IntN(7); left > 0; left-- {
		signer, deeds, ok := s.next()
		env := s.sign(signer, deeds)
		if ok {
			s.add(env)
			continue
		}
		seen["record refused"]++
		bad := append(s.records[:len(s.records):len(s.records)], warg.Record{Envelope: env, Index: s.length})
		if _, err := replayOperator(bad); ClassOf(err) != ClassRecord {
			return fmt.Errorf("record %d by key %d, %+v: the replica says: %w", len(s.records), signer, deeds, err)
		}
		break // replaying all of it each time is what takes the time
	}
	op, err := replayOperator(s.records)
	if err != nil {
		return err
	}
	seen["record accepted"] += len(s.records)
	for range 3 {
		key, length := s.rnd.IntN(scheduleKeys), 1+s.rnd.Uint64N(s.length)
		cp := warg.Checkpoint{LogLength: length, Timestamp: 1}
		_, err := op.open(cp.Sign(s.keys[key]))
		may := s.model.may(key, length)&mayCommit != 0
		if may != (err == nil) || err != nil && ClassOf(err) != ClassKey {
			return fmt.Errorf("checkpoint of length %d of %d by key %d: the model says %v: %w", length, s.length, key, may, err)
		}
		switch was, is := may, s.model.may(key, s.length)&mayCommit != 0; {
		case was && is:
			seen["signer who may"]++
		case was:
			seen["signer who might"]++
		case is:
			seen["signer who may since"]++
		default:
			seen["signer who may not"]++
		}
	}
	return nil
}

func scheduleSigners() []warg.PrivateKey {
	keys := []warg.PrivateKey{wargtest.Alice()}
	for i := range scheduleKeys - 1 {
		keys = append(keys, wargtest.Stranger(fmt.Sprintf("signer %d", i)))
	}
	return keys
}

// schedules returns how many schedules are run: few, or as many as SCHEDULES says.
func schedules(t *testing.T) uint64 {
	t.Helper()
	const few = 2500
	text := os.Getenv("SCHEDULES")
	if text == "" {
		return few
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSchedules: whatever is granted to whom and revoked, in whatever order, a record
// counts by what its signer might when it was appended, and a checkpoint by what its
// signer might at its length. SCHEDULES=100000 is the long form.
func TestSchedules(t *testing.T) {
	keys, seen := scheduleSigners(), map[string]int{}
	n := schedules(t)
	for seed := range n {
		if err := newSchedule(seed, keys).run(seen); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	t.Log(seen)
	for _, what := range []string{"record refused", "signer who may", "signer who might", "signer who may since", "signer who may not"} {
		if uint64(seen[what]) < n/20 {
			t.Errorf("the schedules are dull: %d times a %s", seen[what], what)
		}
	}
}

// TestSchedulesOfAReplica: the same through a whole registry and its replica, which is
// restarted now and then: it follows who may sign, and nobody else.
func TestSchedulesOfAReplica(t *testing.T) {
	keys := scheduleSigners()
	followed, refused := 0, 0
	for seed := range uint64(20) {
		s := newSchedule(seed, keys)
		w := newWorldOf(t, wargtest.NewMemory(wargtest.Options{Domain: "up.example"}))
		s.model.apply(0, 0, nil)
		s.length = 1
		for range 8 {
			signer, deeds, ok := s.next()
			err := w.up.Operate(keys[signer], s.entries(deeds)...)
			if ok != (err == nil) {
				t.Fatalf("seed %d: %+v by key %d: the model says %v: %v", seed, deeds, signer, ok, err)
			}
			if err != nil {
				continue
			}
			s.length++
			key := s.rnd.IntN(scheduleKeys)
			w.up.UseKey(keys[key])
			w.up.Resign()
			before := w.length()
			err = w.replica.Refresh(t.Context())
			switch may := s.model.may(key, s.length)&mayCommit != 0; {
			case may != (err == nil), err != nil && ClassOf(err) != ClassKey:
				t.Errorf("seed %d: length %d signed by key %d: the model says %v: %v", seed, s.length, key, may, err)
			case may && w.length() != s.length, !may && w.length() != before:
				t.Errorf("seed %d: length %d is served of %d", seed, w.length(), s.length)
			case may:
				followed++
			default:
				refused++
			}
			if s.rnd.IntN(4) == 0 {
				w.restart()
			}
		}
		w.replica.Close()
	}
	if followed < 20 || refused < 20 {
		t.Errorf("the schedules are dull: %d followed, %d refused", followed, refused)
	}
	t.Logf("%d followed, %d refused", followed, refused)
}
