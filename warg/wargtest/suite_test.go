package wargtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// recorder stands in for a test that is to be watched failing.
type recorder struct {
	testing.TB // nil: what is not overridden must not be called
	ctx        context.Context
	mu         sync.Mutex
	failed     bool
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Error(...any)             { r.fail() }
func (r *recorder) Errorf(string, ...any)    { r.fail() }

func (r *recorder) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
}

// stopped ends a check like FailNow.
type stopped struct{}

func (r *recorder) Fatal(...any)          { r.fail(); panic(stopped{}) }
func (r *recorder) Fatalf(string, ...any) { r.fail(); panic(stopped{}) }

// fails reports whether a check fails for a subject.
func fails(t *testing.T, c check, s *scene) bool {
	t.Helper()
	r := &recorder{ctx: t.Context()}
	func() {
		defer func() {
			if p := recover(); p != nil && p != (stopped{}) {
				panic(p)
			}
		}()
		c.run(r, s)
	}()
	return r.failed
}

func checkNamed(t *testing.T, name string) check {
	t.Helper()
	all := slices.Concat(registryChecks(), publisherChecks())
	i := slices.IndexFunc(all, func(c check) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return all[i]
}

// liar is a registry that answers like a Memory except where a function says otherwise.
type liar struct {
	*Memory
	checkpoint func(warg.View) warg.View
	logs       func(warg.LogsRequest, warg.LogsPage, error) (warg.LogsPage, error)
	names      func([]warg.LogID, []warg.PackageName, error) ([]warg.PackageName, error)
	inclusion  func(uint64, []uint64, warg.InclusionProof, error) (warg.InclusionProof, error)
	consist    func(from, to uint64, b []byte, err error) ([]byte, error)
	record     func(warg.LogID, warg.RecordStatus, error) (warg.RecordStatus, error)
	content    func(warg.Digest, error) error
	ledger     func([]byte) []byte
	verify     func(warg.Verification) warg.Verification
	publish    func(warg.PublishRequest, warg.RecordStatus, error) (warg.RecordStatus, error)
	upload     func(error) error
}

func (l *liar) Checkpoint(ctx context.Context) (warg.View, error) {
	v, err := l.Memory.Checkpoint(ctx)
	if l.checkpoint != nil {
		v = l.checkpoint(v)
	}
	return v, err
}

func (l *liar) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	p, err := l.Memory.Logs(ctx, req)
	if l.logs != nil {
		return l.logs(req, p, err)
	}
	return p, err
}

func (l *liar) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	n, err := l.Memory.Names(ctx, ids)
	if l.names != nil {
		return l.names(ids, n, err)
	}
	return n, err
}

func (l *liar) Inclusion(ctx context.Context, length uint64, leaves []uint64) (warg.InclusionProof, error) {
	p, err := l.Memory.Inclusion(ctx, length, leaves)
	if l.inclusion != nil {
		return l.inclusion(length, leaves, p, err)
	}
	return p, err
}

func (l *liar) Consistency(ctx context.Context, from, to uint64) ([]byte, error) {
	b, err := l.Memory.Consistency(ctx, from, to)
	if l.consist != nil {
		return l.consist(from, to, b, err)
	}
	return b, err
}

func (l *liar) Record(ctx context.Context, log warg.LogID, id warg.RecordID) (warg.RecordStatus, error) {
	st, err := l.Memory.Record(ctx, log, id)
	if l.record != nil {
		return l.record(log, st, err)
	}
	return st, err
}

func (l *liar) Stat(ctx context.Context, d warg.Digest) (warg.ContentInfo, error) {
	i, err := l.Memory.Stat(ctx, d)
	if l.content != nil {
		err = l.content(d, err)
	}
	return i, err
}

func (l *liar) Open(ctx context.Context, d warg.Digest) (warg.Content, error) {
	c, err := l.Memory.Open(ctx, d)
	if l.content != nil && l.content(d, err) == nil && err != nil {
		return openBytes{bytes.NewReader(nil)}, nil
	}
	return c, err
}

func (l *liar) Ledger(ctx context.Context, start uint64, limit int) ([]byte, error) {
	b, err := l.Memory.Ledger(ctx, start, limit)
	if l.ledger != nil {
		b = l.ledger(b)
	}
	return b, err
}

func (l *liar) VerifyCheckpoint(ctx context.Context, s warg.SignedCheckpoint) (warg.Verification, error) {
	v, err := l.Memory.VerifyCheckpoint(ctx, s)
	if l.verify != nil {
		v = l.verify(v)
	}
	return v, err
}

func (l *liar) Publish(ctx context.Context, req warg.PublishRequest) (warg.RecordStatus, error) {
	st, err := l.Memory.Publish(ctx, req)
	if l.publish != nil {
		return l.publish(req, st, err)
	}
	return st, err
}

func (l *liar) Upload(ctx context.Context, log warg.LogID, id warg.RecordID, d warg.Digest, body io.Reader) error {
	err := l.Memory.Upload(ctx, log, id, d, body)
	if l.upload != nil {
		err = l.upload(err)
	}
	return err
}

