package upstream

import "github.com/entrepot/entrepot/internal/durable"

// unsynced is a file system for what nobody needs after a crash.
type unsynced struct{ durable.FS }

// SyncDir does nothing.
func (unsynced) SyncDir(string) error { return nil }

// Create implements [durable.FS].
func (u unsynced) Create(name string) (durable.File, error) {
	f, err := u.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// OpenWrite implements [durable.FS].
func (u unsynced) OpenWrite(name string) (durable.File, error) {
	f, err := u.FS.OpenWrite(name)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ durable.File }

// Sync does nothing.
func (unsyncedFile) Sync() error { return nil }

// Datasync does nothing.
func (unsyncedFile) Datasync() error { return nil }
