package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/entrepot/entrepot/internal/observer"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/pkglog"
)

// errGone says that the server does not answer: it was killed, or is about to end.
var errGone = errors.New("the server does not answer")

// author publishes the records of one package, one after the other, and tells the
// observer what it was told. When the server dies it keeps the record that it was
// about, and sends the same one again later: a client that retries.
type author struct {
	watch    *observer.Observer
	client   *http.Client
	rng      *rand.Rand
	name     warg.PackageName
	key      warg.PrivateKey
	registry string        // that the records are for, if it is behind the server
	patience time.Duration // how long a record may be on its way; 0 = publishWithin

	prev    *warg.AnyHash
	last    time.Time
	version int
	live    []warg.Version // released and not yanked
	flight  *submission    // sent, and not known to be settled
}

// submission is a record under way, with its content.
type submission struct {
	env     warg.Envelope
	content []byte // nil if it releases nothing
	told    bool   // the observer knows that it was accepted
}

func newAuthor(watch *observer.Observer, client *http.Client, rng *rand.Rand, name string) (*author, error) {
	n, err := warg.ParsePackageName(name)
	if err != nil {
		return nil, err
	}
	key, err := warg.GenerateKey()
	return &author{watch: watch, client: client, rng: rng, name: n, key: key}, err
}

