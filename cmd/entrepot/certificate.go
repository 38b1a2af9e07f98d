package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is the server's certificate chain and key. They are read again when
// one of the files changes, so a renewed certificate needs no restart.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu   sync.Mutex
	pair *tls.Certificate // the last that could be read
	seen [2]fileState     // of the files when they were read, or when that failed
}

// fileState is how a change of a file is noticed.
type fileState struct {
	size     int64
	modified time.Time
}

// newCertificate reads both files.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.seen = c.look()
	return c, c.load()
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate and key: %w", err)
	}
	c.pair = &pair
	return nil
}

func (c *certificate) look() (now [2]fileState) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if s, err := os.Stat(name); err == nil {
			now[i] = fileState{s.Size(), s.ModTime()}
		}
	}
	return now
}

// get is called at every handshake. Files that cannot be read, or are half of a
// change that is under way, leave the certificate that there is.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.look(); now != c.seen {
		c.seen = now
		if err := c.load(); err != nil {
			c.log.Error("the TLS certificate cannot be renewed", "error", err)
		} else {
			c.log.Info("TLS certificate renewed", "file", c.certFile)
		}
	}
	return c.pair, nil
}
