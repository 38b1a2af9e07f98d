package authority

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/entrepot/entrepot/authority/anchor"
	"github.com/entrepot/entrepot/authority/segment"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/oplog"
)

// anyFiles reports whether there are files of a registry, besides the anchor.
func (a *Authority) anyFiles() (bool, error) {
	if ok, err := durable.Exists(a.fs, a.path(historyFile)); ok || err != nil {
		return ok, err
	}
	for _, dir := range []string{logDir, pendingDir} {
		entries, err := a.fs.ReadDir(a.path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), segment.Suffix) {
				return true, nil
			}
		}
	}
	return false, nil
}

// stamp reads the stamp beside the operator's key.
func (a *Authority) stamp() (anchor.Stamp, bool, error) {
	if a.o.KeyFile == "" {
		return anchor.Stamp{}, false, nil
	}
	return anchor.ReadStamp(a.fs, a.o.KeyFile)
}

// refuseLost returns an error if the key was used for a registry of which there is
// nothing here: a disk that is not mounted must not become a second registry.
func (a *Authority) refuseLost() error {
	stamp, ok, err := a.stamp()
	if !ok || err != nil {
		return err
	}
	if ok, err := durable.Exists(a.fs, a.o.AnchorFile); ok || err != nil {
		return err
	}
	if found, err := a.anyFiles(); found || err != nil {
		return err // fenced, later
	}
	return configErr("data missing or not mounted: the operator key %s signs for registry %s, but there is nothing of it in %s; if it is gone for good, make a new key and remove %s",
		a.o.KeyFile, stamp.Domain, a.o.Dir, anchor.StampPath(a.o.KeyFile))
}

// writeStamp writes the stamp beside the operator's key. Where that folder cannot
// be written, only somebody who asked for a new registry gets one without stamp.
func (a *Authority) writeStamp() error {
	if a.o.KeyFile == "" {
		return nil
	}
	err := anchor.WriteStamp(a.fs, a.o.KeyFile, a.registry, a.o.Domain)
	readOnly := errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS)
	switch {
	case readOnly && !a.anchor.IsGenesis(), readOnly && a.o.Init:
		a.o.Log.Warn("no stamp beside the operator key: a lost data directory will not be noticed", "error", err)
		return nil
	case readOnly:
		return configErr("the folder of the operator key %s cannot be written, so a lost data directory would not be noticed: create the registry with `entrepot init`", a.o.KeyFile)
	}
	return err
}

// newRegistry returns the id of a registry that begins now.
func (a *Authority) newRegistry() warg.Digest {
	nanos := binary.BigEndian.AppendUint64(nil, uint64(a.o.Now().UnixNano()))
	return warg.Sum([]byte("entrepot registry\n"+a.o.Domain+"\n"+string(a.keyID)+"\n"), nanos)
}

// create begins a registry. The order is fixed: the key exists; then the genesis
// anchor, the stamp, the first segment. Whatever a crash leaves of it, the next
// Open goes on from there.
func (a *Authority) create() error {
	a.registry = a.newRegistry()
	id, err := a.fs.Identity(a.o.Dir)
	if err != nil {
		return fmt.Errorf("creating registry: %w", err)
	}
	a.anchor = anchor.Anchor{Registry: a.registry, Domain: a.o.Domain, Directory: id, KeyID: a.keyID}
	if err := a.anchors.Swap(a.anchor, nil); err != nil {
		return fmt.Errorf("creating registry: %w", err)
	}
	a.o.Log.Info("registry created", "domain", a.o.Domain, "registry", a.registry.Hex(), "operator_key", string(a.keyID))
	return a.writeStamp()
}

// firstRecord begins the operator log: it names the operator's key and defines the
// configured namespaces.
func (a *Authority) firstRecord() error {
	entries := []oplog.Entry{oplog.Init{Key: a.o.Key.Public()}}
	for _, ns := range a.o.Namespaces {
		entries = append(entries, oplog.DefineNamespace{Namespace: ns})
	}
	j := &job{entries: entries, done: make(chan error, 1)}
	if err := a.run([]*job{j}, nil); err != nil {
		return err
	}
	return <-j.done
}
