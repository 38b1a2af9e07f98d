package vmap

import (
	"bytes"
	"math/bits"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// parallelItems is the size from which a batch is worth the goroutines: less
	// than that is done before they have started.
	parallelItems = 16
	// taskItems is about how many items a task gets: enough to fill both lanes of
	// the hashing to the end, few enough that tasks are many more than processors.
	taskItems = 32
	// minSplit and maxSplit bound the depth at which tasks are cut off.
	minSplit, maxSplit = 2, 8
)

// Entry is a key and its value.
type Entry struct{ Key, Value []byte }

// items hashes a batch and sorts it by path. Of several entries for one key the
// last is kept.
func items(batch []Entry) []item {
	list := make([]item, len(batch))
	_ = inParallel(len(batch), func(i int) error { // hashing does not fail
		list[i] = item{path: PathOf(batch[i].Key), leaf: LeafHash(batch[i].Value), seq: i}
		return nil
	})
	return sortItems(list)
}

func sortItems(list []item) []item {
	if len(list) >= parallelItems*256 {
		sortBuckets(list)
	} else {
		slices.SortFunc(list, compareItems)
	}
	last := 0
	for i := 1; i < len(list); i++ {
		if list[i].path != list[last].path {
			last++
		}
		list[last] = list[i]
	}
	return list[:min(len(list), last+1)]
}

func compareItems(a, b item) int {
	if c := bytes.Compare(a.path[:], b.path[:]); c != 0 {
		return c
	}
	return a.seq - b.seq
}

// sortBuckets sorts a large batch: first by the first byte, then each bucket by
// itself.
func sortBuckets(list []item) {
	var end [257]int // end[v+1] is where bucket v ends, then where it begins
	for i := range list {
		end[int(list[i].path[0])+1]++
	}
	for v := range 256 {
		end[v+1] += end[v]
	}
	begin := end
	from := slices.Clone(list)
	for i := range from {
		at := &end[from[i].path[0]]
		list[*at] = from[i]
		*at++
	}
	_ = inParallel(256, func(v int) error { // nor does sorting
		slices.SortFunc(list[begin[v]:begin[v+1]], compareItems)
		return nil
	})
}

// update makes the new version below the root of an old one.
func update(store Store, old link, list []item) (*link, error) {
	root := new(link)
	split := splitDepth(len(list))
	size := len(list)
	if split >= 0 {
		size = 1 << split // above the tasks there is little
	}
	top := newBuilder(store, split, size)
	if err := top.apply(task{root, old, 0, list}); err != nil {
		return nil, err
	}
	err := inParallel(len(top.tasks), func(i int) error {
		b := newBuilder(store, -1, len(top.tasks[i].items))
		if err := b.apply(top.tasks[i]); err != nil {
			return err
		}
		return b.hash()
	})
	if err != nil {
		return nil, err
	}
	return root, top.hash()
}

func splitDepth(items int) int {
	if items < parallelItems {
		return -1
	}
	return min(max(minSplit, bits.Len(uint(items/taskItems))), maxSplit)
}

// inParallel calls do for 0 to n−1 on all processors and returns the first error.
// Indexes are handed out in runs, so that cheap calls are not slowed down by it.
func inParallel(n int, do func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 || n < parallelItems/2 {
		for i := range n {
			if err := do(i); err != nil {
				return err
			}
		}
		return nil
	}
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, workers)
	run := max(1, n/(workers*32))
	for w := range workers {
		group.Go(func() {
			for errs[w] == nil {
				from := int(next.Add(int64(run))) - run
				if from >= n {
					return
				}
				for i := from; i < min(n, from+run) && errs[w] == nil; i++ {
					errs[w] = do(i)
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
