package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/entrepot/entrepot/cache"
	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/archive"
	"github.com/entrepot/entrepot/warg"
)

// archives makes and takes archives of a site. It implements [proxy.ArchiveAdmin].
type archives struct{ site *site }

var _ proxy.ArchiveAdmin = archives{}

// exportPlan is an archive to be made.
type exportPlan struct {
	want     proxy.ArchiveWanted
	since    *archive.Archive // may be nil
	stub     bool             // since is one
	out      io.Writer
	progress func(archive.Step)
}

// export writes an archive.
func (a archives) export(ctx context.Context, x exportPlan) (done exported, err error) {
	sources, left, err := a.sources(ctx, x.want)
	if err != nil {
		return done, err
	}
	o := archive.ExportOptions{Sources: sources, Since: x.since, Stub: x.stub, Progress: x.progress}
	for _, text := range x.want.Packages {
		name, err := warg.ParsePackageName(text)
		if err != nil {
			return done, warg.Errorf(warg.KindBadRequest, "%w", err)
		}
		o.Packages = append(o.Packages, name)
	}
	var domains []string
	for _, s := range sources {
		domains = append(domains, s.Domain())
	}
	about := strings.Join(append(domains, x.want.Packages...), " ")
	if x.since != nil {
		about += " since " + x.since.ID().String()
	}
	err = audited(a.site.audit, "archive export", about, func() (err error) {
		done.Exported, err = archive.Export(ctx, x.out, o)
		return err
	})
	done.NothingHeld = left
	return done, err
}

// sources returns the registries that are wanted, and those left out because nothing
// is held of them.
func (a archives) sources(ctx context.Context, want proxy.ArchiveWanted) (found []archive.Source, left []string, err error) {
	s := a.site
	for _, d := range want.Domains {
		if s.replicas[d] == nil {
			return nil, nil, warg.Errorf(warg.KindNotFound, "`%s` is not an upstream here; there are: %s", d, strings.Join(s.domains(), ", "))
		}
	}
	for _, d := range s.domains() {
		if len(want.Domains) > 0 && !slices.Contains(want.Domains, d) {
			continue
		}
		holds := s.replicas[d].Holdings()
		_, err := holds.Head(ctx)
		switch {
		case err == nil:
			found = append(found, holds)
		case len(want.Domains) > 0:
			return nil, nil, warg.Errorf(warg.KindNotFound, "nothing is held of `%s`; `entrepot mirror sync %s` fills it", d, d)
		default:
			left = append(left, d)
		}
	}
	if want.Own {
		found = append(found, archive.FromRegistry(s.authority, s.authority.Checkpoints))
	}
	if len(found) == 0 {
		return nil, nil, warg.Errorf(warg.KindNotFound, "nothing is held of any upstream; `entrepot mirror sync` fills them, and --own archives our own registry")
	}
	return found, left, nil
}

// ExportArchive implements [proxy.ArchiveAdmin].
func (a archives) ExportArchive(ctx context.Context, want proxy.ArchiveWanted, since io.Reader, w io.Writer) (json.RawMessage, error) {
	out := archive.NewVolumes(func(int) (io.WriteCloser, error) { return openEnded{w}, nil }, 0)
	x := exportPlan{want: want, out: out}
	if since != nil {
		opened, err := a.receive(since)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		x.since, x.stub = opened, true
	}
	done, err := a.export(ctx, x)
	if err := errors.Join(err, out.Close()); err != nil {
		return nil, err
	}
	return json.Marshal(done)
}

type openEnded struct{ io.Writer }

func (openEnded) Close() error { return nil }

// tempDir returns the folder for what nobody needs after this process.
func (a archives) tempDir() string { return filepath.Join(a.site.conf.Data, runFolder, tempFolder) }

