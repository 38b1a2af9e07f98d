// Package uploads hands out upload addresses for content of other registries.
//
// Clients send content to a URL with neither header nor token, so the URL itself has
// to say who may upload what. It does with a capability: the name of an entry in the
// [Book], drawn at random, the time until which it holds, and a keyed hash of both.
// Whoever was not given it cannot guess it, and nobody can make it last longer.
//
// A capability, in unpadded base64url, is
//
//	16 bytes  name, random
//	 8 bytes  the second at which it ends, since the Unix epoch, big endian
//	32 bytes  HMAC-SHA256 of "entrepot upload\n" and the 24 bytes before
//
// What it stands for, an [upstream.UploadTarget], is in the book's file, one line of
// JSON and its checksum for each, synced before the address is handed out: uploads go
// on after a restart. If the file or the key is lost, clients have to ask for the
// state of their record again, and are given new addresses.
package uploads

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// Options say where a book is.
type Options struct {
	KeyFile string // the secret; made if it does not exist
	File    string // the targets
	FS      durable.FS
	Life    time.Duration // of an address, 0 = DefaultLife
	Now     func() time.Time
	Log     *slog.Logger
}

// DefaultLife is how long an address holds: as long as registries wait for content.
const DefaultLife = 24 * time.Hour

// Bounds on what is remembered. Who was refused may come again when others are done.
const (
	maxTargets = 1 << 14
	maxBytes   = 32 << 20 // of all targets' URLs
	fullRetry  = 60       // seconds
)

const (
	nameSize       = 16
	endSize        = 8
	capabilitySize = nameSize + endSize + sha256.Size
	purpose        = "entrepot upload\n"
)

type name [nameSize]byte

// entry is a target with the time until which its address holds.
type entry struct {
	name   name
	end    int64 // Unix seconds
	target upstream.UploadTarget
}

// Book knows what the addresses stand for that it handed out. It is safe for
// concurrent use.
type Book struct {
	o   Options
	key []byte

	mu       sync.Mutex
	byName   map[name]entry
	byTarget map[upstream.UploadTarget]name // the newest address
	bytes    int                            // of URLs in byName
	file     targetsFile
}

var _ upstream.Offers = (*Book)(nil)

// Open reads a book, or begins one.
func Open(o Options) (*Book, error) {
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Life <= 0 {
		o.Life = DefaultLife
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	key, err := readKey(o.FS, o.KeyFile)
	if err != nil {
		return nil, err
	}
	b := &Book{o: o, key: key, byName: map[name]entry{}, byTarget: map[upstream.UploadTarget]name{}}
	b.file = targetsFile{fsys: o.FS, path: o.File}
	entries, err := b.file.read(o.Log)
	if err != nil {
		return nil, err
	}
	now := o.Now().Unix()
	for _, e := range entries {
		if e.end > now {
			b.add(e)
		}
	}
	return b, nil
}

func (b *Book) add(e entry) {
	b.byName[e.name] = e
	b.byTarget[e.target] = e.name
	b.bytes += len(e.target.Site.URL)
}

func (b *Book) remove(e entry) {
	delete(b.byName, e.name)
	if b.byTarget[e.target] == e.name {
		delete(b.byTarget, e.target)
	}
	b.bytes -= len(e.target.Site.URL)
}

// Offer returns an address for an upload, relative to our base URL. Who asks again
// gets the same one, until half of its life is over. What it stands for is durable.
//
//	KindUnavailable  too many uploads are under way
//	KindNoSpace
func (b *Book) Offer(t upstream.UploadTarget) (warg.UploadSite, error) {
	now := b.o.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	given, ok := b.byTarget[t]
	e := b.byName[given]
	if !ok || now.Add(b.o.Life/2).Unix() > e.end {
		if err := b.makeRoom(t, now.Unix()); err != nil {
			return warg.UploadSite{}, err
		}
		e = entry{end: now.Add(b.o.Life).Unix(), target: t}
		_, _ = rand.Read(e.name[:]) // never fails
		if err := b.keep(e, now.Unix()); err != nil {
			return warg.UploadSite{}, err
		}
		b.add(e)
	}
	return warg.UploadSite{Method: http.MethodPost, URL: api.PathUploadCapability(b.capability(e))}, nil
}

// makeRoom forgets what is over if there is no room for another target.
func (b *Book) makeRoom(t upstream.UploadTarget, now int64) error {
	full := func() bool { return len(b.byName) >= maxTargets || b.bytes+len(t.Site.URL) > maxBytes }
	if full() {
		b.forget(now)
	}
	if full() {
		return &warg.Error{Kind: warg.KindUnavailable, RetryAfter: fullRetry, Message: "too many uploads to other registries are under way"}
	}
	return nil
}

func (b *Book) forget(now int64) {
	for _, e := range b.byName {
		if e.end <= now {
			b.remove(e)
		}
	}
}

// keep writes an entry to the file, or, once most lines are over, the file anew.
func (b *Book) keep(e entry, now int64) (err error) {
	if b.file.due(len(b.byName)) {
		b.forget(now)
		err = b.file.rewrite(b.byName, e)
	} else {
		err = b.file.append(e)
	}
	if durable.IsNoSpace(err) {
		return &warg.Error{Kind: warg.KindNoSpace, RetryAfter: fullRetry, Message: "no space left on this server", Err: err}
	}
	if err != nil {
		return fmt.Errorf("keeping the target of an upload: %w", err)
	}
	return nil
}

// capability returns the text that stands for an entry.
func (b *Book) capability(e entry) string {
	c := binary.BigEndian.AppendUint64(e.name[:], uint64(e.end))
	return base64.RawURLEncoding.EncodeToString(b.sum(c))
}

// sum appends the keyed hash of what is before it.
func (b *Book) sum(c []byte) []byte {
	mac := hmac.New(sha256.New, b.key)
	mac.Write([]byte(purpose))
	mac.Write(c)
	return mac.Sum(c)
}

// Find returns what a capability stands for.
//
//	KindNotFound  it was not given out, or does not hold any more
func (b *Book) Find(capability string) (upstream.UploadTarget, error) {
	unknown := warg.Errorf(warg.KindNotFound, "this upload address does not hold, or does not any more; ask for the state of the record to get another one")
	c, err := base64.RawURLEncoding.Strict().DecodeString(capability)
	if err != nil || len(c) != capabilitySize {
		return upstream.UploadTarget{}, unknown
	}
	signed := c[: nameSize+endSize : nameSize+endSize]
	if !hmac.Equal(b.sum(signed), c) {
		return upstream.UploadTarget{}, unknown
	}
	end := int64(binary.BigEndian.Uint64(signed[nameSize:]))
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.byName[name(signed[:nameSize])]
	if !ok || e.end != end || end <= b.o.Now().Unix() {
		return upstream.UploadTarget{}, unknown
	}
	return e.target, nil
}
