package uploads

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// target returns something to upload.
func seedTarget() upstream.UploadTarget {
	return upstream.UploadTarget{
		Registry: "up.example", LogID: warg.LogID(warg.Sum([]byte("l"))), RecordID: warg.RecordID(warg.Sum([]byte("r"))),
		Digest: warg.Sum([]byte("c")), Site: warg.UploadSite{Method: "PUT", URL: "https://up.example/x"},
	}
}

// FuzzLine: a line of the file of targets that is read says the same when it is written.
func FuzzLine(f *testing.F) {
	text, err := entry{name: name{1, 2}, end: 1_700_000_000, target: seedTarget()}.appendTo(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("{} " + checksum([]byte("{}")) + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if i := bytes.LastIndexByte(text, ' '); i >= 0 { // or hardly any would have the right one
			text = append(append(bytes.Clone(text[:i]), ' '), checksum(text[:i])+"\n"...)
		}
		e, err := parseLine(text)
		if err != nil {
			return
		}
		printed, err := e.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseLine(printed); err != nil || again != e {
			t.Errorf("%q reads as %+v, printed %q, again %+v, %v", text, e, printed, again, err)
		}
	})
}

// FuzzFind: whatever is not the very text that was handed out stands for nothing.
func FuzzFind(f *testing.F) {
	dir := f.TempDir()
	now := time.Unix(1_700_000_000, 0)
	b, err := Open(Options{KeyFile: filepath.Join(dir, "key"), File: filepath.Join(dir, "targets"), Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	site, err := b.Offer(seedTarget())
	if err != nil {
		f.Fatal(err)
	}
	given := filepath.Base(site.URL)
	f.Add(given)
	f.Add(given + "=")
	f.Add(given[:len(given)-1] + "A")
	f.Add("")
	f.Fuzz(func(t *testing.T, capability string) {
		got, err := b.Find(capability)
		switch {
		case capability == given && (err != nil || got != seedTarget()):
			t.Errorf("what was handed out stands for %+v, %v", got, err)
		case capability != given && !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}):
			t.Errorf("%q stands for %+v, %v", capability, got, err)
		}
	})
}
