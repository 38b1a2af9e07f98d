package proxy

import (
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// Publishing to a namespace of the operator's table is refused with the words "of
// another registry", whichever part of the server noticed.
func TestNamespacesOfTheTable(t *testing.T) {
	st := newSite(t)
	unknown := &warg.Error{Kind: warg.KindNamespaceNotFound, ID: "wasi"}
	for _, test := range []struct {
		name string
		err  error
		of   target
		pkg  string
		want warg.Kind
	}{
		{"mapped", unknown, target{}, "wasi:http", warg.KindNamespaceImported},
		{"not mapped", unknown, target{}, "nobody:thing", warg.KindNamespaceNotFound},
		{"said by the upstream itself", unknown, target{upstream: st.up}, "wasi:http", warg.KindNamespaceNotFound},
		{"another error", &warg.Error{Kind: warg.KindUnauthorized}, target{}, "wasi:http", warg.KindUnauthorized},
	} {
		err := st.s.federation.explain(test.err, test.of, mustName(test.pkg))
		if !errors.Is(err, &warg.Error{Kind: test.want}) {
			t.Errorf("%s: got %v, want kind %d", test.name, err, test.want)
		}
	}
}
