package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// Signer is who signs where the log stands.
type Signer struct {
	Domain string // of the registry that the log is about
	Key    warg.PrivateKey
}

// SignWith has the log signed from now on: its next line, and then at least one of each
// day on which something was recorded, is followed by one of kind [Signed].
func (l *Log) SignWith(s Signer) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signer = s
}

// Daily signs what was recorded since the last signature, if that is not of today: a day
// without events leaves the end of the one before unsigned otherwise. Errors are those of
// Record.
func (l *Log) Daily() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || len(l.backlog) > 0 || l.place.n == 0 || l.last == Signed || !l.mustSign(l.o.Now()) {
		return l.err
	}
	return l.flush()
}

// mustSign reports whether the next line is to be followed by a signature.
func (l *Log) mustSign(now time.Time) bool {
	return !l.signer.Key.IsZero() && dayOf(now) != l.signed
}

func dayOf(at time.Time) string { return at.UTC().Format(time.DateOnly) }

// signedLine returns the line that signs what stands before it.
func (s Signer) signedLine(p place, at time.Time) Event {
	e := Event{Kind: Signed, Domain: s.Domain, Key: string(s.Key.Public().ID()), PublicKey: s.Key.Public().String()}
	e.Signature = s.Key.SignAuditHead(e.statement(p, stamp(at))).String()
	return e
}

// statement is what the signature of a line says, for a place and a time as they stand in
// the line: that the registry's log had that many lines then, and the last had that hash.
// Each line holds the hash of the one before, so it is about all of them.
func (e Event) statement(p place, at string) []byte {
	return fmt.Appendf(nil, "domain %s\nlines %d\nlast %s\ntime %s\n", e.Domain, p.n, p.hash.Hex(), at)
}

// signature checks the signature in a line of which before is the place it follows, and
// returns who signed.
func (l line) signature(before place) (warg.KeyID, error) {
	key, err := warg.ParsePublicKey(l.PublicKey)
	if err != nil {
		return "", err
	}
	sig, err := warg.ParseSignature(l.Signature)
	if err != nil {
		return "", err
	}
	if string(key.ID()) != l.Key {
		return "", errors.New("its key is another one than it says")
	}
	return key.ID(), key.VerifyAuditHead(l.statement(before, l.Time), sig)
}