// receive keeps an archive in a temporary file and opens it.
func (a archives) receive(body io.Reader) (_ *archive.Archive, err error) {
	f, err := os.CreateTemp(a.tempDir(), "archive-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name()), f.Close()) }()
	if _, err := io.Copy(f, body); err != nil {
		return nil, fmt.Errorf("receiving an archive: %w", err)
	}
	opened, err := archive.OpenFiles([]string{f.Name()}, nil)
	if err != nil {
		return nil, archiveAnswer(err)
	}
	return opened[0], nil // its file lives as long as it is open
}

// TakeArchives implements [proxy.ArchiveAdmin].
func (a archives) TakeArchives(ctx context.Context, verifyOnly bool, next func() (io.Reader, int64, error), progress func(proxy.MirrorProgress)) (json.RawMessage, error) {
	var opened []*archive.Archive
	defer func() { closeArchives(opened) }()
	for {
		body, size, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = a.fits(size)
		}
		if err != nil {
			return nil, err
		}
		one, err := a.receive(body)
		if err != nil {
			return nil, err
		}
		opened = append(opened, one)
	}
	o := a.importOptions(opened, func(x archive.Step) {
		progress(proxy.MirrorProgress{Domain: x.Domain, Stage: x.Stage, Done: x.Done, Total: x.Total})
	})
	var done any
	var err error
	if verifyOnly {
		done, err = verifyArchives(ctx, o)
	} else {
		done, err = a.take(ctx, o)
	}
	if err != nil {
		return nil, archiveAnswer(err)
	}
	return json.Marshal(done)
}

// take imports archives.
func (a archives) take(ctx context.Context, o archive.ImportOptions) (done []upstream.Imported, err error) {
	var about []string
	for _, x := range o.Archives {
		about = append(about, x.ID().String()+" of "+strings.Join(x.Domains(), " "))
	}
	err = audited(a.site.audit, "archive import", strings.Join(about, ", "), func() error {
		done, err = archive.Import(ctx, o)
		return err
	})
	return done, err
}

// fits fails if there is no room to receive an archive.
func (a archives) fits(size int64) error {
	free, err := a.free()
	if err == nil && uint64(size) > free {
		err = warg.Errorf(warg.KindNoSpace, "the archive has %d bytes, and there is room for %d", size, free)
	}
	return err
}

func (a archives) free() (uint64, error) {
	space, err := durable.OS{}.Space(a.site.conf.Data)
	return space.Free, err
}

// importOptions says how archives are taken.
func (a archives) importOptions(opened []*archive.Archive, progress func(archive.Step)) archive.ImportOptions {
	return archive.ImportOptions{
		Archives: opened,
		Replica:  func(domain string) *upstream.Replica { return a.site.replicas[domain] },
		Scratch:  newScratch, TempDir: a.tempDir(), Free: a.free,
		MaxContent: a.site.conf.Content.MaxSize, Now: a.site.now, Progress: progress,
	}
}

// scratch is a cache that is thrown away.
type scratch struct{ *cache.Cache }

func newScratch(dir string) (archive.Scratch, error) {
	c, err := cache.Open(cache.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	return scratch{c}, nil
}

// Store implements [archive.Scratch].
func (s scratch) Store(domain string) (upstream.Store, error) { return s.Registry(domain) }

// standsAlone reports whether there is nothing to compare archives with.
func standsAlone(conf *config.Config) (bool, error) {
	if len(conf.Upstreams) == 0 {
		return true, nil
	}
	there, err := durable.Exists(durable.OS{}, conf.Data)
	return !there, err
}

// verifyAlone verifies archives with nothing but the keys in the configuration.
func verifyAlone(ctx context.Context, conf *config.Config, opened []*archive.Archive, now func() time.Time, progress func(archive.Step)) ([]verified, error) {
	pins := map[string]warg.KeyID{}
	for _, u := range conf.Upstreams {
		pins[u.Domain] = u.OperatorKey
	}
	return verifyArchives(ctx, archive.ImportOptions{
		Archives: opened, Pin: func(domain string) warg.KeyID { return pins[domain] },
		Scratch: newScratch, MaxContent: conf.Content.MaxSize, Now: now, Progress: progress,
	})
}

func verifyArchives(ctx context.Context, o archive.ImportOptions) ([]verified, error) {
	found, err := archive.Verify(ctx, o)
	if err != nil {
		return nil, err
	}
	all := make([]verified, len(found))
	for i, v := range found {
		all[i] = verified{v.Domain, v.Checkpoint.LogLength, time.Unix(int64(v.Checkpoint.Timestamp), 0).UTC(), v.OperatorKey, v.Pinned}
	}
	return all, nil
}
