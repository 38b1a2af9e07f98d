package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/uploads"
	"github.com/entrepot/entrepot/warg"
)

// openUploads opens the book of upload addresses, which records for other registries
// need.
func (s *site) openUploads() (err error) {
	s.uploads, err = uploads.Open(uploads.Options{
		KeyFile: filepath.Join(s.conf.Data, capabilityFile),
		File:    filepath.Join(s.conf.Data, uploadsFile),
		Now:     s.now,
		Log:     s.log,
	})
	if errors.As(err, new(*uploads.KeyError)) {
		return exitf(exitConfig, "%w", err)
	}
	return err
}

// uploadDesk takes uploads to the registries that they are for.
type uploadDesk struct {
	book     *uploads.Book
	replicas map[string]*upstream.Replica
}

var _ proxy.Uploads = uploadDesk{}

// Upload implements [proxy.Uploads].
func (d uploadDesk) Upload(ctx context.Context, capability string, body io.Reader) error {
	target, err := d.book.Find(capability)
	if err != nil {
		return err
	}
	r, ok := d.replicas[target.Registry]
	if !ok { // it was an upstream when the address was handed out
		return warg.Errorf(warg.KindNotFound, "registry `%s` is not served here any more", target.Registry)
	}
	return r.UploadTo(ctx, target, body)
}

// uploadDesk returns what takes uploads for other registries, nil if there are none.
func (s *site) uploadDesk() proxy.Uploads {
	if s.uploads == nil {
		return nil
	}
	return uploadDesk{s.uploads, s.replicas}
}
