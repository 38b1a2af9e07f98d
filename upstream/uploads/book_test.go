package uploads

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// desk is a book with a clock that is set by hand.
type desk struct {
	*Book
	o   Options
	now time.Time
}

func newDesk(t *testing.T, change ...func(*Options)) *desk {
	t.Helper()
	folder := t.TempDir()
	d := &desk{now: time.Unix(1_700_000_000, 0)}
	d.o = Options{
		KeyFile: filepath.Join(folder, "capability.key"), File: filepath.Join(folder, "uploads.log"),
		Now: func() time.Time { return d.now },
	}
	for _, f := range change {
		f(&d.o)
	}
	d.open(t)
	return d
}

func (d *desk) open(t *testing.T) {
	t.Helper()
	b, err := Open(d.o)
	must(t, err)
	d.Book = b
}

// offer returns the capability of an offered address.
func (d *desk) offer(t *testing.T, target upstream.UploadTarget) string {
	t.Helper()
	site, err := d.Offer(target)
	must(t, err)
	c, ok := strings.CutPrefix(site.URL, "v1/upload/")
	if !ok || site.Method != http.MethodPost {
		t.Fatalf("offered %+v", site)
	}
	return c
}

func target(n int) upstream.UploadTarget {
	d := warg.Sum([]byte(fmt.Sprint(n)))
	return upstream.UploadTarget{
		Registry: "up.example", LogID: wargtest.Name("test:a").LogID(), RecordID: warg.RecordID(d), Digest: d,
		Site: warg.UploadSite{Method: http.MethodPut, URL: "https://up.example/x?token=\"<" + fmt.Sprint(n)},
	}
}

func (d *desk) refuses(t *testing.T, doing, capability string) {
	t.Helper()
	if got, err := d.Find(capability); !errors.Is(err, &warg.Error{Kind: warg.KindNotFound}) || got != (upstream.UploadTarget{}) {
		t.Errorf("%s: %+v, %v", doing, got, err)
	}
}

func (d *desk) finds(t *testing.T, doing, capability string, want upstream.UploadTarget) {
	t.Helper()
	if got, err := d.Find(capability); err != nil || got != want {
		t.Errorf("%s: %+v, %v", doing, got, err)
	}
}

func TestOffer(t *testing.T) {
	d := newDesk(t)
	one, two := d.offer(t, target(1)), d.offer(t, target(2))
	if one == two || len(one) != base64.RawURLEncoding.EncodedLen(capabilitySize) {
		t.Errorf("offered %q and %q", one, two)
	}
	if again := d.offer(t, target(1)); again != one {
		t.Error("who asks again gets another address")
	}
	d.finds(t, "first", one, target(1))
	d.finds(t, "second", two, target(2))

	d.open(t)
	d.finds(t, "after a restart", one, target(1))
	if again := d.offer(t, target(1)); again != one {
		t.Error("who asks again after a restart gets another address")
	}

	d.now = d.now.Add(DefaultLife/2 + time.Second)
	later := d.offer(t, target(1))
	if later == one {
		t.Error("an address that is half over is offered")
	}
	d.finds(t, "half over", one, target(1))
	d.now = d.now.Add(DefaultLife/2 - time.Second)
	d.refuses(t, "over", one)
	d.finds(t, "the later one", later, target(1))
	d.open(t)
	d.refuses(t, "over, after a restart", one)
	d.finds(t, "the later one, after a restart", later, target(1))
}

// TestForgery changes every bit of a capability.
func TestForgery(t *testing.T) {
	d := newDesk(t)
	c := d.offer(t, target(1))
	raw, err := base64.RawURLEncoding.DecodeString(c)
	must(t, err)
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		d.refuses(t, fmt.Sprintf("bit %d", i), base64.RawURLEncoding.EncodeToString(raw))
		raw[i/8] ^= 1 << (i % 8)
	}
	last := c[:len(c)-1] + string(c[len(c)-1]+1) // other text for the same bytes, unless it is read strictly
	for doing, text := range map[string]string{
		"none": "", "short": c[:len(c)-2], "long": c + "AA", "padded": c + "=", "spaces": " " + c, "other text": last, "slashes": "../" + c,
	} {
		d.refuses(t, doing, text)
	}
	other := newDesk(t)
	other.refuses(t, "of another server", c)
}

// TestLostFiles: without the key or the targets old addresses are over, and new ones
// can be had.
func TestLostFiles(t *testing.T) {
	for _, lost := range []string{"capability.key", "uploads.log"} {
		d := newDesk(t)
		c := d.offer(t, target(1))
		must(t, os.Remove(filepath.Join(filepath.Dir(d.o.File), lost)))
		d.open(t)
		d.refuses(t, lost+" is lost", c)
		d.finds(t, lost+" was lost", d.offer(t, target(1)), target(1))
	}
}

