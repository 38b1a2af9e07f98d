package upstream

import (
	"time"

	"github.com/entrepot/entrepot/warg"
)

// LastView returns what Checkpoint last answered with, or would, without asking
// upstream or waiting for anything: servers say with it how old the ground of an
// answer is. It is not ok while nothing can be served.
func (r *Replica) LastView() (warg.View, bool) {
	v := r.view.Load()
	if v == nil {
		return warg.View{}, false
	}
	return warg.View{Signed: v.signed, Checkpoint: v.cp, VerifiedAt: time.Unix(0, r.checked.Load())}, true
}
