package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/entrepot/entrepot/proxy"
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// maxAdminAnswer bounds an answer of the admin listener. It is our own server, but
// the address is configured and may lead elsewhere.
const maxAdminAnswer = 16 << 20

// adminClient makes the calls of a running server's admin listener. It does what
// the server's own parts do, over there.
type adminClient struct {
	http *http.Client
	base string
}

var (
	_ proxy.NamespaceAdmin = (*adminClient)(nil)
	_ proxy.OperatorAdmin  = (*adminClient)(nil)
	_ proxy.MirrorAdmin    = (*adminClient)(nil)
	_ proxy.RegistryAdmin  = (*adminClient)(nil)
)

// newAdminClient returns a client for "unix:PATH" or host:port.
func newAdminClient(address string) *adminClient {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAdmin(ctx, address) }
	base := "http://localhost"
	if !strings.HasPrefix(address, unixPrefix) {
		base = "http://" + address
	}
	return &adminClient{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}, base}
}

// send makes a call and returns the body of a good answer; the caller closes it.
func (a *adminClient) send(ctx context.Context, method, path string, body any) (io.ReadCloser, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	if method == http.MethodGet {
		text = nil
	}
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", api.ContentTypeJSON)
	answer, err := a.http.Do(r)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err // without the URL, which is none that a person knows
		}
		return nil, fmt.Errorf("calling the server: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	problem, err := io.ReadAll(io.LimitReader(answer.Body, maxAdminAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	return nil, api.ParseError(api.FamilyOther, answer.StatusCode, problem)
}

// call makes a call and decodes its answer, unless into is nil.
func (a *adminClient) call(ctx context.Context, method, path string, body, into any) error {
	answer, err := a.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer, maxAdminAnswer)).Decode(into); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	return nil
}

func (a *adminClient) DefineNamespace(ctx context.Context, namespace string) error {
	return a.call(ctx, http.MethodPost, "/admin/namespaces", proxy.Namespace{Name: namespace}, nil)
}

func (a *adminClient) ImportNamespace(ctx context.Context, namespace, domain string) error {
	return a.call(ctx, http.MethodPost, "/admin/namespaces", proxy.Namespace{Name: namespace, Registry: domain}, nil)
}

func (a *adminClient) Namespaces(ctx context.Context) ([]proxy.Namespace, error) {
	var list struct {
		Namespaces []proxy.Namespace `json:"namespaces"`
	}
	err := a.call(ctx, http.MethodGet, "/admin/namespaces", nil, &list)
	return list.Namespaces, err
}

// operatorChange is the body of the operator calls.
type operatorChange struct {
	Key         string     `json:"key,omitempty"`
	KeyID       warg.KeyID `json:"keyId,omitempty"`
	Permissions []string   `json:"permissions"`
}

func (a *adminClient) GrantOperator(ctx context.Context, key warg.PublicKey, permissions []string) error {
	return a.call(ctx, http.MethodPost, "/admin/operators/grant", operatorChange{Key: key.String(), Permissions: permissions}, nil)
}

func (a *adminClient) RevokeOperator(ctx context.Context, key warg.KeyID, permissions []string) error {
	return a.call(ctx, http.MethodPost, "/admin/operators/revoke", operatorChange{KeyID: key, Permissions: permissions}, nil)
}

func (a *adminClient) AcceptClock(ctx context.Context) error {
	return a.call(ctx, http.MethodPost, "/admin/registry/accept-clock", struct{}{}, nil)
}

func (a *adminClient) Freeze(ctx context.Context, domain string) error {
	return a.call(ctx, http.MethodPost, "/admin/registry/freeze", struct {
		Domain string `json:"domain"`
	}{domain}, nil)
}

func (a *adminClient) MirrorStatus(ctx context.Context) ([]proxy.MirrorStatus, error) {
	var list struct {
		Mirrors []proxy.MirrorStatus `json:"mirrors"`
	}
	err := a.call(ctx, http.MethodGet, "/admin/mirrors", nil, &list)
	return list.Mirrors, err
}

// ResetMirror returns what the server says that it set aside.
func (a *adminClient) ResetMirror(ctx context.Context, domain, reason string) (json.RawMessage, error) {
	var done json.RawMessage
	err := a.call(ctx, http.MethodPost, "/admin/mirrors/reset", mirrorReset{domain, reason}, &done)
	return done, err
}

// mirrorReset is the body of that call.
type mirrorReset struct {
	Domain string `json:"domain"`
	Reason string `json:"reason"`
}

// fenced returns why the server's own registry may not sign, or "". The first
// registry of a status is the server's own.
func (a *adminClient) fenced(ctx context.Context) string {
	var status struct {
		Registries []proxy.RegistryStatus `json:"registries"`
	}
	err := a.call(ctx, http.MethodGet, "/statusz", nil, &status)
	if err != nil || len(status.Registries) == 0 || status.Registries[0].State != proxy.StateFenced {
		return ""
	}
	return status.Registries[0].LastError
}

// SyncMirrors reads the lines that the server writes while it works; the last says
// how it ended.
func (a *adminClient) SyncMirrors(ctx context.Context, domains []string, progress func(proxy.MirrorProgress)) error {
	answer, err := a.send(ctx, http.MethodPost, "/admin/mirrors/sync", struct {
		Domains []string `json:"domains"`
	}{domains})
	if err != nil {
		return err
	}
	defer answer.Close()
	lines := json.NewDecoder(answer)
	for {
		var line struct {
			proxy.MirrorProgress
			Status string `json:"status"`
			Error  string `json:"error"`
			Code   int    `json:"code"`
		}
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF):
			return exitf(exitTemporary, "the server ended the call before the mirrors were filled")
		case err != nil:
			return fmt.Errorf("reading the server's answer: %w", err)
		case line.Error != "":
			return answerOf(line.Code, line.Error)
		case line.Status != "":
			return nil
		}
		progress(line.MirrorProgress)
	}
}

// answerOf returns the error that a status and a message stand for.
func answerOf(code int, message string) error {
	text, err := json.Marshal(struct {
		Status  int    `json:"status"`
		Message string `json:"message"`
	}{code, message})
	if err != nil {
		return err
	}
	return api.ParseError(api.FamilyOther, code, text)
}
