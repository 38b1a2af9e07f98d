package authority

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// oddEncodings are records whose bytes no encoder of ours would write. Those that the
// protocol takes mean what the plain record means.
func oddEncodings(plain []byte) []struct {
	name  string
	bytes []byte
	taken bool
} {
	with := func(more ...byte) []byte { return append(bytes.Clone(plain), more...) }
	unknown := protowire.AppendTag(nil, 77, protowire.BytesType)
	group := protowire.AppendTag(nil, 78, protowire.StartGroupType)
	huge := protowire.AppendVarint(protowire.AppendTag(nil, 79, protowire.BytesType), 2<<30)
	return []struct {
		name  string
		bytes []byte
		taken bool
	}{
		{"unknown field", with(protowire.AppendString(unknown, "from the future")...), true},
		{"unknown field before all others", append(protowire.AppendVarint(protowire.AppendTag(nil, 76, protowire.VarintType), 1), plain...), true},
		{"unknown group", with(append(group, protowire.AppendTag(nil, 78, protowire.EndGroupType)...)...), true},
		{"varint that is longer than it need be", with(append(protowire.AppendTag(nil, 75, protowire.VarintType), 0x81, 0x80, 0x00)...), true},
		{"repeated single field", append(bytes.Clone(firstField(plain)), plain...), true},
		{"group without an end", with(group...), false},
		{"group end without a group", with(protowire.AppendTag(nil, 78, protowire.EndGroupType)...), false},
		{"length of two gibibytes", with(huge...), false},
		{"length that is negative", with(append(protowire.AppendTag(nil, 79, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)...), false},
		{"varint without an end", with(append(protowire.AppendTag(nil, 75, protowire.VarintType), 0x80, 0x80)...), false},
		{"field 0", with(0x02, 0x00), false},
		{"wire type 6", with(0x0e), false},
		{"text behind", with([]byte("GARBAGE!")...), false},
	}
}

// firstField returns the bytes of a message's first field.
func firstField(message []byte) []byte {
	_, _, n := protowire.ConsumeField(message)
	return message[:n]
}

// TestC02SignedBytes: what was signed is what is kept and handed out, byte for byte, before
// and after a restart, however oddly it is encoded; what cannot be decoded leaves nothing.
func TestC02SignedBytes(t *testing.T) {
	fsys, c := durable.NewMemory(), newClock()
	o := memoryOptions(fsys, c)
	a := open(t, o)
	bob := wargtest.Bob()
	type kept struct {
		name string
		req  warg.PublishRequest
	}
	var all []kept
	for i := range oddEncodings([]byte{0x18, 0x01}) {
		p, req := first(fmt.Sprintf("test:odd%d", i), nil)
		odd := oddEncodings(req.Record.Content)[i]
		req = p.Request(warg.Envelope{Content: odd.bytes, KeyID: bob.Public().ID(), Signature: bob.SignPackageRecord(odd.bytes)})
		before := length(t, a)
		got := outcome(t, a, req)
		switch {
		case odd.taken && got == warg.StatePublished.String():
			all = append(all, kept{odd.name, req})
		case odd.taken || got != "bad request" || length(t, a) != before:
			t.Errorf("%s: %s, %d records more", odd.name, got, length(t, a)-before)
		}
	}
	if len(all) != 5 {
		t.Errorf("%d odd records are published", len(all))
	}
	check := func(a *Authority) {
		t.Helper()
		for _, k := range all {
			page, err := a.Logs(t.Context(), warg.LogsRequest{LogLength: length(t, a), Packages: []warg.LogCursor{{LogID: k.req.LogID}}})
			must(t, err)
			record := page.Packages[0].Records[0].Envelope
			if !bytes.Equal(record.Content, k.req.Record.Content) || record.Signature != k.req.Record.Signature {
				t.Errorf("%s: other bytes come back:\n%x\n%x", k.name, record.Content, k.req.Record.Content)
			}
		}
		audit(t, a)
	}
	check(a)
	must(t, a.Close())
	check(open(t, o))
}
