package sim

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// What becomes of a registry after a disaster.
const (
	byItself    = "opened by themselves: the peer had seen nothing more"
	byPeer      = "brought back by the peer"
	byWord      = "brought back by the operator's word: the peer was behind what is there"
	peerBehind  = "left fenced: the peer is behind an anchor that survived"
	peerPartial = "left fenced: the peer had seen a head whose records it had not fetched"

	contentGone = "contents lost of records that the peer had, and whose content it had not fetched"
	interrupted = "recoveries that were interrupted, and done again"
	lostBeyond  = "checkpoints and acknowledgements lost that no peer had seen"
)

var outcomes = []string{byItself, byPeer, byWord, peerBehind, peerPartial, contentGone, interrupted, lostBeyond}

// harm is what happened to a disk.
type harm struct {
	text    string
	old     bool            // it is as it once was, or empty
	whole   bool            // the journal has all that the anchor there, if there is one, knows
	mayLose bool            // what was shown may be gone, as far as the peer did not see it
	best    warg.Checkpoint // what the operator can vouch for where the journal is whole
}

// disaster takes away the disk, or puts an old one in its place, and sees the registry
// through until it is back. It reports whether it came back.
func (d *drill) disaster() bool {
	d.kill()
	newest := d.book.last
	h := d.strike()
	known, anchored := d.anchor()
	h.mayLose, h.best = h.old && known.LogLength < newest.LogLength, newest
	if h.old && h.whole {
		h.best = d.book.heads[known.LogLength]
		h.best.Timestamp = known.Timestamp // it may have been signed again since
	}
	d.tell("%s; anchored at %d (%t), shown %d, the peer has seen %d and has %d", h.text, known.LogLength, anchored, newest.LogLength, d.seen(), d.complete)
	d.silence.Store(true)
	if d.startAfter(anchored) {
		d.closed()
		if d.r.IntN(2) == 0 && d.hearAfter(known) {
			d.back(h, byItself, known.LogLength)
			return len(d.book.verdict()) == 0
		}
		d.kill()
	}
	how := d.recover(h, newest.LogLength)
	if how == peerBehind || how == peerPartial {
		d.tally.add(how, 1)
		d.tell("%s", how)
		if d.startAfter(anchored) {
			d.hear()
			d.closed()
		}
		return false
	}
	d.start()
	d.closed()
	d.silence.Store(false)
	d.hear()
	if f := d.own.Status().Fence; f != nil {
		d.book.guilty("it is fenced after it was brought back: %s", f.Reason)
		return false
	}
	to := max(known.LogLength, d.seen())
	if how == byWord {
		to = h.best.LogLength
	}
	d.back(h, how, to)
	return len(d.book.verdict()) == 0
}

// strike changes the disk.
func (d *drill) strike() harm {
	now := d.disk.Crash(d.r)
	kind, both := d.r.IntN(5), d.r.IntN(2) == 0
	within := d.anchorFile == "/data/authority/anchor"
	switch kind {
	case 0: // as the snapshot of a machine has it
		d.disk = d.snap.disk.Crash(nil)
		if !both {
			d.put(now, "/volume", "/keys")
		}
		return harm{text: "the disk is as it was", old: true, whole: both || within}
	case 1: // copied into another directory
		d.fresh()
		d.put(d.snap.disk, "/data")
		if both {
			d.put(d.snap.disk, "/volume", "/keys")
		} else {
			d.put(now, "/volume", "/keys")
		}
		return harm{text: "an old copy is put in its place", old: true, whole: both || within}
	case 2, 3:
		d.disk = now
		gone := []string{d.anchorFile}
		if both {
			gone = append(gone, "/data/authority/anchor.log")
		}
		for _, name := range gone {
			if err := d.disk.Remove(name); !errors.Is(err, fs.ErrNotExist) {
				d.must(err)
			}
		}
		d.must(d.disk.SyncDir(filepath.Dir(d.anchorFile)))
		d.must(d.disk.SyncDir("/data/authority"))
		return harm{text: "lost: " + strings.Join(gone, " and "), whole: true}
	default:
		d.fresh()
		if both {
			d.put(now, "/keys")
			return harm{text: "data and anchor are lost", old: true}
		}
		d.put(now, "/volume", "/keys")
		return harm{text: "data is lost", old: true}
	}
}