// swapKind turns errors of one kind into another.
func swapKind(err error, from, to warg.Kind) error {
	e, ok := errors.AsType[*warg.Error](err)
	if !ok || e.Kind != from {
		return err
	}
	c := *e
	c.Kind = to
	return &c
}

// forgive turns errors of one kind into success.
func forgive(err error, k warg.Kind) error {
	if e, ok := errors.AsType[*warg.Error](err); ok && e.Kind == k {
		return nil
	}
	return err
}

// TestSuiteNoticesLies: every way of lying is noticed by the check that is named with it.
func TestSuiteNoticesLies(t *testing.T) {
	tests := []struct {
		check, lie string
		tell       func(l *liar)
	}{
		{"checkpoint", "stale", func(l *liar) {
			l.checkpoint = func(v warg.View) warg.View { return l.views[v.Checkpoint.LogLength-1] }
		}},
		{"checkpoint", "view and signature differ", func(l *liar) {
			l.checkpoint = func(v warg.View) warg.View { v.Checkpoint.Timestamp++; return v }
		}},
		{"checkpoint", "signed by a stranger", func(l *liar) {
			l.checkpoint = func(v warg.View) warg.View { v.Signed = v.Checkpoint.Sign(Stranger("x")); return v }
		}},
		{"logs/operator", "no operator log", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				p.Operator = nil
				return p, err
			}
		}},
		{"logs/replay", "last record missing", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				for i := range p.Packages {
					p.Packages[i].Records = p.Packages[i].Records[:len(p.Packages[i].Records)-1]
				}
				return p, err
			}
		}},
		{"logs/replay", "wrong index", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				for i := range p.Packages {
					p.Packages[i].Records[0].Index++
				}
				return p, err
			}
		}},
		{"logs/every length", "a log that began later is empty", func(l *liar) {
			l.logs = func(req warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				if err != nil && len(req.Packages) == 1 {
					return warg.LogsPage{Packages: []warg.LogRecords{{LogID: req.Packages[0].LogID}}}, nil
				}
				return p, err
			}
		}},
		{"logs/paging", "more is never said", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				p.More = false
				return p, err
			}
		}},
		{"logs/order", "logs in another order", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				slices.Reverse(p.Packages)
				return p, err
			}
		}},
		{"logs/limit", "any limit goes", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				return p, forgive(err, warg.KindBadRequest)
			}
		}},
		{"logs/unknown length", "any length goes", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				return p, forgive(err, warg.KindLengthNotFound)
			}
		}},
		{"logs/unknown log", "another id is named", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				if err != nil {
					err = warg.NotFound(warg.KindLogNotFound, warg.OperatorLogID)
				}
				return p, err
			}
		}},
		{"logs/unknown token", "any token goes", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				return p, forgive(err, warg.KindFetchTokenUnknown)
			}
		}},
		{"logs/ready json", "JSON of another record", func(l *liar) {
			l.logs = func(_ warg.LogsRequest, p warg.LogsPage, err error) (warg.LogsPage, error) {
				p.Operator = slices.Clone(p.Operator)
				p.Operator[0].JSON = []byte("{}")
				return p, err
			}
		}},
		{"names", "names in another order", func(l *liar) {
			l.names = func(_ []warg.LogID, n []warg.PackageName, err error) ([]warg.PackageName, error) {
				slices.Reverse(n)
				return n, err
			}
		}},
		{"names/unknown", "unknown ones have no name", func(l *liar) {
			l.names = func(ids []warg.LogID, _ []warg.PackageName, err error) ([]warg.PackageName, error) {
				return make([]warg.PackageName, len(ids)), forgive(err, warg.KindLogNotFound)
			}
		}},
		{"inclusion", "map of today", func(l *liar) {
			l.inclusion = func(_ uint64, leaves []uint64, p warg.InclusionProof, err error) (warg.InclusionProof, error) {
				if now, e := l.Memory.Inclusion(context.Background(), l.tree.Len(), leaves); e == nil {
					p.Map = now.Map
				}
				return p, err
			}
		}},
		{"inclusion", "proofs sorted", func(l *liar) {
			l.inclusion = func(length uint64, leaves []uint64, _ warg.InclusionProof, _ error) (warg.InclusionProof, error) {
				return l.Memory.Inclusion(context.Background(), length, slices.Sorted(slices.Values(leaves)))
			}
		}},
		{"inclusion/not a head", "wrong root told", func(l *liar) {
			l.inclusion = func(_ uint64, _ []uint64, p warg.InclusionProof, err error) (warg.InclusionProof, error) {
				if e, ok := errors.AsType[*warg.Error](err); ok {
					return p, &warg.Error{Kind: e.Kind, Root: e.Found, Found: e.Root}
				}
				return p, err
			}
		}},
		{"inclusion/refused", "length unknown for leaf unknown", func(l *liar) {
			l.inclusion = func(_ uint64, _ []uint64, p warg.InclusionProof, err error) (warg.InclusionProof, error) {
				return p, swapKind(err, warg.KindLeafNotFound, warg.KindLengthNotFound)
			}
		}},
		{"consistency", "proof for another length", func(l *liar) {
			l.consist = func(from, to uint64, b []byte, err error) ([]byte, error) {
				if other, e := l.Memory.Consistency(context.Background(), from, to-1); e == nil {
					return other, nil
				}
				return b, err
			}
		}},
		{"consistency/any length", "only the latest length", func(l *liar) {
			l.consist = func(_, to uint64, b []byte, err error) ([]byte, error) {
				if to < l.tree.Len() {
					return nil, &warg.Error{Kind: warg.KindLengthNotFound, Number: to}
				}
				return b, err
			}
		}},
		{"consistency/refused", "failure for a length unknown", func(l *liar) {
			l.consist = func(_, _ uint64, b []byte, err error) ([]byte, error) {
				return b, swapKind(err, warg.KindLengthNotFound, warg.KindProofFailure)
			}
		}},
		{"record", "still processing", func(l *liar) {
			l.record = func(_ warg.LogID, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				st.State = warg.StateProcessing
				return st, err
			}
		}},
		{"record/unknown", "record unknown for log unknown", func(l *liar) {
			l.record = func(_ warg.LogID, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				return st, swapKind(err, warg.KindLogNotFound, warg.KindRecordNotFound)
			}
		}},
		{"content/unknown", "everything is there", func(l *liar) {
			l.content = func(warg.Digest, error) error { return nil }
		}},
		{"content", "nothing is there", func(l *liar) {
			l.content = func(d warg.Digest, _ error) error { return warg.NotFound(warg.KindContentNotFound, d) }
		}},
		{"ledger", "an entry missing", func(l *liar) {
			l.ledger = func(b []byte) []byte { return b[min(len(b), warg.LedgerEntrySize):] }
		}},
		{"ledger", "entries changed", func(l *liar) {
			l.ledger = func(b []byte) []byte { b[len(b)-1] ^= 1; return b }
		}},
		{"ledger/pages", "too much", func(l *liar) {
			l.ledger = func(b []byte) []byte { return append(b, make([]byte, warg.LedgerEntrySize)...) }
		}},
		{"verify", "unverified", func(l *liar) {
			l.verify = func(warg.Verification) warg.Verification { return warg.Verification{RetryAfter: 1} }
		}},
		{"verify/forged", "verified", func(l *liar) {
			l.verify = func(warg.Verification) warg.Verification {
				return warg.Verification{Checkpoint: warg.Verified, Signature: warg.Verified}
			}
		}},
		{"verify/resigned", "invalid", func(l *liar) {
			l.verify = func(warg.Verification) warg.Verification {
				return warg.Verification{Checkpoint: warg.Invalid, Signature: warg.Invalid}
			}
		}},
		{"admission/another name", "taken twice", func(l *liar) {
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				return st, forgive(err, warg.KindConflict)
			}
		}},
		{"admission/namespace", "kinds swapped", func(l *liar) {
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				return st, swapKind(err, warg.KindNamespaceImported, warg.KindNamespaceNotFound)
			}
		}},
		{"admission/stale", "conflict without the head", func(l *liar) {
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				return st, swapKind(err, warg.KindRecordPending, warg.KindConflict)
			}
		}},
		{"admission/unknown key", "bad signature for key unknown", func(l *liar) {
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				if e, ok := errors.AsType[*warg.Error](err); ok && e.Kind == warg.KindUnauthorized {
					err = warg.Errorf(warg.KindUnauthorized, "verification failed")
				}
				return st, err
			}
		}},
		{"publish/again", "known is processing", func(l *liar) {
			known := map[warg.RecordID]bool{}
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				if known[st.RecordID] && st.State == warg.StateSourcing {
					st.State = warg.StateProcessing
				}
				known[st.RecordID] = true
				return st, err
			}
		}},
		{"upload/wrong bytes", "taken", func(l *liar) {
			l.upload = func(err error) error { return forgive(err, warg.KindBadRequest) }
		}},
		{"upload/refused", "not sourcing is said of all", func(l *liar) {
			l.upload = func(err error) error { return swapKind(err, warg.KindBadRequest, warg.KindNotSourcing) }
		}},
		{"upload/policy", "a bad request", func(l *liar) {
			l.upload = func(err error) error { return swapKind(err, warg.KindRejected, warg.KindBadRequest) }
		}},
		{"rejection/rules of the log", "no reason given", func(l *liar) {
			l.publish = func(_ warg.PublishRequest, st warg.RecordStatus, err error) (warg.RecordStatus, error) {
				st.Reason = ""
				return st, err
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.check+"/"+tt.lie, func(t *testing.T) {
			l := &liar{Memory: NewMemory(MemoryOptions())}
			s := &scene{Subject: memorySubject(l.Memory)}
			s.build(t)
			c := checkNamed(t, tt.check)
			if fails(t, c, &scene{Subject: memorySubject(l.Memory.Clone()), world: s.world}) {
				t.Fatal("the check fails for the truth")
			}
			tt.tell(l)
			s.Registry, s.Publisher = l, l
			if !fails(t, c, s) {
				t.Error("the lie is not noticed")
			}
		})
	}
}
