package authority

import (
	"io"

	"github.com/entrepot/entrepot/authority/wasm"
	"github.com/entrepot/entrepot/warg"
)

// ContentPolicy says what content must be.
type ContentPolicy string

// The content policies.
const (
	ContentWasm ContentPolicy = "wasm" // a WebAssembly module or component, as package wasm understands it
	ContentAny  ContentPolicy = "any"
)

// checker judges one content: it is shown the bytes as they come, and asked when
// their digest is known to be right.
type checker interface {
	io.Writer
	Err() error
}

// checker returns what judges a content, or nil if everything is accepted.
func (p ContentPolicy) checker() checker {
	if p == ContentAny {
		return nil
	}
	return new(wasm.Checker)
}

// refusal is the verdict of the content policy.
type refusal struct{ err error }

// Error is the text that publishers see.
func (r *refusal) Error() string { return "content is not valid WebAssembly: " + r.err.Error() }

// reason is the text for which the record is rejected.
func (r *refusal) reason(d warg.Digest) string {
	return "content with digest `" + d.String() + "` was rejected by policy: " + r.Error()
}
