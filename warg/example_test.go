package warg_test

import (
	"fmt"
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// A key is made, or read from where its secret text is kept. Printing it shows
// only its fingerprint.
func ExampleParsePrivateKey() {
	key, err := warg.ParsePrivateKey("ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(key)
	fmt.Println(key.Public())
	// Output:
	// sha256:d6d9b4cd077a829c0275233bf3843c8294e250dfcc82b8ea15745e92982a820d
	// ecdsa-p256:A1OfZz5Y9Ny7VKPVwroCTQPAr9tmlI4U/UTYHZHA87AF
}

// A signed checkpoint shows only claims until it is opened with the key that
// should have signed it.
func ExampleSignedCheckpoint_Open() {
	operator, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	stranger, err := warg.GenerateKey()
	if err != nil {
		fmt.Println(err)
		return
	}
	signed := warg.Checkpoint{
		LogLength: 5,
		LogRoot:   warg.Sum([]byte("log")),
		MapRoot:   warg.Sum([]byte("map")),
		Timestamp: 1700000000,
	}.Sign(operator)

	checkpoint, err := signed.Open(operator.Public())
	fmt.Println(checkpoint.LogLength, err)
	_, err = signed.Open(stranger.Public())
	fmt.Println(err != nil)
	// Output:
	// 5 <nil>
	// true
}

// A log id depends on the package's name alone, not on the registry.
func ExamplePackageLogID() {
	name, err := warg.ParsePackageName("test:component")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(name.Namespace(), name.Name())
	fmt.Println(warg.PackageLogID(name))
	// Output:
	// test component
	// sha256:9f9d9b178a40a81622705389a859c60b844e5a561eb05613058b1131ccd31bb2
}

func ExampleRequirement_Matches() {
	req, err := warg.ParseRequirement(">=1.2, <2")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range []string{"1.1.9", "1.2.0", "1.9.9", "1.3.0-rc.1", "2.0.0"} {
		v, err := warg.ParseVersion(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(v, req.Matches(v))
	}
	// Output:
	// 1.1.9 false
	// 1.2.0 true
	// 1.9.9 true
	// 1.3.0-rc.1 false
	// 2.0.0 false
}

func ExampleVersion_Compare() {
	var versions []warg.Version
	for _, text := range []string{"1.0.0", "1.0.0+build", "1.0.0-rc.1", "0.9.0"} {
		v, err := warg.ParseVersion(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		versions = append(versions, v)
	}
	slices.SortFunc(versions, warg.Version.Compare)
	fmt.Println(versions)
	// Output: [0.9.0 1.0.0-rc.1 1.0.0 1.0.0+build]
}

// A hash that is shorter than a digest is legal inside records, but stands for
// no content.
func ExampleAnyHash_Digest() {
	h, err := warg.ParseAnyHash("sha256:00ff")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(h.Bytes()))
	_, err = h.Digest()
	fmt.Println(err)
	// Output:
	// 2
	// expected a digest of 32 bytes; found 2
}
