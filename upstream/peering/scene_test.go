package peering

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// call is one question that a peer was asked.
type call struct {
	at       time.Duration // since the scene began
	what     string        // held, verify or consistency
	registry string
	length   uint64 // that was shown
}

// farPeer is a peer whose answers a test decides. The zero value holds nothing and
// agrees with everything.
type farPeer struct {
	began time.Time
	takes time.Duration // to answer
	deaf  string        // to what it never answers

	mu      sync.Mutex
	held    map[string]warg.SignedCheckpoint
	fail    func(c call) error        // nil = it answers
	verdict func(c call) warg.Verdict // nil = verified
	calls   []call
}

func (p *farPeer) ask(ctx context.Context, what, registry string, length uint64) (call, error) {
	p.mu.Lock()
	c := call{time.Since(p.began), what, registry, length}
	p.calls = append(p.calls, c)
	takes, fail := p.takes, p.fail
	p.mu.Unlock()
	if what == p.deaf {
		takes = time.Hour
	}
	if takes > 0 && !sleep(ctx, takes) {
		return c, ctx.Err()
	}
	if fail != nil {
		return c, fail(c)
	}
	return c, nil
}

func (p *farPeer) Held(ctx context.Context, registry string) (warg.SignedCheckpoint, bool, error) {
	if _, err := p.ask(ctx, "held", registry, 0); err != nil {
		return warg.SignedCheckpoint{}, false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.held[registry]
	return s, ok, nil
}

func (p *farPeer) Verify(ctx context.Context, registry string, s warg.SignedCheckpoint) (warg.Verification, error) {
	c, err := p.ask(ctx, "verify", registry, s.Unverified().LogLength)
	if err != nil {
		return warg.Verification{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verdict != nil {
		return warg.Verification{Checkpoint: p.verdict(c)}, nil
	}
	return warg.Verification{Checkpoint: warg.Verified}, nil
}

func (p *farPeer) Consistency(ctx context.Context, registry string, from, _ uint64) ([]byte, error) {
	_, err := p.ask(ctx, "consistency", registry, from)
	return []byte("proof"), err
}

// set changes what the peer answers.
func (p *farPeer) set(change func(p *farPeer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// asked returns when the peer was asked something of a registry, "" = of all.
func (p *farPeer) asked(what, registry string) (at []time.Duration) {
	for _, c := range p.all() {
		if c.what == what && (registry == "" || c.registry == registry) {
			at = append(at, c.at)
		}
	}
	return at
}

func (p *farPeer) all() []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// nearby is a registry of this side.
type nearby struct {
	domain string

	mu   sync.Mutex
	head warg.SignedCheckpoint
	none bool // there is no head
	saw  func(held *warg.SignedCheckpoint) error
	told []*warg.SignedCheckpoint // that the peer held
}

func (n *nearby) Domain() string { return n.domain }

func (n *nearby) Head() (warg.SignedCheckpoint, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, !n.none
}

func (n *nearby) Saw(ctx context.Context, _ string, held *warg.SignedCheckpoint, prove func(context.Context, uint64, uint64) ([]byte, error)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = append(n.told, held)
	if held != nil && held.Unverified().LogLength > n.head.Unverified().LogLength {
		if _, err := prove(ctx, n.head.Unverified().LogLength, held.Unverified().LogLength); err != nil {
			return err
		}
	}
	if n.saw != nil {
		return n.saw(held)
	}
	return nil
}

// set changes what is known here.
func (n *nearby) set(change func(n *nearby)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

// grow sets the length of the head.
func (n *nearby) grow(length uint64) { n.set(func(n *nearby) { n.head = headOf(length) }) }

func headOf(length uint64) warg.SignedCheckpoint {
	return warg.Checkpoint{LogLength: length}.Sign(wargtest.Alice())
}

const (
	ownDomain  = "own.example"
	peerDomain = "peer.example"
	ghost      = "ghost.example" // what the other one mirrors as well
)

// scene is a link at work, with a clock of its own.
type scene struct {
	peer       *farPeer
	own, other *nearby
	link       *Link
	ready      chan struct{} // closed when the test has prepared everything
	stop       context.CancelFunc
	ended      chan struct{}
}

// stage runs a test about a link, which begins when the test first lets time pass.
// change may be nil.
func stage(t *testing.T, change func(o *Options), test func(t *testing.T, s *scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &scene{
			peer: &farPeer{began: time.Now(), held: map[string]warg.SignedCheckpoint{}},
			own:  &nearby{domain: ownDomain, head: headOf(3)}, other: &nearby{domain: ghost, head: headOf(7)},
			ready: make(chan struct{}), ended: make(chan struct{}),
		}
		o := Options{Domain: peerDomain, Peer: s.peer, Own: s.own, Others: []Registry{s.other}, Chance: middle}
		if change != nil {
			change(&o)
		}
		s.link = New(o)
		ctx, stop := context.WithCancel(t.Context())
		s.stop = stop
		defer func() {
			stop()
			<-s.ended
		}()
		go func() {
			<-s.ready
			s.link.Run(ctx)
			close(s.ended)
		}()
		test(t, s)
	})
}

// pass lets time pass until everybody waits again.
func (s *scene) pass(d time.Duration) {
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
	time.Sleep(d)
	synctest.Wait()
}

// compare adds a registry that both sides answer for, before the link begins.
func (s *scene) compare(n *nearby) {
	s.link.o.Others = append(s.link.o.Others, n)
	s.link.news[n.domain] = &news{}
}

// The three chances that matter: a pause as short, as it is meant, and as long as may be.
func shortest(time.Duration) time.Duration  { return 0 }
func middle(d time.Duration) time.Duration  { return d / 2 }
func longest(d time.Duration) time.Duration { return d - 1 }

// count is how often a comparison ended in a way.
func (s *scene) count(r Result) uint64 { return s.link.Status().Checks[r] }

// silent is a peer that cannot be reached.
func silent(call) error { return errors.New("dial: nobody there") }

// gaps returns the pauses between moments.
func gaps(at []time.Duration) (list []time.Duration) {
	for i := 1; i < len(at); i++ {
		list = append(list, at[i]-at[i-1])
	}
	return list
}
