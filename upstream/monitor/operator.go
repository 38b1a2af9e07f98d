package monitor

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// maxOperatorRecords bounds the operator log of one registry. It gets a record when
// a namespace or a key is added.
const maxOperatorRecords = 100_000

// operator is what an operator log amounts to, and what it amounted to before.
type operator struct {
	records []warg.Record
	ids     []hash     // of the records
	beganBy warg.KeyID // who signed the first record
	keys    map[warg.KeyID]publicKey
	commits map[warg.KeyID][]grant // how the right to sign checkpoints came and went, in order

	may        map[warg.KeyID]map[oplog.Permission]bool
	namespaces map[string]bool
	time       warg.Timestamp // of the last record
}

// grant says that from a registry index on a key may sign checkpoints, or may not.
type grant struct {
	index uint64
	may   bool
}

// replay replays an operator log from its first record. It fails on a record that
// may not stand where it stands.
func replay(records []warg.Record) (*operator, error) {
	op := &operator{
		records: records, keys: map[warg.KeyID]publicKey{}, commits: map[warg.KeyID][]grant{},
		may: map[warg.KeyID]map[oplog.Permission]bool{}, namespaces: map[string]bool{},
	}
	if len(records) > maxOperatorRecords {
		return nil, fmt.Errorf("an operator log of %d records, more than %d", len(records), maxOperatorRecords)
	}
	for i, r := range records {
		if i > 0 && r.Index <= records[i-1].Index {
			return nil, fmt.Errorf("operator record %d is at index %d, not behind the one before it", i, r.Index)
		}
		if err := op.add(r); err != nil {
			return nil, fmt.Errorf("operator record %d at index %d: %w", i, r.Index, err)
		}
	}
	return op, nil
}

func (op *operator) add(r warg.Record) error {
	rec, err := oplog.Decode(r.Content)
	if err != nil {
		return err
	}
	if err := op.follows(rec); err != nil {
		return err
	}
	for _, e := range rec.Entries {
		if err := op.entry(r.KeyID, e); err != nil {
			return err
		}
	}
	if op.beganBy == "" {
		return fmt.Errorf("the log does not begin with an init entry")
	}
	key, ok := op.keys[r.KeyID] // known by now: a record may make its own signer known
	if !ok {
		return fmt.Errorf("it is signed by key `%s`, which the log does not know", r.KeyID)
	}
	if !key.verifies(append([]byte("WARG-OPERATOR-RECORD-SIGNATURE-V0:"), r.Content...), r.Signature) {
		return fmt.Errorf("the signature of key `%s` is wrong", r.KeyID)
	}
	op.ids, op.time = append(op.ids, operatorRecordID(r.Content)), rec.Time
	op.note(r.Index)
	return nil
}

// follows checks what binds a record to the one before it.
func (op *operator) follows(rec oplog.Record) error {
	n := len(op.ids)
	switch {
	case n == 0 && rec.Prev != nil:
		return fmt.Errorf("the first record names one before it")
	case n > 0 && rec.Prev == nil:
		return fmt.Errorf("it does not name the record before it")
	case n > 0 && rec.Prev.String() != text(op.ids[n-1]):
		return fmt.Errorf("it does not follow record %s", text(op.ids[n-1]))
	case rec.Version != 0:
		return fmt.Errorf("it is of version %d", rec.Version)
	case n > 0 && rec.Time.Compare(op.time) < 0:
		return fmt.Errorf("it is older than the record before it")
	}
	return nil
}

// entry applies an entry of a record that signer signed.
func (op *operator) entry(signer warg.KeyID, e oplog.Entry) error {
	switch e := e.(type) {
	case oplog.Init:
		if op.beganBy != "" {
			return fmt.Errorf("a second init entry")
		}
		op.beganBy = signer
		op.permit(signer, oplog.PermissionCommit, oplog.PermissionDefineNamespace, oplog.PermissionImportNamespace)
		return op.learn(e.Key)
	case oplog.Grant:
		if err := op.needs(signer, oplog.PermissionCommit, e.Permissions...); err != nil {
			return err
		}
		op.permit(e.Key.ID(), e.Permissions...)
		return op.learn(e.Key)
	case oplog.Revoke:
		if err := op.needs(signer, oplog.PermissionCommit, e.Permissions...); err != nil {
			return err
		}
		for _, p := range e.Permissions {
			if !op.may[e.KeyID][p] {
				return fmt.Errorf("key `%s` has no permission %s to lose", e.KeyID, p)
			}
			delete(op.may[e.KeyID], p)
		}
		return nil
	case oplog.DefineNamespace:
		return op.claim(signer, oplog.PermissionDefineNamespace, e.Namespace)
	case oplog.ImportNamespace:
		return op.claim(signer, oplog.PermissionImportNamespace, e.Namespace)
	}
	return fmt.Errorf("an entry of unknown kind %T", e)
}

func (op *operator) needs(signer warg.KeyID, first oplog.Permission, more ...oplog.Permission) error {
	for _, p := range append([]oplog.Permission{first}, more...) {
		if !op.may[signer][p] {
			return fmt.Errorf("key `%s` has no permission %s", signer, p)
		}
	}
	return nil
}

func (op *operator) permit(id warg.KeyID, permissions ...oplog.Permission) {
	if op.may[id] == nil {
		op.may[id] = map[oplog.Permission]bool{}
	}
	for _, p := range permissions {
		op.may[id][p] = true
	}
}

func (op *operator) learn(k warg.PublicKey) error {
	key, err := readKey(k)
	if err == nil {
		op.keys[key.id] = key
	}
	return err
}

func (op *operator) claim(signer warg.KeyID, p oplog.Permission, namespace string) error {
	if err := op.needs(signer, p); err != nil {
		return err
	}
	if !warg.ValidNamespace(namespace) || op.namespaces[namespace] {
		return fmt.Errorf("namespace `%s` is invalid or taken", namespace)
	}
	op.namespaces[namespace] = true
	return nil
}

// note writes down which keys may sign checkpoints after the record at an index.
func (op *operator) note(index uint64) {
	for id, permissions := range op.may {
		history, now := op.commits[id], permissions[oplog.PermissionCommit]
		before := len(history) > 0 && history[len(history)-1].may
		if now != before {
			op.commits[id] = append(history, grant{index, now})
		}
	}
}

// mayCommit reports whether a key may sign checkpoints of a length: after all
// operator records at indexes below it.
func (op *operator) mayCommit(id warg.KeyID, length uint64) bool {
	may := false
	for _, g := range op.commits[id] {
		if g.index < length {
			may = g.may
		}
	}
	return may
}

// everMay reports whether a key might sign checkpoints at any time.
func (op *operator) everMay(id warg.KeyID) bool {
	return slices.ContainsFunc(op.commits[id], func(g grant) bool { return g.may })
}

// verify checks that a checkpoint is the registry's: signed by a key that may, at
// that length.
func (op *operator) verify(c checkpoint) error {
	id := c.signed.KeyID()
	key, ok := op.keys[id]
	switch {
	case !ok:
		return fmt.Errorf("it is signed by key `%s`, which the operator log does not know", id)
	case !c.signedBy(key):
		return fmt.Errorf("the signature of key `%s` is wrong", id)
	case !op.mayCommit(id, c.length):
		return fmt.Errorf("key `%s` may not sign checkpoints of length %d", id, c.length)
	}
	return nil
}
