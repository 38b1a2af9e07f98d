package api

import (
	"strings"

	"github.com/entrepot/entrepot/warg"
)

// Headers of the protocol, and our own.
const (
	HeaderRegistry       = "Warg-Registry"            // which registry is asked, and on whose behalf is answered
	HeaderHint           = "Warg-Registry-Hint"       // on 404 of a log: which registry has the namespace
	HeaderHeld           = "Entrepot-Held"            // on 504 after CacheOnly: HeldNone
	HeaderCheckpointTime = "Entrepot-Checkpoint-Time" // when the checkpoint that an answer rests on was signed, RFC 3339
)

// Content types. Clients compare the first for equality, so it is sent without
// parameters on success and on errors.
const (
	ContentTypeJSON   = "application/json"
	ContentTypeLedger = "application/vnd.warg.ledger.packed"
	ContentTypeBytes  = "application/octet-stream"
)

// maxContentType bounds how much of a content type is looked at, in bytes;
// registered ones have at most 255.
const maxContentType = 1024

// CheckContentType returns KindUnsupportedMedia unless a request's content type
// says JSON: application/json or application/*+json, with any parameters.
func CheckContentType(value string) error {
	media, _, _ := strings.Cut(value, ";")
	kind, subtype, ok := strings.Cut(strings.ToLower(strings.TrimSpace(media)), "/")
	json := subtype == "json" || strings.HasSuffix(subtype, "+json") && len(subtype) > len("+json")
	if !ok || kind != "application" || !json || len(value) > maxContentType {
		return warg.Errorf(warg.KindUnsupportedMedia, "Expected request with `Content-Type: application/json`")
	}
	return nil
}

// TooLargeBody returns the error for a JSON body beyond [warg.MaxJSONBody].
func TooLargeBody() error {
	return warg.Errorf(warg.KindTooLarge, "Failed to buffer the request body: length limit exceeded")
}

// CacheOnly is the value of Cache-Control that asks for what is held, without the
// registry itself being asked (RFC 9111, section 5.2.1.7). HeldNone says that nothing
// is: a plain 504 could come from anything in between.
const (
	CacheOnly = "only-if-cached"
	HeldNone  = "none"
)

// Hint returns the value of HeaderHint: that the registry with the given domain
// has the namespace.
func Hint(namespace, domain string) string { return namespace + "=" + domain }

// ParseHint reads the value of HeaderHint; it is not ok unless both halves are
// well-formed.
func ParseHint(value string) (namespace, domain string, ok bool) {
	namespace, domain, ok = strings.Cut(value, "=")
	if !ok || !warg.ValidNamespace(namespace) {
		return "", "", false
	}
	if _, err := ParseDomain(domain); err != nil {
		return "", "", false
	}
	return namespace, domain, true
}
