package cas

import (
	"sync"

	"github.com/entrepot/entrepot/internal/durable"
)

// syncRound makes files durable together: whoever arrives while a round is
// running joins the next one, where files are synced side by side and each
// directory once. Under load many uploads share the wait for the disk.
type syncRound struct {
	mu      sync.Mutex
	waiting []*unit // under mu
	running bool    // under mu
}

// unit is one file on its way from its temporary name to its final one. It
// belongs to the round from join until done is closed.
type unit struct {
	file      durable.File
	tmp       string
	dir, name string
	err       error
	done      chan struct{}
}

// join takes part in the next round and returns when the file is durable.
func (r *syncRound) join(s *Store, u *unit) error {
	u.done = make(chan struct{})
	r.mu.Lock()
	r.waiting = append(r.waiting, u)
	lead := !r.running
	r.running = true
	r.mu.Unlock()
	if lead {
		r.lead(s)
	}
	<-u.done
	return u.err
}

// lead runs one round and hands the lead on if others arrived meanwhile.
func (r *syncRound) lead(s *Store) {
	r.mu.Lock()
	batch := r.waiting
	r.waiting = nil
	r.mu.Unlock()
	s.run(batch)
	r.mu.Lock()
	r.running = len(r.waiting) > 0
	more := r.running
	r.mu.Unlock()
	if more {
		go r.lead(s)
	}
}

// run takes a batch through the stages. A unit that failed stays behind.
func (s *Store) run(batch []*unit) {
	each(batch, func(u *unit) error {
		if err := u.file.Sync(); err != nil {
			return storeErr(err, "syncing %s", u.tmp)
		}
		return s.step("blobSynced")
	})
	dirs := map[string][]*unit{}
	for _, u := range batch {
		if u.err != nil {
			continue
		}
		if err := s.fs.Rename(u.tmp, u.name); err != nil {
			u.err = writeErr(err, "naming %s", u.name)
			continue
		}
		u.err = s.step("blobRenamed")
		dirs[u.dir] = append(dirs[u.dir], u)
	}
	var wg sync.WaitGroup
	for dir, units := range dirs {
		wg.Go(func() { s.syncDir(dir, units) })
	}
	wg.Wait()
	for _, u := range batch {
		close(u.done)
	}
}

func (s *Store) syncDir(dir string, units []*unit) {
	err := s.fs.SyncDir(dir)
	for _, u := range units {
		switch {
		case u.err != nil:
		case err != nil:
			u.err = storeErr(err, "syncing %s", dir)
		default:
			u.err = s.step("blobDirSynced")
		}
	}
}

// maxSyncs bounds the syncs under way at once: enough to keep a disk's queue
// busy, few enough not to occupy all threads.
const maxSyncs = 16

// each calls f for all units side by side.
func each(batch []*unit, f func(*unit) error) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxSyncs)
	for _, u := range batch {
		slots <- struct{}{}
		wg.Go(func() {
			u.err = f(u)
			<-slots
		})
	}
	wg.Wait()
}
