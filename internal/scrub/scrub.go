package scrub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// Defaults of [Options]. At that rate a tebibyte takes a day and a half.
const (
	DefaultRate  = 8 << 20        // bytes a second
	DefaultEvery = 24 * time.Hour // from the beginning of a pass to that of the next
)

const (
	saveEvery = time.Minute // how much of a pass a crash can make undone
	yieldStep = time.Second // how long it waits while there is other work
	yieldMost = 30          // and how often, so that it gets on under any load
	stateMost = 4096        // bytes of the file with the progress
	retryWait = time.Minute // after an error that says nothing about the files
)

// Pace is told how many bytes were read. It waits as long as it takes to keep the rate;
// its error ends the reading.
type Pace func(bytes int) error

// Source is a kind of files to be verified.
type Source struct {
	Name string
	// Items returns what there is, sorted.
	Items func() ([]string, error)
	// Check reads one and does what is to be done about damage. It returns how much was
	// found damaged. An error is about reading, not about what was read.
	Check func(ctx context.Context, item string, pace Pace) (damaged int, err error)
}

// Options say what to verify, and how fast.
type Options struct {
	Sources []Source
	FS      durable.FS
	State   string        // file with the progress
	Rate    int64         // bytes a second, 0 = DefaultRate
	Every   time.Duration // 0 = DefaultEvery
	Delay   time.Duration // before anything is read: a start has other work
	Busy    func() bool   // whether there is other work; nil = never
	Now     func() time.Time
	Log     *slog.Logger
}

// Scrubber goes through sources. One goroutine may run it.
type Scrubber struct {
	o     Options
	owed  time.Duration // of waiting
	saved time.Time

	mu    sync.Mutex
	state state // under mu
	stats Stats // under mu
}

// state is where a pass is. It is all that is kept over restarts.
type state struct {
	Began  time.Time `json:"began"`  // the pass under way, or the last one
	Ended  time.Time `json:"ended"`  // the last full pass
	Source string    `json:"source"` // "" = none is under way
	Item   string    `json:"item"`   // done last
}

// Stats is what a scrubber did since start.
type Stats struct {
	Bytes, Items uint64
	Damages      map[string]uint64 // by source
	Ended        time.Time         // the last full pass, also before the start; zero if there was none
}

// New returns a scrubber that goes on where the last one was.
func New(o Options) *Scrubber {
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	if o.Every <= 0 {
		o.Every = DefaultEvery
	}
	if o.Busy == nil {
		o.Busy = func() bool { return false }
	}
	s := &Scrubber{o: o, stats: Stats{Damages: map[string]uint64{}}}
	for _, source := range o.Sources {
		s.stats.Damages[source.Name] = 0
	}
	s.load()
	return s
}

// load reads the progress. If it is not there, or cannot be read, a pass begins anew.
func (s *Scrubber) load() {
	text, err := durable.ReadFile(s.o.FS, s.o.State, stateMost)
	if err == nil {
		err = json.Unmarshal(text, &s.state)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.o.Log.Warn("where scrubbing was is not known", "error", err)
		s.state = state{}
	}
	s.stats.Ended = s.state.Ended
}

// Stats returns what was done since the start.
func (s *Scrubber) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats := s.stats
	stats.Damages = make(map[string]uint64, len(s.stats.Damages))
	for name, n := range s.stats.Damages {
		stats.Damages[name] = n
	}
	return stats
}

// Run goes through everything, again and again, until ctx ends.
func (s *Scrubber) Run(ctx context.Context) {
	if sleep(ctx, s.o.Delay) != nil {
		return
	}
	for {
		wait := time.Duration(0)
		if s.state.Source == "" {
			wait = s.state.Began.Add(s.o.Every).Sub(s.o.Now())
		}
		if sleep(ctx, min(wait, s.o.Every)) != nil {
			return
		}
		if err := s.pass(ctx); err != nil {
			if ctx.Err() == nil {
				s.o.Log.Warn("scrubbing waits", "error", err)
			}
			if sleep(ctx, retryWait) != nil {
				return
			}
		}
	}
}

// pass begins a pass, or goes on with one, and ends it.
func (s *Scrubber) pass(ctx context.Context) error {
	if s.state.Source == "" {
		s.state.Began = s.o.Now()
	}
	from := max(0, slices.IndexFunc(s.o.Sources, func(source Source) bool { return source.Name == s.state.Source }))
	for _, source := range s.o.Sources[from:] {
		if source.Name != s.state.Source {
			s.state.Source, s.state.Item = source.Name, ""
		}
		if err := s.through(ctx, source); err != nil {
			return errors.Join(err, s.save())
		}
	}
	s.state.Source, s.state.Item, s.state.Ended = "", "", s.o.Now()
	s.mu.Lock()
	s.stats.Ended = s.state.Ended
	s.mu.Unlock()
	s.o.Log.Debug("everything was scrubbed", "took", s.state.Ended.Sub(s.state.Began))
	return s.save()
}

// through verifies what is left of a source.
func (s *Scrubber) through(ctx context.Context, source Source) error {
	items, err := source.Items()
	if err != nil {
		return err
	}
	pace := func(bytes int) error { return s.pace(ctx, bytes) }
	for _, item := range items {
		if item <= s.state.Item {
			continue
		}
		damaged, err := source.Check(ctx, item, pace)
		s.mu.Lock()
		s.stats.Damages[source.Name] += uint64(damaged)
		s.stats.Items++
		s.mu.Unlock()
		if err != nil {
			return err
		}
		s.state.Item = item
		if now := s.o.Now(); now.Sub(s.saved).Abs() >= saveEvery {
			if err := s.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Scrubber) save() error {
	s.saved = s.o.Now()
	text, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	return durable.Replace(s.o.FS, s.o.State, append(text, '\n'), nil)
}

// pace keeps the rate, and lets other work go first.
func (s *Scrubber) pace(ctx context.Context, bytes int) error {
	s.mu.Lock()
	s.stats.Bytes += uint64(bytes)
	s.mu.Unlock()
	for range yieldMost {
		if !s.o.Busy() {
			break
		}
		if err := sleep(ctx, yieldStep); err != nil {
			return err
		}
	}
	const least = 10 * time.Millisecond // shorter waits are made together
	s.owed += time.Duration(int64(bytes) * int64(time.Second) / s.o.Rate)
	if s.owed < least {
		return ctx.Err()
	}
	owed := s.owed
	s.owed = 0
	return sleep(ctx, owed)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Reader returns a reader that keeps the pace.
func (p Pace) Reader(r io.Reader) io.Reader { return &pacedReader{r, p} }

type pacedReader struct {
	r    io.Reader
	pace Pace
}

// Read implements [io.Reader].
func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 {
		if late := p.pace(n); late != nil {
			return n, late
		}
	}
	return n, err
}
