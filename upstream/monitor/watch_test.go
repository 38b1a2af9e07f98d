package monitor

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrepot/entrepot/warg/api"
	"github.com/entrepot/entrepot/warg/oplog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// watchFor watches for a number of looks; before the n-th look do is called with n.
// It returns what was shown and how long the pauses were.
func watchFor(t *testing.T, s *site, looks int, do func(n int), edit func(*Options)) (shown []Report, pauses []time.Duration, err error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWatch(t, s, func(o *Options) {
		o.Sleep = func(_ context.Context, d time.Duration) {
			pauses = append(pauses, d)
			if len(pauses) == looks {
				cancel()
				return
			}
			do(len(pauses))
		}
		if edit != nil {
			edit(o)
		}
	})
	err = w.Watch(ctx, func(r Report) { shown = append(shown, r) })
	return shown, pauses, err
}

func statuses(reports []Report) string {
	var all []string
	for _, r := range reports {
		all = append(all, r.Status)
	}
	return strings.Join(all, " ")
}

func TestWatchShowsWhatIsNew(t *testing.T) {
	m := newRegistry(t, 3)
	s := newSite(t, m)
	shown, pauses, err := watchFor(t, s, 9, func(n int) {
		switch n {
		case 2:
			grow(t, m, "a", 2)
		case 4:
			m.Resign()
		case 5, 6:
			s.refuse[api.OpCheckpoint] = 500
		case 7:
			clear(s.refuse)
		}
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(shown); got != "consistent consistent unchanged unreachable unchanged" {
		t.Errorf("shown: %s", got)
	}
	minute := time.Minute
	want := []time.Duration{minute, minute, minute, minute, minute, minute, 2 * minute, minute, minute}
	if !slices.Equal(pauses, want) {
		t.Errorf("pauses %v, want %v", pauses, want)
	}
}

func TestWatchEndsAtACrime(t *testing.T) {
	m := newRegistry(t, 3)
	s := newSite(t, m)
	shown, pauses, err := watchFor(t, s, 100, func(n int) {
		if n == 3 {
			c := latest(t, m)
			c.MapRoot[0] ^= 1
			s.show(c.Sign(wargtest.Alice()))
		}
	}, nil)
	var fork *ForkError
	if !errors.As(err, &fork) || !strings.Contains(err.Error(), fork.Evidence) || fork.Evidence == "" || len(pauses) != 3 || statuses(shown) != "consistent forked" {
		t.Errorf("%v after %v, shown %s", err, pauses, statuses(shown))
	}
}

func TestPauses(t *testing.T) {
	s := newSite(t, newRegistry(t, 3))
	s.refuse[api.OpCheckpoint] = 503
	random := 0.0
	_, pauses, err := watchFor(t, s, 12, func(n int) {
		if n == 11 {
			random = 0.999999
		}
	}, func(o *Options) {
		o.Interval = 10 * time.Second
		o.Random = func() float64 { return random }
	})
	if err != nil {
		t.Fatal(err)
	}
	if first := pauses[0]; first != 9*time.Second {
		t.Errorf("the first pause is %v", first)
	}
	for i := 1; i < 9; i++ {
		if pauses[i] != 2*pauses[i-1] {
			t.Errorf("after %d failures the pause is %v, before it was %v", i+1, pauses[i], pauses[i-1])
		}
	}
	if low, high := pauses[10], pauses[11]; low != 54*time.Minute || high < 65*time.Minute || high > 66*time.Minute {
		t.Errorf("the longest pauses are %v and %v", low, high)
	}
	w := newWatch(t, s, func(o *Options) { o.Interval = 24 * time.Hour })
	if d := w.pause(50); d != 24*time.Hour {
		t.Errorf("with an interval of a day the longest pause is %v", d)
	}
}

// TestSleep: the real clock's sleep ends with its context.
func TestSleep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sleep(ctx, time.Hour)
	sleep(t.Context(), time.Nanosecond)
}

// TestBrokenOwnFiles: errors of our own files end the watch.
func TestBrokenOwnFiles(t *testing.T) {
	w := newWatch(t, newSite(t, newRegistry(t, 3)), nil)
	w.state.broken = fs.ErrPermission
	if err := w.Watch(t.Context(), func(Report) { t.Error("something was shown") }); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
}

// TestMutatedAnswers flips bits all over the answers of an honest registry. It is
// never accused, and nothing but the truth is believed.
func TestMutatedAnswers(t *testing.T) {
	m := newRegistry(t, 4)
	before := m.Clone()
	operate(t, m, wargtest.Alice(), oplog.DefineNamespace{Namespace: "second"})
	grow(t, m, "a", 4)
	truth := latest(t, m)
	s := newSite(t, m)
	for _, op := range []api.Op{api.OpCheckpoint, api.OpLogs, api.OpLedger, api.OpLedgerRecords, api.OpConsistency, api.OpInclusion} {
		proofs := op == api.OpConsistency || op == api.OpInclusion
		size, refused := 1, 0
		const stride = 7
		for i := 0; i < size; i += stride {
			clear(s.change)
			clear(s.refuse)
			if proofs {
				s.refuse[api.OpLedger] = 404
			}
			w := newWatch(t, s, nil)
			s.reg = before
			w.look(StatusConsistent)
			s.reg = m
			s.change[op] = func(b []byte) []byte {
				size = max(size, len(b))
				b = slices.Clone(b)
				b[min(i, len(b)-1)] ^= 1 << (i % 8)
				return b
			}
			r, err := w.Look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case r.Evidence != "" || r.Status == StatusForked:
				t.Fatalf("%v, byte %d: an honest registry was convicted: %+v", op, i, r)
			case r.fine() && (r.LogRoot != truth.LogRoot.String() || r.MapRoot != truth.MapRoot.String() || r.LogLength != truth.LogLength):
				t.Fatalf("%v, byte %d: believed: %+v", op, i, r)
			case !r.fine():
				refused++
			}
		}
		if size < 150 || refused < size/stride/3 {
			t.Errorf("%v: %d bytes, %d changes refused", op, size, refused)
		}
	}
}

