package archive

import (
	"cmp"
	"iter"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

// inventoryLogs returns what a cargo and all before it have of package logs,
// ascending. A nil cargo has nothing.
func (c *Cargo) inventoryLogs() iter.Seq2[upstream.CargoLog, error] {
	if c == nil {
		return func(func(upstream.CargoLog, error) bool) {}
	}
	compare := func(a, b upstream.CargoLog) int { return warg.Digest(a.LogID).Compare(warg.Digest(b.LogID)) }
	return merge(c.BaseLogs(), c.Packages(), compare, func(old, fresh upstream.CargoLog) upstream.CargoLog {
		return upstream.CargoLog{
			LogID: cmp.Or(old.LogID, fresh.LogID),
			Count: max(old.Count, fresh.First+fresh.Count),
			Named: old.Named || fresh.Named,
		}
	})
}

// inventoryContents returns the content that a cargo and all before it have,
// ascending.
func (c *Cargo) inventoryContents() iter.Seq2[warg.Digest, error] {
	if c == nil {
		return func(func(warg.Digest, error) bool) {}
	}
	fresh := func(yield func(warg.Digest, error) bool) {
		for stat, err := range c.Contents() {
			if !yield(stat.Digest, err) {
				return
			}
		}
	}
	return merge(c.BaseContents(), fresh, warg.Digest.Compare, func(old, fresh warg.Digest) warg.Digest { return cmp.Or(old, fresh) })
}

// merge returns the things of two ascending sequences, ascending. join makes one of
// those that stand in both, and is given a zero value for one that stands in one. An
// error ends it.
func merge[T any](a, b iter.Seq2[T, error], compare func(a, b T) int, join func(a, b T) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		left, right := pull(a), pull(b)
		defer left.stop()
		defer right.stop()
		for (left.ok || right.ok) && left.err == nil && right.err == nil {
			order := 0
			switch {
			case !left.ok:
				order = 1
			case !right.ok:
				order = -1
			default:
				order = compare(left.v, right.v)
			}
			x, y := none, none
			if order <= 0 {
				x = left.v
				left.step()
			}
			if order >= 0 {
				y = right.v
				right.step()
			}
			if !yield(join(x, y), nil) {
				return
			}
		}
		if err := cmp.Or(left.err, right.err); err != nil {
			yield(none, err)
		}
	}
}

// ahead is a sequence that is looked at before it is taken from.
type ahead[T any] struct {
	v    T
	err  error
	ok   bool
	next func() (T, error, bool)
	stop func()
}

func pull[T any](seq iter.Seq2[T, error]) *ahead[T] {
	a := &ahead[T]{}
	a.next, a.stop = iter.Pull2(seq)
	a.step()
	return a
}

func (a *ahead[T]) step() { a.v, a.err, a.ok = a.next() }

// until takes what is below a limit away and returns the thing that is equal to it,
// if it is there.
func (a *ahead[T]) until(compare func(v T) int) (found T, ok bool, err error) {
	for a.ok && a.err == nil && compare(a.v) < 0 {
		a.step()
	}
	if !a.ok || a.err != nil || compare(a.v) > 0 {
		return found, false, a.err
	}
	return a.v, true, nil
}
