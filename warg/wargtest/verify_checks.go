package wargtest

import (
	"testing"

	"github.com/entrepot/entrepot/warg"
)

func verifyChecks() []check {
	return []check{
		{"verify", checkVerify},
		{"verify/forged", checkVerifyForged},
		{"verify/resigned", checkVerifyResigned},
	}
}

// verdict asks what the registry thinks of a checkpoint.
func (s *scene) verdict(t testing.TB, doing string, c warg.SignedCheckpoint, want warg.Verification) {
	t.Helper()
	got, err := s.Registry.VerifyCheckpoint(t.Context(), c)
	if err != nil || got.Checkpoint != want.Checkpoint || got.Signature != want.Signature {
		t.Errorf("%s: got %s and %s, %v; want %s and %s", doing, got.Checkpoint, got.Signature, err, want.Checkpoint, want.Signature)
	}
}

// checkVerify: every checkpoint that was signed is verified.
func checkVerify(t testing.TB, s *scene) {
	for _, v := range s.world.views {
		s.verdict(t, "verifying a checkpoint", v.Signed, warg.Verification{Checkpoint: warg.Verified, Signature: warg.Verified})
	}
}

// checkVerifyForged: what the registry never signed is not verified. A registry that
// may not know all yet can say that of lengths beyond what it knows, with a time
// after which to ask again. What is said of a signature that was taken from a true
// checkpoint is left open: the reference calls it verified wherever it occurs with
// the length it belongs to.
func checkVerifyForged(t testing.TB, s *scene) {
	view := s.world.views[1]
	mallory := Stranger("mallory")
	s.verdict(t, "verifying a stranger's signature", view.Checkpoint.Sign(mallory), warg.Verification{Checkpoint: warg.Verified, Signature: warg.Invalid})

	for _, change := range []func(*warg.CheckpointClaims){
		func(c *warg.CheckpointClaims) { c.LogRoot = warg.Sum([]byte("x")).AnyHash() },
		func(c *warg.CheckpointClaims) { c.MapRoot = warg.Sum([]byte("x")).AnyHash() },
		func(c *warg.CheckpointClaims) { c.LogRoot, c.MapRoot = c.MapRoot, c.LogRoot },
		func(c *warg.CheckpointClaims) { c.LogLength = s.world.views[0].Checkpoint.LogLength },
		func(c *warg.CheckpointClaims) { c.LogLength = 0 },
	} {
		claims := view.Checkpoint.Claims()
		change(&claims)
		forged := warg.NewSignedCheckpoint(claims, view.Signed.KeyID(), view.Signed.Signature())
		if got, err := s.Registry.VerifyCheckpoint(t.Context(), forged); err != nil || got.Checkpoint != warg.Invalid {
			t.Errorf("verifying %+v: got %s, %v; want it to be invalid", claims, got.Checkpoint, err)
		}
	}

	claims := view.Checkpoint.Claims()
	claims.LogLength = s.world.latest().LogLength + 1000
	got, err := s.Registry.VerifyCheckpoint(t.Context(), warg.NewSignedCheckpoint(claims, view.Signed.KeyID(), view.Signed.Signature()))
	undecided := got.Checkpoint == warg.Unverified && got.RetryAfter > 0
	if err != nil || got.Signature == warg.Verified || got.Checkpoint != warg.Invalid && !undecided {
		t.Errorf("verifying a checkpoint of the future: got %+v, %v", got, err)
	}
}

// checkVerifyResigned: a checkpoint with another timestamp is the same checkpoint; its
// signature is judged by itself.
func checkVerifyResigned(t testing.TB, s *scene) {
	c := s.world.latest()
	c.Timestamp++
	s.verdict(t, "verifying another timestamp by a stranger", c.Sign(Stranger("mallory")), warg.Verification{Checkpoint: warg.Verified, Signature: warg.Invalid})
	if s.OperatorSecret.IsZero() {
		return
	}
	s.verdict(t, "verifying a checkpoint signed again", c.Sign(s.OperatorSecret), warg.Verification{Checkpoint: warg.Verified, Signature: warg.Verified})
	c.MapRoot = warg.Sum([]byte("another map"))
	s.verdict(t, "verifying another map under a good signature", c.Sign(s.OperatorSecret), warg.Verification{Checkpoint: warg.Invalid, Signature: warg.Verified})
}
