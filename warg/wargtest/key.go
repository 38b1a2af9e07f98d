package wargtest

import (
	"encoding/base64"

	"github.com/entrepot/entrepot/warg"
)

// Alice returns the protocol's first test key; test registries sign with it.
func Alice() warg.PrivateKey { return key("I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk=") }

// Bob returns the protocol's second test key; test packages are signed with it.
func Bob() warg.PrivateKey { return key("2CV1EpLaSYEn4In4OAEDAj5O4Hzu8AFAxgHXuG310Ew=") }

// Stranger returns a key made from a name, the same one each time, for parties that
// are neither Alice nor Bob.
func Stranger(name string) warg.PrivateKey {
	secret := warg.Sum([]byte("test key of "), []byte(name))
	return key(base64.StdEncoding.EncodeToString(secret[:]))
}

func key(secret string) warg.PrivateKey {
	k, err := warg.ParsePrivateKey("ecdsa-p256:" + secret)
	if err != nil {
		panic("wargtest: " + err.Error()) // the secrets are constants and hashes
	}
	return k
}
