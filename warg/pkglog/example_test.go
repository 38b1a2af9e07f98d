package pkglog_test

import (
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// The first record of a package is made, signed and replayed; then a second one
// follows it, and the newest release that fits is selected.
func Example() {
	key, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	version, err := warg.ParseVersion("1.0.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	first := pkglog.Record{
		Time: warg.TimestampOf(time.Unix(1700000000, 0)),
		Entries: []pkglog.Entry{
			pkglog.Init{Key: key.Public()},
			pkglog.Release{Version: version, Content: warg.Sum([]byte("wasm")).AnyHash()},
		},
	}
	var log pkglog.State
	if err := log.Validate(first.Sign(key)); err != nil {
		fmt.Println(err)
		return
	}

	next, err := warg.ParseVersion("1.1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	head, at, _ := log.Head()
	prev := warg.Digest(head).AnyHash()
	second := pkglog.Record{
		Prev: &prev,
		Time: at,
		Entries: []pkglog.Entry{
			pkglog.Release{Version: next, Content: warg.Sum([]byte("more wasm")).AnyHash()},
			pkglog.Yank{Version: version},
		},
	}
	fmt.Println(log.Validate(second.Sign(key)))

	req, err := warg.ParseRequirement("1")
	if err != nil {
		fmt.Println(err)
		return
	}
	release, ok := pkglog.Select(log.Releases(), req)
	fmt.Println(release.Version, ok)
	// Output:
	// <nil>
	// 1.1.0 true
}

// A record that may not follow is refused whole and changes nothing.
func ExampleState_Validate() {
	owner, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	var log pkglog.State
	empty := pkglog.Record{Time: warg.Timestamp{Seconds: 1700000000}}
	fmt.Println(log.Validate(empty.Sign(owner)))
	_, _, ok := log.Head()
	fmt.Println(ok)
	// Output:
	// the initial record is empty and does not "init"
	// false
}
