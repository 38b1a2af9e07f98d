package pkglog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// FuzzDecode: what decodes encodes to bytes that decode to the same, and a record
// that may not start a log leaves nothing of itself.
func FuzzDecode(f *testing.F) {
	b, err := os.ReadFile("../testdata/decode.json")
	if err != nil {
		f.Fatal(err)
	}
	var seeds []*struct{ Kind, Hex string }
	if err := json.Unmarshal(b, &seeds); err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		if s == nil || s.Kind != "package" {
			continue
		}
		b, err := hex.DecodeString(s.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	signer := alice(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := pkglog.Decode(b)
		if err != nil {
			return
		}
		canonical := r.Encode()
		again, err := pkglog.Decode(canonical)
		if err != nil || !reflect.DeepEqual(again, r) || !bytes.Equal(again.Encode(), canonical) {
			t.Errorf("%x decodes as %+v, again as %+v, %v", b, r, again, err)
		}
		var s pkglog.State
		env := warg.Envelope{Content: b, KeyID: signer.Public().ID()}
		if s.Apply(r, env, pkglog.SignatureVerified) == nil {
			return
		}
		if len(s.Keys()) != 0 || encoded(t, &s) != "{}" {
			t.Errorf("%x was refused and left %s", b, encoded(t, &s))
		}
	})
}
