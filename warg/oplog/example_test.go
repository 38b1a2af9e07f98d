package oplog_test

import (
	"fmt"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// An operator log begins, hands over to a second key, and is asked who could sign
// checkpoints when.
func Example() {
	old, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	successor, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	commit := []oplog.Permission{oplog.PermissionCommit}

	var log oplog.State
	var history oplog.CommitHistory
	first := oplog.Record{
		Time:    warg.Timestamp{Seconds: 1700000000},
		Entries: []oplog.Entry{oplog.Init{Key: old.Public()}, oplog.DefineNamespace{Namespace: "acme"}},
	}
	if err := log.Validate(first.Sign(old)); err != nil {
		fmt.Println(err)
		return
	}
	if err := history.Observe(0, &log); err != nil { // the record's registry index
		fmt.Println(err)
		return
	}

	head, at, _ := log.Head()
	prev := warg.Digest(head).AnyHash()
	second := oplog.Record{
		Prev: &prev,
		Time: at,
		Entries: []oplog.Entry{
			oplog.Grant{Key: successor.Public(), Permissions: commit},
			oplog.Revoke{KeyID: old.Public().ID(), Permissions: commit},
		},
	}
	if err := log.Validate(second.Sign(old)); err != nil {
		fmt.Println(err)
		return
	}
	if err := history.Observe(7, &log); err != nil {
		fmt.Println(err)
		return
	}

	for _, length := range []uint64{7, 8} {
		fmt.Println(length, history.Holds(old.Public().ID(), length), history.Holds(successor.Public().ID(), length))
	}
	namespace, _ := log.Namespace("acme")
	fmt.Println(namespace.Defined)
	// Output:
	// 7 true false
	// 8 false true
	// true
}
