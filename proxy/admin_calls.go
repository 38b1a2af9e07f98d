package proxy

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/api"
)

// okStatus is the answer of calls that have nothing else to say.
type okStatus struct {
	Status string `json:"status"`
}

// reply writes what f returns as JSON.
func (a *admin) reply(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	r.Body = http.MaxBytesReader(w, r.Body, adminBody)
	v, err := f(r)
	if err != nil {
		writeAdminError(w, err)
		return
	}
	w.Header().Set("Content-Type", api.ContentTypeJSON)
	w.Header().Set(headerCacheControl, cacheNever)
	_ = json.NewEncoder(w).Encode(v)
}

// writeAdminError tells an error. An operator gets to see internal ones as well.
func writeAdminError(w http.ResponseWriter, err error) {
	e := api.AsError(err)
	w.Header().Set("Content-Type", api.ContentTypeJSON)
	w.Header().Set(headerCacheControl, cacheNever)
	w.WriteHeader(api.Status(e.Kind))
	body := api.AppendError(nil, e)
	if e.Kind == warg.KindInternal {
		body, _ = json.Marshal(struct {
			Status  int    `json:"status"`
			Message string `json:"message"`
		}{api.Status(e.Kind), err.Error()})
	}
	_, _ = w.Write(body)
}

// decode reads the JSON body of an admin call.
func decode(r *http.Request, v any) error {
	if err := api.CheckContentType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return warg.Errorf(warg.KindBadRequest, "reading the request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return warg.Errorf(warg.KindBadRequest, "reading the request: something follows the JSON value")
	}
	return nil
}

// missing is the answer for a part of the server that is not there.
func missing(part string) error {
	return warg.Errorf(warg.KindUnsupported, "this server has no %s", part)
}

func (a *admin) ready(r *http.Request) (any, error) {
	if a.s.readiness != nil {
		if err := a.s.readiness(r.Context()); err != nil {
			return nil, warg.Errorf(warg.KindUnavailable, "not ready: %w", err)
		}
	}
	return a.s.readyStatus(), nil
}

// namespaceList is the answer of GET /admin/namespaces.
type namespaceList struct {
	Namespaces []Namespace `json:"namespaces"`
}

func (a *admin) listNamespaces(r *http.Request) (any, error) {
	if a.ops.Namespaces == nil {
		return nil, missing("operator log")
	}
	all, err := a.ops.Namespaces.Namespaces(r.Context())
	return namespaceList{append([]Namespace{}, all...)}, err
}

// addNamespace defines a namespace, or imports it where a registry is given.
func (a *admin) addNamespace(r *http.Request) (any, error) {
	var n Namespace
	if err := decode(r, &n); err != nil {
		return nil, err
	}
	if a.ops.Namespaces == nil {
		return nil, missing("operator log")
	}
	if n.Registry == "" {
		return okStatus{"defined"}, a.ops.Namespaces.DefineNamespace(r.Context(), n.Name)
	}
	if _, err := api.ParseDomain(n.Registry); err != nil {
		return nil, err
	}
	return okStatus{"imported"}, a.ops.Namespaces.ImportNamespace(r.Context(), n.Name, n.Registry)
}

// operatorChange is the body of both operator calls.
type operatorChange struct {
	Key         string   `json:"key,omitempty"`   // grant: the public key
	KeyID       string   `json:"keyId,omitempty"` // revoke: the key's id
	Permissions []string `json:"permissions"`
}

// operatorChange reads the body of an operator call.
func (a *admin) operatorChange(r *http.Request) (operatorChange, error) {
	var o operatorChange
	if err := decode(r, &o); err != nil {
		return o, err
	}
	switch {
	case a.ops.Operators == nil:
		return o, missing("operator log")
	case len(o.Permissions) == 0:
		return o, warg.Errorf(warg.KindBadRequest, "no permissions are named")
	}
	return o, nil
}

