package oplog_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
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
		if s == nil || s.Kind != "operator" {
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
		r, err := oplog.Decode(b)
		if err != nil {
			return
		}
		canonical := r.Encode()
		again, err := oplog.Decode(canonical)
		if err != nil || !reflect.DeepEqual(again, r) || !bytes.Equal(again.Encode(), canonical) {
			t.Errorf("%x decodes as %+v, again as %+v, %v", b, r, again, err)
		}
		var s oplog.State
		env := warg.Envelope{Content: b, KeyID: signer.Public().ID()}
		if s.Apply(r, env, oplog.SignatureVerified) == nil {
			return
		}
		if len(s.Keys()) != 0 || encoded(t, &s) != "{}" {
			t.Errorf("%x was refused and left %s", b, encoded(t, &s))
		}
	})
}