// fresh puts an empty disk in, whose directories are others than before.
func (d *drill) fresh() {
	d.disk = durable.NewMemory()
	for range 50 {
		d.must(durable.MkdirAll(d.disk, "/other/"+d.name()))
	}
	for _, dir := range []string{"/data", "/volume", "/keys"} {
		d.must(durable.MkdirAll(d.disk, dir))
	}
}

// put copies files of another disk over ours.
func (d *drill) put(from *durable.Memory, dirs ...string) {
	for _, dir := range dirs {
		files := from.Tree(dir)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			d.must(durable.MkdirAll(d.disk, filepath.Dir(name)))
			d.must(durable.Replace(d.disk, name, []byte(files[name]), nil))
		}
	}
}

// anchor returns what the anchor that is there says.
func (d *drill) anchor() (c warg.CheckpointClaims, ok bool) {
	a, err := anchor.NewFile(d.disk, d.anchorFile, "the drill").Load()
	if err != nil {
		return c, false
	}
	return a.Signed.Unverified(), true
}

// startAfter starts the registry after a disaster, and reports whether it runs. It does
// not where the stamp beside the key says that everything is missing.
func (d *drill) startAfter(anchored bool) bool {
	d.fault = durable.NewFault(d.disk)
	own, err := authority.Open(d.t.Context(), d.options(d.fault))
	if errors.As(err, new(*authority.ConfigError)) && !anchored {
		d.tell("it does not start: %v", err)
		return false
	}
	d.must(err)
	d.own = own
	f := own.Status().Fence
	if f == nil {
		d.book.guilty("it starts after a disaster, before its peer was heard")
		return true
	}
	d.tell("fenced (%s)", f.Kind)
	return true
}

// ahead reports whether the peer has seen more than what is known of a length: a longer
// log, or the same one signed later, behind which time must not go back.
func (d *drill) ahead(length, timestamp uint64) bool {
	held, _ := d.peer.Held()
	c := held.Unverified()
	return c.LogLength > length || c.LogLength == length && c.Timestamp > timestamp
}

// hearAfter has the registry hear its peer, and reports whether that opens it.
func (d *drill) hearAfter(known warg.CheckpointClaims) bool {
	before := d.own.Status().Fence
	ahead := d.ahead(known.LogLength, known.Timestamp)
	d.silence.Store(ahead || before.Kind != authority.FencePeers)
	d.hear()
	f := d.own.Status().Fence
	switch {
	case ahead && (f == nil || f.Kind != authority.FenceBehind):
		d.book.guilty("the peer has seen length %d, %d is anchored, and the fence is %+v", d.seen(), known.LogLength, f)
	case !ahead && before.Kind == authority.FencePeers && f != nil && known.LogLength > 0:
		d.book.guilty("the peer has seen nothing more, and it is fenced: %s", f.Reason)
	}
	return f == nil
}

