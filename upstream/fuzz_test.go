package upstream

import (
	"bytes"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// FuzzReachOf: however an IPv4 address is dressed up as an IPv6 one, it is no more
// public than it is naked.
func FuzzReachOf(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8", "0.0.0.0", "100.64.1.1", "255.255.255.255"} {
		a := netip.MustParseAddr(s).As4()
		f.Add(a[:], uint8(0))
	}
	f.Fuzz(func(t *testing.T, b []byte, form uint8) {
		if len(b) != 4 {
			return
		}
		naked := netip.AddrFrom4([4]byte(b))
		var dressed [16]byte
		switch form % 5 {
		case 0: // mapped
			dressed = naked.As16()
		case 1: // translated
			copy(dressed[:], []byte{0, 0x64, 0xff, 0x9b})
			copy(dressed[12:], b)
		case 2: // tunnelled, 6to4
			copy(dressed[:], []byte{0x20, 0x02})
			copy(dressed[2:], b)
		case 3: // tunnelled, Teredo
			copy(dressed[:], []byte{0x20, 0x01})
			for i := range b {
				dressed[12+i] = ^b[i]
			}
		case 4: // compatible
			copy(dressed[12:], b)
		}
		if got, want := reachOf(netip.AddrFrom16(dressed)), reachOf(naked); got == reachPublic && want != reachPublic {
			t.Errorf("%s, which stands for %s, is public", netip.AddrFrom16(dressed), naked)
		}
	})
}

// FuzzCheckDial: an upstream that may not be on a private network is connected to at
// public addresses alone, whatever the name.
func FuzzCheckDial(f *testing.F) {
	f.Add("warg.example:443", []byte{127, 0, 0, 1}, false)
	f.Add("cdn.example:443", []byte{10, 0, 0, 1}, true)
	f.Add("[::1]:443", []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, false)
	f.Fuzz(func(t *testing.T, dialed string, b []byte, private bool) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		p := places{origin: &url.URL{Scheme: "https", Host: "warg.example", Path: "/"}, allowPrivate: private}
		if p.checkDial(dialed, addr) != nil {
			return
		}
		r := reachOf(addr)
		own := strings.EqualFold(dialed, "warg.example:443")
		switch {
		case r == reachNever, !private && r != reachPublic, !own && (r == reachLink || r == reachLocal):
			t.Errorf("%q at %s is connected to", dialed, addr)
		}
	})
}

// FuzzParseOrigin: a base URL that is taken has neither credentials nor a query, and
// ends where paths can be joined to it.
func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://warg.example", "http://a/b", "https://u:p@h/", "https://h/?q", "https://h/%2f", "//h", "https://[::1]:1/x#f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := parseOrigin(text)
		if err != nil {
			return
		}
		joined, err := url.Parse(u.String() + api.PathCheckpoint)
		if err != nil || joined.Host != u.Host || joined.Scheme != u.Scheme || joined.User != nil || joined.RawQuery != "" || !strings.HasSuffix(joined.Path, "/"+api.PathCheckpoint) {
			t.Errorf("%q is %s; joined %v, %v", text, u, joined, err)
		}
	})
}

// FuzzUnpack: leaves of a ledger pack into the bytes that they came from.
func FuzzUnpack(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 2}, warg.LedgerEntrySize))
	f.Add(make([]byte, warg.LedgerEntrySize-1))
	f.Fuzz(func(t *testing.T, packed []byte) {
		var again []byte
		for _, l := range unpack(packed) {
			again = append(append(again, l.LogID[:]...), l.RecordID[:]...)
		}
		if whole := len(packed) / warg.LedgerEntrySize * warg.LedgerEntrySize; !bytes.Equal(again, packed[:whole]) {
			t.Errorf("%x packs as %x", packed, again)
		}
	})
}

// FuzzRemembered: what a session remembers is read or refused, and not believed beyond
// what it says.
func FuzzRemembered(f *testing.F) {
	signed := warg.Checkpoint{LogLength: 3, Timestamp: 9}.Sign(wargtest.Alice())
	f.Add([]byte(`{"format":1,"registry":"r","checkpoint":` + string(api.AppendCheckpoint(nil, signed)) + `}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseRemembered(text)
		if err == nil && len(text) > 0 && (m.Format != rememberedFormat || m.view.LogLength != m.signed.Unverified().LogLength) {
			t.Errorf("%q is remembered as %+v", text, m)
		}
	})
}

// FuzzTrusted: whatever stands in the files of what is believed of a registry, they
// are refused, or opened with a head and lengths that ascend to it, which stay so.
func FuzzTrusted(f *testing.F) {
	signed := func(n uint64) warg.SignedCheckpoint {
		return warg.Checkpoint{LogLength: n, Timestamp: n}.Sign(wargtest.Alice())
	}
	line := func(n uint64) []byte {
		text := api.AppendCheckpoint(nil, signed(n))
		return append(append(append(text, ' '), checksum(text)...), '\n')
	}
	m := durable.NewMemory()
	first, err := openTrusted(m, "/up", "up.example", slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	h := head{Format: trustedFormat, Domain: "up.example", Checkpoint: api.AppendCheckpoint(nil, signed(2))}
	if err := first.writeHead(h); err != nil {
		f.Fatal(err)
	}
	text := []byte(m.Tree("/")["/up/"+headFile])
	f.Add(text, append(line(1), line(2)...))
	f.Add(text, line(3))
	f.Add(text, line(2)[:40])
	f.Add([]byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, head, lines []byte) {
		m := durable.NewMemory()
		for name, content := range map[string][]byte{headFile: head, acceptedFile: lines} {
			if len(content) == 0 {
				continue
			}
			err := durable.MkdirAll(m, "/up")
			if err == nil {
				err = durable.Replace(m, filepath.Join("/up", name), content, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		one, err := openTrusted(m, "/up", "up.example", slog.New(slog.DiscardHandler))
		if err != nil {
			return
		}
		last := uint64(0)
		for i, a := range one.accepted {
			if i > 0 && a.view.LogLength <= last {
				t.Fatalf("length %d is accepted after %d", a.view.LogLength, last)
			}
			last = a.view.LogLength
		}
		if now := one.current(); now.Format != 0 && len(one.accepted) > 0 && last != now.view.LogLength {
			t.Fatalf("lengths up to %d are accepted; the head has %d", last, now.view.LogLength)
		}
		two, err := openTrusted(m, "/up", "up.example", slog.New(slog.DiscardHandler))
		if err != nil || two.current().view != one.current().view {
			t.Fatalf("opened again: %v", err)
		}
	})
}
