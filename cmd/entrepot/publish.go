package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// publishFlags are part of every command that publishes a record.
type publishFlags struct {
	registryFlags
	Key string `placeholder:"FILE" help:"Private key that signs the record. Default: $XDG_CONFIG_HOME/entrepot/publish.key."`
}

type publishCmd struct {
	publishFlags
	jsonFlag
	Release string `arg:"" name:"release" help:"NS:NAME@VERSION."`
	File    string `arg:"" help:"Content of the release."`
}

func (publishCmd) Help() string {
	return `Begins the package if it is new, releases, uploads, waits until the registry has
published it, and verifies the new checkpoint. Without --key the key is
$XDG_CONFIG_HOME/entrepot/publish.key, which key new makes.

Example:

    entrepot publish --registry https://pkg.example.com acme:tool@1.0.0 tool.wasm
`
}

// publishedRecord is what commands print that publish a record.
type publishedRecord struct {
	Package  string        `json:"package"`
	Version  string        `json:"version,omitempty"`
	Content  string        `json:"content,omitempty"`
	KeyID    warg.KeyID    `json:"keyId"` // of the signer
	RecordID warg.RecordID `json:"recordId"`
	Index    uint64        `json:"registryIndex"`
	Began    bool          `json:"began"` // the package was new
}

func (c publishCmd) Run(ctx context.Context, p *process) error {
	r, err := parseRelease(c.Release)
	if err != nil {
		return err
	}
	file := p.path(c.File)
	digest, size, err := digestOf(file)
	if err != nil {
		return err
	}
	show := p.newBar(size, "uploading "+c.File)
	defer show.done()
	done, err := p.publish(ctx, c.publishFlags, upstream.Publication{
		Name:    r.name,
		Begin:   true,
		Entries: []pkglog.Entry{pkglog.Release{Version: r.version, Content: digest.AnyHash()}},
		Content: map[warg.Digest]func() (io.ReadCloser, error){digest: func() (io.ReadCloser, error) {
			f, err := os.Open(file)
			if err != nil {
				return nil, err
			}
			return upload{show.reader(f), f}, nil
		}},
	})
	if err != nil {
		return fmt.Errorf("publishing `%s`: %w", c.Release, err)
	}
	show.done()
	done.Version, done.Content = r.version.String(), digest.String()
	return p.print(c.jsonFlag, done, func(w io.Writer) {
		if done.Began {
			fmt.Fprintf(w, "began package %s\n", done.Package)
		}
		fmt.Fprintf(w, "published %s@%s\n", done.Package, done.Version)
	})
}

// upload is content on its way, and the file behind it.
type upload struct {
	io.Reader
	io.Closer
}

// digestOf reads a file and returns its digest and size.
func digestOf(file string) (d warg.Digest, size int64, err error) {
	f, err := os.Open(file)
	if err != nil {
		return d, 0, fmt.Errorf("reading the content: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return d, 0, fmt.Errorf("reading the content: %w", err)
	}
	h.Sum(d[:0])
	return d, size, nil
}

// publish signs a record with the user's key and publishes it.
func (p *process) publish(ctx context.Context, flags publishFlags, what upstream.Publication) (publishedRecord, error) {
	key, err := p.publishKey(flags.Key)
	if err != nil {
		return publishedRecord{}, err
	}
	s, err := p.openSession(flags.registryFlags)
	if err != nil {
		return publishedRecord{}, err
	}
	defer s.close()
	what.Key = key
	done, err := s.Publish(ctx, what)
	if err != nil {
		return publishedRecord{}, s.explain(err, what.Name)
	}
	s.told(done.Snapshot)
	return publishedRecord{
		Package: what.Name.String(), KeyID: key.Public().ID(),
		RecordID: done.RecordID, Index: done.Index, Began: done.Began,
	}, nil
}

// publishKey reads the key that a person publishes with.
func (p *process) publishKey(named string) (warg.PrivateKey, error) {
	if named != "" {
		return p.readPrivateKey(p.path(named))
	}
	file, err := p.publishKeyFile()
	if err != nil {
		return warg.PrivateKey{}, fmt.Errorf("looking for the key to publish with: %w; name one with --key FILE", err)
	}
	key, err := p.readPrivateKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return key, exitf(exitFailed, "there is no key to publish with at %s; make one with `entrepot key new`, or name one with --key FILE", file)
	}
	return key, err
}