func (a *admin) grantOperator(r *http.Request) (any, error) {
	o, err := a.operatorChange(r)
	if err != nil {
		return nil, err
	}
	key, err := warg.ParsePublicKey(o.Key)
	if err != nil {
		return nil, warg.Errorf(warg.KindBadRequest, "reading the key: %w", err)
	}
	return okStatus{"granted"}, a.ops.Operators.GrantOperator(r.Context(), key, o.Permissions)
}

func (a *admin) revokeOperator(r *http.Request) (any, error) {
	o, err := a.operatorChange(r)
	if err != nil {
		return nil, err
	}
	if _, err := warg.ParseDigest(o.KeyID); err != nil {
		return nil, warg.Errorf(warg.KindBadRequest, "reading the key id: %w", err)
	}
	return okStatus{"revoked"}, a.ops.Operators.RevokeOperator(r.Context(), warg.KeyID(o.KeyID), o.Permissions)
}

func (a *admin) acceptClock(r *http.Request) (any, error) {
	if err := decode(r, new(struct{})); err != nil {
		return nil, err
	}
	if a.ops.Registry == nil {
		return nil, missing("registry of its own")
	}
	return okStatus{"accepted"}, a.ops.Registry.AcceptClock(r.Context())
}

// registryFreeze is the body of POST /admin/registry/freeze.
type registryFreeze struct {
	Domain string `json:"domain"`
}

func (a *admin) freeze(r *http.Request) (any, error) {
	var f registryFreeze
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	if a.ops.Registry == nil {
		return nil, missing("registry of its own")
	}
	return okStatus{"frozen"}, a.ops.Registry.Freeze(r.Context(), f.Domain)
}

// mirrorList is the answer of GET /admin/mirrors.
type mirrorList struct {
	Mirrors []MirrorStatus `json:"mirrors"`
}

func (a *admin) mirrorStatus(r *http.Request) (any, error) {
	if a.ops.Mirrors == nil {
		return nil, missing("upstreams")
	}
	all, err := a.ops.Mirrors.MirrorStatus(r.Context())
	return mirrorList{append([]MirrorStatus{}, all...)}, err
}

// mirrorReset is the body of POST /admin/mirrors/reset.
type mirrorReset struct {
	Domain string `json:"domain"`
	Reason string `json:"reason"`
}

func (a *admin) resetMirror(r *http.Request) (any, error) {
	var m mirrorReset
	if err := decode(r, &m); err != nil {
		return nil, err
	}
	switch {
	case a.ops.Mirrors == nil:
		return nil, missing("upstreams")
	case strings.TrimSpace(m.Reason) == "":
		return nil, warg.Errorf(warg.KindBadRequest, "no reason is given")
	}
	return a.ops.Mirrors.ResetMirror(r.Context(), m.Domain, strings.TrimSpace(m.Reason))
}

// mirrorSync is the body of POST /admin/mirrors/sync.
type mirrorSync struct {
	Domains []string `json:"domains"` // none: all
}

// mirrorLine is one line of its answer. The last has Status, or Error with the HTTP
// status that would go with it.
type mirrorLine struct {
	*MirrorProgress
	Status string `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	Code   int    `json:"code,omitempty"`
}

// syncMirrors fills replicas and streams what it does, one JSON object a line. As
// the status goes out before the work is done, the last line says how it ended.
func (a *admin) syncMirrors(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, adminBody)
	var req mirrorSync
	err := decode(r, &req)
	if err == nil && a.ops.Mirrors == nil {
		err = missing("upstreams")
	}
	if err != nil {
		writeAdminError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(headerCacheControl, cacheNever)
	lines := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	say := func(l mirrorLine) {
		_ = lines.Encode(l)
		_ = flush.Flush()
	}
	err = a.ops.Mirrors.SyncMirrors(r.Context(), req.Domains, func(p MirrorProgress) { say(mirrorLine{MirrorProgress: &p}) })
	if err != nil {
		say(mirrorLine{Error: err.Error(), Code: api.Status(api.AsError(err).Kind)})
		return
	}
	say(mirrorLine{Status: "ok"})
}