func TestDamagedFiles(t *testing.T) {
	d := newDesk(t)
	one, two := d.offer(t, target(1)), d.offer(t, target(2))
	text, err := os.ReadFile(d.o.File)
	must(t, err)
	half := len(text)/2 + 10 // in the second line
	must(t, os.WriteFile(d.o.File, append(text[:half:half], '!'), 0o600))
	d.open(t)
	d.finds(t, "before the damage", one, target(1))
	d.refuses(t, "the damaged line", two)
	three := d.offer(t, target(3))
	d.open(t)
	d.finds(t, "before the damage, again", one, target(1))
	d.finds(t, "added after the damage", three, target(3))

	for i := range text {
		broken := append([]byte(nil), text...)
		broken[i] ^= 1
		must(t, os.WriteFile(d.o.File, broken, 0o600))
		d.open(t) // does not fail
	}

	for _, key := range []string{"", "00", strings.Repeat("0", 2*keySize-1) + "x"} {
		must(t, os.WriteFile(d.o.KeyFile, []byte(key), 0o600))
		if _, err := Open(d.o); !errors.As(err, new(*KeyError)) || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// TestBounds: the book neither grows without end in memory nor on disk.
func TestBounds(t *testing.T) {
	d := newDesk(t)
	d.Book.file.fsys = quick{durable.OS{}}
	for i := range maxTargets {
		d.offer(t, target(i))
	}
	if _, err := d.Offer(target(maxTargets)); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("one too many: %v", err)
	}
	d.offer(t, target(0)) // is known
	d.now = d.now.Add(DefaultLife)
	d.offer(t, target(maxTargets))
	if len(d.byName) != 1 || len(d.byTarget) != 1 {
		t.Errorf("%d are remembered after all but one are over", len(d.byName))
	}
	if s, err := os.Stat(d.o.File); err != nil || s.Size() > 1<<10 {
		t.Errorf("the file has %d bytes, %v", s.Size(), err)
	}

	e := newDesk(t)
	big := target(0)
	for i := range maxBytes / (8 << 10) {
		big.Site.URL = fmt.Sprintf("%8192d", i)
		e.Book.add(entry{name: name{byte(i), byte(i >> 8)}, end: e.now.Add(DefaultLife).Unix(), target: big})
	}
	if _, err := e.Offer(target(0)); !errors.Is(err, &warg.Error{Kind: warg.KindUnavailable}) {
		t.Errorf("too many bytes: %v", err)
	}
}

// quick is a file system that does not wait for the disk.
type quick struct{ durable.FS }

func (q quick) OpenWrite(name string) (durable.File, error) {
	f, err := q.FS.OpenWrite(name)
	return quickFile{f}, err
}

type quickFile struct{ durable.File }

func (quickFile) Sync() error { return nil }

// TestEveryCallCanFail: an address that was handed out holds after a crash, whatever
// failed before.
func TestEveryCallCanFail(t *testing.T) {
	for _, outcome := range []durable.Outcome{durable.NotPersisted, durable.Persisted, durable.Killed} {
		for n, reached := 1, true; reached; n++ {
			disk := durable.NewMemory()
			must(t, disk.Mkdir("/d"))
			must(t, disk.SyncDir("/"))
			faulty := durable.NewFault(disk)
			faulty.SetPlan(durable.Plan{At: n, Outcome: outcome, Err: errors.New("disk is tired")})
			d := &desk{now: time.Unix(1_700_000_000, 0)}
			d.o = Options{KeyFile: "/d/capability.key", File: "/d/uploads.log", FS: faulty, Now: func() time.Time { return d.now }}
			given := map[int]string{}
			b, err := Open(d.o)
			for i := 0; err == nil && i < 4; i++ {
				if site, err := b.Offer(target(i)); err == nil {
					given[i] = strings.TrimPrefix(site.URL, "v1/upload/")
				}
			}
			reached = faulty.Reached()
			if !reached && (n < 10 || len(given) != 4) {
				t.Fatalf("nothing failed at call %d, and %d addresses were given", n, len(given))
			}
			d.o.FS = disk.Crash(rand.New(rand.NewPCG(uint64(n), 1)))
			d.open(t)
			for i, c := range given {
				d.finds(t, fmt.Sprintf("call %d failed (%d): address %d", n, outcome, i), c, target(i))
			}
		}
	}
}

func TestConcurrentOffers(t *testing.T) {
	d := newDesk(t)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			site, err := d.Offer(target(i % 5))
			if err != nil {
				t.Error(err)
				return
			}
			d.finds(t, "found", strings.TrimPrefix(site.URL, "v1/upload/"), target(i%5))
		})
	}
	group.Wait()
	if len(d.byName) != 5 {
		t.Errorf("%d addresses for 5 targets", len(d.byName))
	}
}
