package upstream

import "time"

// frozenAfter is how old the signature of a checkpoint may be that upstream still shows
// as its newest. A registry signs an unchanged log anew now and then, the reference every
// five seconds and ours every hour, so that somebody on the way who keeps news back, or a
// registry that does not run any more, can be told from one that has none.
const frozenAfter = 48 * time.Hour

// frozen returns for how long upstream should have signed anew what it shows, or 0.
func (r *Replica) frozen() time.Duration {
	v := r.view.Load()
	if v == nil {
		return 0
	}
	return max(r.o.Now().Sub(time.Unix(int64(v.cp.Timestamp), 0))-frozenAfter, 0)
}

// staleness returns how much older the view is than it may be because nobody could be
// asked, or because the answer was old itself.
func (r *Replica) staleness() time.Duration { return max(r.age(), r.frozen()) }

// signed returns when the checkpoint that is served was signed.
func (r *Replica) signed() string {
	return time.Unix(int64(r.view.Load().cp.Timestamp), 0).UTC().Format(time.RFC3339)
}

// noteFrozen logs once that upstream signs nothing any more. It is called by the refresh.
func (r *Replica) noteFrozen() {
	is := r.frozen() > 0
	if v := r.view.Load(); is && !r.frozenTold {
		r.o.Log.Warn("upstream shows a checkpoint that was signed long ago", "upstream", r.o.Domain, "length", v.cp.LogLength,
			"signed", r.signed())
	}
	r.frozenTold = is
}
