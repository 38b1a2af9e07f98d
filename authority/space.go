package authority

import (
	"log/slog"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
)

// The default watermark is the smaller of these.
const (
	freeBytes = 2 << 30
	freeShare = 20 // a twentieth of the file system
)

// lookEvery is how old the answer of the file system may be: even at full speed
// little is written meanwhile, compared with the watermark.
const lookEvery = time.Second

// space watches the free space of the file systems that are written to.
type space struct {
	fs   durable.FS
	dirs []string
	want uint64 // bytes, 0 = the default watermark
	log  *slog.Logger

	mu   sync.Mutex
	at   time.Time // under mu: when it was looked last
	low  bool      // under mu
	once bool      // under mu: at is valid
}

// enough reports whether there is room for more. A file system that cannot be
// asked counts as one with room: writing will tell.
func (s *space) enough(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.once && now.Sub(s.at).Abs() < lookEvery {
		return !s.low
	}
	was := s.low
	s.at, s.once, s.low = now, true, false
	for _, dir := range s.dirs {
		free, err := s.fs.Space(dir)
		if err != nil {
			s.log.Warn("free space is not known", "dir", dir, "error", err)
			continue
		}
		want := s.want
		if want == 0 {
			want = min(freeBytes, free.Total/freeShare)
		}
		s.low = s.low || free.Free < want
	}
	if s.low != was {
		s.log.Warn("free space", "low", s.low)
	}
	return !s.low
}

// look returns the last answer.
func (s *space) look() (low bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.low
}
