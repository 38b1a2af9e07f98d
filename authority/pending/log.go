package pending

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"

	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Errors of [Log.Write].
var (
	ErrNoSpace = errors.New("no space left for submissions")
	ErrClosed  = errors.New("the log of submissions is closed")
)

// Bounds of one group: what is written before one sync.
const (
	maxGroup      = 1024    // entries
	maxGroupBytes = 4 << 20 // payload bytes
)

// Options say where the log is and what it works with.
type Options struct {
	Dir      *segment.Dir
	Registry warg.Digest
	Log      *slog.Logger
	// Live yields everything that is accepted and not settled; it is asked when a
	// new segment begins. It must not wait for the log.
	Live func() iter.Seq[Entry]
	// From is the first segment whose rejections the caller does not know yet.
	From uint64
	// Step is called with pendWritten and pendSynced; its error ends the log.
	Step func(name string) error
}

// Log is an open log of submissions. It is safe for concurrent use.
type Log struct {
	o        Options
	requests chan *request
	stop     chan struct{} // closed by Close
	done     chan struct{} // closed when run has ended
	close    sync.Once

	mu   sync.Mutex
	err  error            // under mu: why run ended early
	open *segment.Segment // written by run only, under mu
}

// request is an entry on its way to the disk.
type request struct {
	payload []byte
	err     chan error // buffered
}

// Open opens the log, reports what stands in it in the order of its writing, and
// starts the goroutine that writes. A record may be reported as accepted although
// it is settled: only the newest segment's entries are told apart from history.
func Open(o Options, visit func(Entry) error) (*Log, error) {
	l := &Log{o: o, requests: make(chan *request, maxGroup), stop: make(chan struct{}), done: make(chan struct{})}
	if err := l.load(visit); err != nil {
		return nil, fmt.Errorf("opening the log of submissions: %w", err)
	}
	go l.run()
	return l, nil
}

// Write makes an entry durable. A lack of space is [ErrNoSpace]: nothing was
// written, and it may be tried again. After any other error the log is finished.
func (l *Log) Write(e Entry) error {
	r := &request{payload: e.encode(), err: make(chan error, 1)}
	select {
	case <-l.done:
		return l.ended() // not by chance into a queue that nobody reads
	default:
	}
	select {
	case l.requests <- r:
	case <-l.done:
		return l.ended()
	}
	select {
	case err := <-r.err:
		return err
	case <-l.done:
		select {
		case err := <-r.err: // answered just before the end
			return err
		default:
			return l.ended()
		}
	}
}

func (l *Log) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(ErrClosed, l.err)
}

// Segment returns the number of the newest segment. Rejections up to the segment
// before it are never reported again to a caller that opens the log from there.
func (l *Log) Segment() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		return 0
	}
	return l.open.Number
}

// Close ends the log. Entries that were not answered may or may not be durable.
func (l *Log) Close() error {
	l.close.Do(func() { close(l.stop) })
	<-l.done
	return l.open.Close()
}

// run writes groups until the log is closed or an error ends it.
func (l *Log) run() {
	defer close(l.done)
	for {
		var group []*request
		select {
		case <-l.stop:
			return
		case first := <-l.requests:
			group = l.gather(first)
		}
		err := l.write(group)
		for _, r := range group {
			r.err <- err
		}
		if err != nil && !errors.Is(err, ErrNoSpace) {
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
			return
		}
	}
}

// gather takes everything that waits, within the bounds of a group.
func (l *Log) gather(first *request) []*request {
	group, bytes := []*request{first}, len(first.payload)
	for len(group) < maxGroup && bytes < maxGroupBytes {
		select {
		case r := <-l.requests:
			group, bytes = append(group, r), bytes+len(r.payload)
		default:
			return group
		}
	}
	return group
}

// write makes a group durable.
func (l *Log) write(group []*request) error {
	payloads, total := make([][]byte, len(group)), 0
	for i, r := range group {
		payloads[i] = r.payload
		total += len(r.payload)
	}
	if !l.open.Fits(len(payloads), total) {
		if err := l.roll(); err != nil {
			return err
		}
	}
	if err := l.append(l.open, payloads); err != nil {
		return err
	}
	return l.step("pendSynced")
}

// append writes payloads to a segment and syncs it. Only the lack of space while
// writing can be taken back.
func (l *Log) append(s *segment.Segment, payloads [][]byte) error {
	for len(payloads) > 0 {
		n, bytes := 0, 0
		for n < len(payloads) && n < maxGroup && bytes < maxGroupBytes {
			bytes += len(payloads[n])
			n++
		}
		if _, err := s.Append(payloads[:n]); err != nil {
			return noSpace(err)
		}
		payloads = payloads[n:]
	}
	if err := l.step("pendWritten"); err != nil {
		return err
	}
	return s.Sync()
}

func noSpace(err error) error {
	if durable.IsNoSpace(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

func (l *Log) step(name string) error {
	if l.o.Step == nil {
		return nil
	}
	return l.o.Step(name)
}
