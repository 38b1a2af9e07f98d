package warg

import "testing"

func TestAppendText(t *testing.T) {
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	sig := Checkpoint{}.Sign(key).Signature()
	hash := Sum([]byte("x")).AnyHash()
	for _, tt := range []struct{ got, want string }{
		{string(sig.AppendText([]byte("a"))), "a" + sig.String()},
		{string(hash.AppendText([]byte("a"))), "a" + hash.String()},
		{string(Signature{}.AppendText([]byte("a"))), "a"},
		{string(AnyHash{}.AppendText([]byte("a"))), "a"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	buf := make([]byte, 0, 200)
	if n := testing.AllocsPerRun(10, func() { hash.AppendText(sig.AppendText(buf)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