// recover brings the registry back, and says how.
func (d *drill) recover(h harm, newest uint64) string {
	var word *authority.Word
	for attempt := 0; ; attempt++ {
		f := durable.NewFault(d.disk)
		if attempt < 3 && d.r.IntN(2) == 0 {
			f.SetPlan(durable.Plan{At: 1 + d.r.IntN(120), Outcome: durable.Outcome(d.r.IntN(3)), Err: syscall.EIO, Match: inOrder})
		}
		known, anchored := d.anchor()
		healed, err := d.heal(f, word)
		f.Kill()
		switch {
		case err == nil:
			d.without(healed.Lacking)
			if !anchored && word == nil {
				d.book.guilty("without an anchor, and nobody's word, %d to %d are taken over", healed.From, healed.To)
			}
			d.tell("%d to %d are taken over", healed.From, healed.To)
			return byPeer
		case errors.Is(err, errIncomplete):
			if d.complete >= d.seen() {
				d.book.guilty("a peer that has everything cannot give it: %v", err)
			}
			return d.accept(h, peerPartial)
		case f.Reached():
			d.tally.add(interrupted, 1)
			d.tell("interrupted: %v", err)
			d.disk = d.disk.Crash(d.r)
			d.peep()
		case errors.As(err, new(*authority.NeedWordError)):
			if word != nil || anchored && known.LogLength > 0 {
				d.book.guilty("a word is asked for although it is known what was issued: %v", err)
				return peerBehind
			}
			if h.whole && d.seen() < newest { // whoever vouches knows that there was more
				return d.accept(h, peerBehind)
			}
			word = d.vouch()
		case errors.As(err, new(*authority.RefusedError)):
			d.tell("refused: %v", err)
			if d.seen() >= newest {
				d.book.guilty("a peer that has seen everything is refused: %v", err)
			}
			return d.accept(h, peerBehind)
		default:
			d.book.guilty("the recovery ends with: %v", err)
			return peerBehind
		}
	}
}

// without takes down which content the peer had not fetched when it had seen the records
// that name it. It may lack no other.
func (d *drill) without(lacking []warg.Digest) {
	d.tally.add(contentGone, len(lacking))
	for _, digest := range lacking {
		for id, a := range d.book.acks {
			if a.content != digest {
				continue
			}
			if a.index < d.complete {
				d.book.guilty("the peer has not the content of record %s at %d, although it has everything up to %d", id, a.index, d.complete)
			}
			a.content = warg.Digest{}
			d.book.acks[id] = a
		}
	}
}

// inOrder chooses calls that come in the same order each time: the folders of the content
// store are synced side by side.
func inOrder(op durable.Op, name string) bool {
	return op != durable.OpSyncDir || !strings.HasPrefix(name, "/data/content")
}

// vouch returns the operator's word for what the peer has seen.
func (d *drill) vouch() *authority.Word {
	head, _ := d.peer.Held()
	root, err := head.Unverified().LogRoot.Digest()
	d.must(err)
	word := &authority.Word{Length: head.Unverified().LogLength, LogRoot: root}
	d.tell("an operator vouches for %s", word)
	return word
}

// peep starts what an interrupted recovery has left, now and then: it is fenced.
func (d *drill) peep() {
	if d.r.IntN(2) == 0 {
		return
	}
	if _, anchored := d.anchor(); !d.startAfter(anchored) {
		return
	}
	d.closed()
	d.kill()
	d.disk = d.disk.Crash(nil)
}

// accept takes the operator's word where the journal is whole, and the peer has seen
// nothing more; else the registry stays as it is.
func (d *drill) accept(h harm, otherwise string) string {
	if !h.whole || d.ahead(h.best.LogLength, h.best.Timestamp) {
		return otherwise
	}
	w := authority.Word{Length: h.best.LogLength, LogRoot: h.best.LogRoot}
	d.must(authority.Accept(d.t.Context(), d.options(d.disk), w))
	d.tell("an operator vouches for %s", w)
	return byWord
}

// back judges a registry that is open again, from a length on.
func (d *drill) back(h harm, how string, from uint64) {
	d.silence.Store(false)
	d.tally.add(how, 1)
	d.tally.add(lostBeyond, d.book.cut(from, d.seen(), h.mayLose))
	d.forget()
	d.must(d.own.DefineNamespace(d.t.Context(), d.name())) // it goes on, whatever it did first
	d.look()
	d.inspect()
	d.line.Store(d.own)
	d.tell("%s, from length %d on", how, from)
}

// end judges everything once more, and the mirror.
func (d *drill) end() {
	if len(d.book.verdict()) > 0 {
		return
	}
	d.follow()
	d.look()
	d.inspect()
	v, err := d.view()
	d.must(err)
	if st := d.peer.Status(); st.Quarantine != nil || st.LogLength != v.Checkpoint.LogLength {
		d.book.guilty("the mirror has length %d of %d, and its quarantine is %+v", st.LogLength, v.Checkpoint.LogLength, st.Quarantine)
	}
}
