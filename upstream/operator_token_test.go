package upstream

import (
	"context"
	"errors"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// forgetful fails with an error when it is given a fetch token.
type forgetful struct {
	Transport
	err   error
	asked []string
}

func (f *forgetful) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	f.asked = append(f.asked, req.Operator)
	if req.Operator != "" {
		return warg.LogsPage{}, f.err
	}
	return f.Transport.Logs(ctx, req)
}

// A registry that lost its log and drops the connection at an unknown token is
// asked from the start, or it would look unreachable for ever.
func TestUnknownOperatorToken(t *testing.T) {
	m := wargtest.NewMemory(wargtest.MemoryOptions())
	page, err := m.Logs(t.Context(), warg.LogsRequest{LogLength: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		err   error
		asked int
	}{
		{"token not found", &warg.Error{Kind: warg.KindFetchTokenUnknown}, 2},
		{"connection dropped", &warg.Error{Kind: warg.KindUnavailable}, 2},
		{"anything else", &warg.Error{Kind: warg.KindTooMany}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &forgetful{Transport: Adapt(m), err: test.err}
			records, err := fetchOperator(t.Context(), f, page.Operator, 1)
			if len(f.asked) != test.asked {
				t.Fatalf("asked with tokens %q", f.asked)
			}
			if test.asked == 1 && !errors.Is(err, test.err) || test.asked == 2 && (err != nil || len(records) != 1) {
				t.Errorf("got %d records, %v", len(records), err)
			}
		})
	}
}