// work publishes until the server is gone or the context ends.
func (a *author) work(ctx context.Context, url string) error {
	for ctx.Err() == nil {
		if err := a.publish(ctx, url); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// publish publishes one record, first that which is under way.
func (a *author) publish(ctx context.Context, url string) error {
	if a.flight == nil {
		s, err := a.next()
		if err != nil {
			return err
		}
		a.flight = s
	}
	index, err := a.submit(ctx, url, a.flight)
	if err != nil {
		return err
	}
	id := a.flight.env.PackageRecordID()
	err = a.watch.Promised(observer.Promise{Kind: observer.Published, Log: a.name.LogID().String(), Record: id.String(), Index: index})
	a.flight = nil
	return err
}

// next makes the record that comes next: releases for the most part, a yank and a
// grant now and then.
func (a *author) next() (*submission, error) {
	var entries []pkglog.Entry
	var content []byte
	if a.prev == nil {
		entries = append(entries, pkglog.Init{Key: a.key.Public()})
	}
	const kinds = 6
	switch kind := a.rng.IntN(kinds); {
	case kind == 0 && len(a.live) > 0:
		entries = append(entries, pkglog.Yank{Version: a.live[0]})
		a.live = a.live[1:]
	case kind == 1 && a.prev != nil:
		other, err := warg.GenerateKey()
		if err != nil {
			return nil, err
		}
		all := []pkglog.Permission{pkglog.PermissionRelease}
		entries = append(entries, pkglog.Grant{Key: other.Public(), Permissions: all}, pkglog.Revoke{KeyID: other.Public().ID(), Permissions: all})
	default:
		v, err := warg.ParseVersion(fmt.Sprintf("0.%d.0", a.version))
		if err != nil {
			return nil, err
		}
		a.version++
		content = module(a.rng)
		a.live = append(a.live, v)
		entries = append(entries, pkglog.Release{Version: v, Content: warg.Sum(content).AnyHash()})
	}
	if now := time.Now(); now.After(a.last) {
		a.last = now
	}
	env := pkglog.Record{Prev: a.prev, Time: warg.Timestamp{Seconds: a.last.Unix(), Nanos: int32(a.last.Nanosecond())}, Entries: entries}.Sign(a.key)
	prev := warg.Digest(env.PackageRecordID()).AnyHash()
	a.prev = &prev
	err := a.watch.Promised(observer.Promise{
		Kind: observer.Sent, Log: a.name.LogID().String(), Record: env.PackageRecordID().String(),
		Key: string(env.KeyID), Signature: env.Signature.String(),
	})
	return &submission{env: env, content: content}, err
}

// module makes a WebAssembly module: a header, and a section of bytes that mean
// nothing. Most are small, some take several writes.
func module(rng *rand.Rand) []byte {
	size := 100 + rng.IntN(2000)
	if rng.IntN(8) == 0 {
		size = 200_000
	}
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(rng.Uint32())
	}
	section := append([]byte{1, 'x'}, body...) // a custom section: its name, then anything
	b := append([]byte("\x00asm\x01\x00\x00\x00"), 0)
	for n := len(section); ; n >>= 7 {
		if n < 0x80 {
			b = append(b, byte(n))
			return append(b, section...)
		}
		b = append(b, byte(n)|0x80)
	}
}

// waitingError says that a record was accepted, and is neither published nor rejected.
type waitingError struct {
	id     warg.RecordID
	name   warg.PackageName
	state  warg.State
	within time.Duration
}

func (e *waitingError) Error() string {
	return fmt.Sprintf("record %s of %s is %v after %v", e.id, e.name, e.state, e.within)
}

const (
	publishWithin = 30 * time.Second
	pollFirst     = time.Millisecond
	pollMost      = 20 * time.Millisecond
)

// submit sends a record and its content and waits until it is published.
func (a *author) submit(ctx context.Context, url string, s *submission) (index uint64, err error) {
	id, log := s.env.PackageRecordID(), a.name.LogID()
	status, err := a.record(ctx, http.MethodPost, url+"/"+api.PathPublish(log), api.AppendPublishRequest(nil, api.PublishBody{Name: a.name, Record: s.env}))
	if err != nil {
		return 0, err
	}
	if !s.told {
		s.told = true
		if err := a.watch.Promised(observer.Promise{Kind: observer.Accepted, Log: log.String(), Record: id.String()}); err != nil {
			return 0, err
		}
	}
	within := cmp.Or(a.patience, publishWithin)
	deadline, wait := time.Now().Add(within), pollFirst
	for {
		switch status.State {
		case warg.StatePublished:
			return status.Index, nil
		case warg.StateRejected:
			return 0, fmt.Errorf("record %s of %s was rejected: %s", id, a.name, status.Reason)
		case warg.StateSourcing:
			if err := a.upload(ctx, url, s, status); err != nil {
				return 0, err
			}
		}
		if time.Now().After(deadline) {
			return 0, &waitingError{id, a.name, status.State, within}
		}
		if err := pause(ctx, wait); err != nil {
			return 0, err
		}
		wait = min(2*wait, pollMost)
		if status, err = a.record(ctx, http.MethodGet, url+"/"+api.PathRecord(log, id), nil); err != nil {
			return 0, err
		}
	}
}

func (a *author) upload(ctx context.Context, url string, s *submission, status warg.RecordStatus) error {
	for _, missing := range status.Missing {
		for _, site := range status.Uploads[missing] {
			target := site.URL
			if !bytes.HasPrefix([]byte(target), []byte("http")) {
				target = url + "/" + target
			}
			code, answer, err := a.send(ctx, site.Method, target, s.content)
			if err != nil {
				return err
			}
			if code == http.StatusMethodNotAllowed {
				continue // it is there by now
			}
			if code != http.StatusCreated {
				return answerError(code, answer)
			}
			p := observer.Promise{Kind: observer.Uploaded, Log: a.name.LogID().String(), Record: s.env.PackageRecordID().String(), Content: missing.String()}
			if err := a.watch.Promised(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *author) record(ctx context.Context, method, url string, body []byte) (warg.RecordStatus, error) {
	code, answer, err := a.send(ctx, method, url, body)
	if err != nil {
		return warg.RecordStatus{}, err
	}
	if code != http.StatusOK && code != http.StatusAccepted {
		return warg.RecordStatus{}, answerError(code, answer)
	}
	return api.ParseRecordStatus(answer)
}

// statusError is an answer with an error status.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return fmt.Sprintf("answered %d: %s", e.code, e.text) }

func answerError(code int, answer []byte) error {
	return &statusError{code, string(answer)}
}

func (a *author) send(ctx context.Context, method, url string, body []byte) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if a.registry != "" {
		request.Header.Set("Warg-Registry", a.registry)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return 0, nil, errors.Join(errGone, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, errors.Join(errGone, err)
	}
	return response.StatusCode, answer, nil
}

// define defines a namespace by the admin socket's path of a server.
func define(ctx context.Context, admin *http.Client, watch *observer.Observer, namespace string) error {
	body, err := json.Marshal(map[string]string{"namespace": namespace})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/admin/namespaces", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := admin.Do(request)
	if err != nil {
		return errors.Join(errGone, err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return errors.Join(errGone, err)
	case response.StatusCode == http.StatusConflict:
		return nil // an earlier call, without an answer, went through
	case response.StatusCode != http.StatusOK:
		return answerError(response.StatusCode, answer)
	}
	return watch.Promised(observer.Promise{Kind: observer.Defined, Namespace: namespace})
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// newRand returns the chance of one of several who share a seed.
func newRand(seed uint64, n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