// TestIndependence: a judge that verifies with the code of the accused finds nothing.
// Of other packages only what parses, prints or writes files may be used.
func TestIndependence(t *testing.T) {
	const module = "github.com/entrepot/entrepot/"
	allowed := map[string][]string{
		"warg": {
			"AnyHash", "Digest", "InclusionProof", "KeyID", "LogsRequest", "MaxRegistryLength", "ParsePublicKey",
			"PublicKey", "Record", "Signature", "SignedCheckpoint", "Sum", "Timestamp", "ValidNamespace",
		},
		"warg/api": nil, // paths and bodies
		"warg/oplog": {
			"Decode", "Entry", "Record", "Init", "Grant", "Revoke", "DefineNamespace", "ImportNamespace",
			"Permission", "PermissionCommit", "PermissionDefineNamespace", "PermissionImportNamespace",
		},
		"warg/vlog":        {"Bundle", "Entry", "Node", "ParseBundle"},
		"warg/vmap":        {"ParseBundle"},
		"internal/durable": nil,
	}
	forbidden := []string{"Open", "Consistency", "Inclusion", "VerifyConsistency", "VerifyInclusion", "VerifyOperatorRecord", "Evaluate", "Validate", "Apply"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string][]string{}
		for _, spec := range file.Imports {
			path := strings.Trim(spec.Path.Value, `"`)
			ours, ok := strings.CutPrefix(path, module)
			if !ok {
				if strings.Contains(path, ".") {
					t.Errorf("%s imports %s", name, path)
				}
				continue
			}
			list, ok := allowed[ours]
			if !ok {
				t.Errorf("%s imports %s", name, path)
			}
			names[ours[strings.LastIndex(ours, "/")+1:]] = list
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok && nameOf(sel.X) != "fsys" && slices.Contains(forbidden, sel.Sel.Name) {
					t.Errorf("%s calls the method %s", name, sel.Sel.Name)
				}
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			checked++
			if list := names[nameOf(sel.X)]; list != nil && !slices.Contains(list, sel.Sel.Name) {
				t.Errorf("%s uses %s.%s", name, nameOf(sel.X), sel.Sel.Name)
			}
			return true
		})
	}
	if checked < 200 {
		t.Errorf("only %d selectors seen in %v", checked, files)
	}
}

// nameOf returns the name that an expression is, if it is one.
func nameOf(e ast.Expr) string {
	if x, ok := e.(*ast.Ident); ok {
		return x.Name
	}
	return ""
}
