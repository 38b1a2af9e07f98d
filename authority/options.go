package authority

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/authority/index"
	"github.com/entrepot/entrepot/authority/segment"
	trail "github.com/entrepot/entrepot/internal/audit"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/space"
	"github.com/entrepot/entrepot/warg"
)

// Options say which registry to open, and how it behaves.
type Options struct {
	Dir        string // of the authority's files; nobody else writes there
	ContentDir string // of the content of published releases
	AnchorFile string // the anchor, best on another volume; "" = "anchor" in Dir

	Domain  string          // of the registry, the value of the Warg-Registry header
	Key     warg.PrivateKey // the operator's
	KeyFile string          // where Key came from; a stamp beside it tells a lost directory from a new one. "" = no stamp

	// Namespaces are defined when the registry is created. Afterwards the registry
	// must have them; it may have more.
	Namespaces []string
	// Adopt are namespaces whose packages are those of another registry, by its domain.
	// They are defined here, and only [Authority.Adopt] adds to them; nobody may publish
	// there. Once adopted a namespace stays so, whether it is named here or not.
	Adopt map[string]string
	// Peers are registries that mirror this one, by their domains. Until each of them has
	// said, since the start, what it saw of us ([Authority.PeerSaw]), nothing is signed.
	Peers []string
	// Init says that creating the registry was asked for by name, so that it is
	// created even where no stamp can be written.
	Init bool

	Policy  *Policy       // who may publish what; nil = whoever signs, first come first served
	Content ContentPolicy // what content must be; "" = ContentWasm
	Limits  Limits

	// MaxIdle is how long a checkpoint may stand before it is signed again with a
	// newer time; 0 = one hour.
	MaxIdle time.Duration

	Now   func() time.Time // nil = time.Now
	Log   *slog.Logger     // nil = nothing is logged
	Audit *trail.Log       // what was decided; nil = that is not recorded
	// Step is called between durable effects with the names in [Steps]; an error
	// stops the authority as a crash there would. Only tests set it.
	Step func(name string) error

	FS    durable.FS   // nil = the real one
	Space *space.Watch // of the file systems; nil = one of its own, without a ballast
	// Index is where the index is kept, nil = a Badger database in Dir.
	Index index.Database

	// Heal fetches content of ours from somebody who has it, and calls keep with its bytes,
	// which are verified there. nil = nobody has.
	Heal func(ctx context.Context, d warg.Digest, keep func(io.Reader) error) error

	segments segment.Dir // sizes of segments; zero = the defaults
	byHand   bool        // no sequencer: a test calls turn
	much     uint64      // records to replay that make the index be opened for much; zero = the default
}

// Limits bound what publishers can make the authority keep. A zero value means the
// default.
type Limits struct {
	ContentSize   int64         // bytes of one content; 256 MiB
	PendingPerKey int           // records waiting for content, by signing key; 256
	Pending       int           // records accepted and not settled, in all; 65536
	PendingBytes  int64         // bytes of those; 256 MiB: they are held in memory
	PendingTTL    time.Duration // after which a record that waits for content is rejected; 24 h
	FreeSpace     uint64        // bytes below which nothing is taken in, unless Options.Space says; see space.Mark
}

// Defaults.
const (
	defaultContentSize   = 256 << 20
	defaultPendingPerKey = 256
	defaultPending       = 65536
	defaultPendingBytes  = 256 << 20
	defaultPendingTTL    = 24 * time.Hour
	defaultMaxIdle       = time.Hour

	// A segment is written with zeros 4 MiB ahead and sealed at 64 MiB: reading one
	// to its end takes well under a second, and a million records need a handful.
	defaultGrow = 4 << 20
	defaultMax  = 64 << 20
)

// Bounds that are not configurable.
const (
	maxAhead  = 2 * time.Minute      // a record's time may be ahead of ours
	maxBehind = 5 * time.Minute      // our clock may be behind the last checkpoint
	maxJump   = 365 * 24 * time.Hour // our clock may be ahead of the last checkpoint

	batchRecords = 1024    // records of one batch, and so of one crash's tail
	batchBytes   = 4 << 20 // content bytes of one batch

	// batchRoom is what a batch may take of the disk beside the index, in bytes: the
	// journal grows ahead of what is written, all else by less. Submissions are taken in
	// while there is more, so that what was taken in finds its room.
	batchRoom     = 5 << 20
	admissionRoom = 2 * batchRoom

	// pendingMax is the size at which a segment of submissions is full, in bytes. A
	// start reads the newest and looks up what became of each entry, and publishers
	// wait while a full one is reduced to its rejections.
	pendingMax = 8 << 20

	retryAfter = 5 // seconds, said with errors that pass
)

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.Dir == "" || o.ContentDir == "":
		return o, configErr("the authority needs a directory for its files and one for content")
	case o.Domain == "":
		return o, configErr("the authority needs a domain")
	case o.Key.IsZero():
		return o, configErr("the authority needs an operator key")
	}
	for _, ns := range o.Namespaces {
		if !warg.ValidNamespace(ns) {
			return o, configErr("`%s` is not a namespace: words of lower-case letters and digits, joined by hyphens", ns)
		}
	}
	orElse(&o.AnchorFile, filepath.Join(o.Dir, "anchor"))
	orElse(&o.Content, ContentWasm)
	orElse(&o.MaxIdle, defaultMaxIdle)
	orElse(&o.Limits.ContentSize, defaultContentSize)
	orElse(&o.Limits.PendingPerKey, defaultPendingPerKey)
	orElse(&o.Limits.Pending, defaultPending)
	orElse(&o.Limits.PendingBytes, defaultPendingBytes)
	orElse(&o.Limits.PendingTTL, defaultPendingTTL)
	orElse(&o.segments.Grow, defaultGrow)
	orElse(&o.segments.Max, defaultMax)
	if o.Content != ContentWasm && o.Content != ContentAny {
		return o, configErr("`%s` is not a content policy", o.Content)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.FS == nil {
		o.FS = durable.OS{}
	}
	if o.Step == nil {
		o.Step = func(string) error { return nil }
	}
	return o, nil
}

func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// ConfigError says that the registry cannot be opened the way it was configured,
// and what to do. Nothing was changed.
type ConfigError struct{ Msg string }

// Error returns the sentence for people.
func (e *ConfigError) Error() string { return e.Msg }

func configErr(format string, args ...any) error { return &ConfigError{fmt.Sprintf(format, args...)} }

// Steps returns the names that Options.Step is called with, in the order in which
// a publish comes by them.
func Steps() []string {
	return []string{
		"pendWritten", "pendSynced",
		"blobTmp", "blobSynced", "blobRenamed", "blobDirSynced",
		"batchTaken",
		"segCreated", "segDirSynced", "segWritten", "segSynced",
		"anchorTmp", "anchorSynced", "anchorRenamed", "anchorDirSynced",
		"histWritten", "histSynced",
		"indexCommitted", "visible", "answered",
	}
}
