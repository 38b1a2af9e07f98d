package upstream

import (
	"context"
	"io"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/wargtest"
)

// TestL01Herd: ten thousand readers of one cold thing make the requests that one reader
// would have made, and the first one giving up takes nothing from the others.
func TestL01Herd(t *testing.T) {
	const herd = 10_000
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.replica.Close()
		content := w.publish("test:a", "1.0.0")
		logs := func(ctx context.Context) error {
			_, err := w.replica.Logs(ctx, warg.LogsRequest{LogLength: w.length(), Packages: []warg.LogCursor{{LogID: wargtest.Name("test:a").LogID()}}})
			return err
		}
		bytes := func(ctx context.Context) error {
			c, err := w.replica.Open(ctx, warg.Sum(content))
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = io.Copy(io.Discard, c)
			return err
		}
		checkpoint := func(ctx context.Context) error { _, err := w.replica.Checkpoint(ctx); return err }
		for _, thing := range []struct {
			name string
			get  func(context.Context) error
		}{{"checkpoint", checkpoint}, {"logs", logs}, {"content", bytes}} {
			open := make(chan struct{})
			w.tap.before = func(ctx context.Context, _ string) error {
				select {
				case <-open:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			w.tap.mu.Lock()
			clear(w.tap.calls)
			w.tap.mu.Unlock()
			ctx, giveUp := context.WithCancel(t.Context())
			var readers sync.WaitGroup
			readers.Go(func() { _ = thing.get(ctx) })
			synctest.Wait()
			var failed atomic.Int64
			for range herd {
				readers.Go(func() {
					if err := thing.get(t.Context()); err != nil {
						if failed.Add(1) == 1 {
							t.Error(thing.name, err)
						}
					}
				})
			}
			synctest.Wait()
			giveUp()
			synctest.Wait()
			close(open)
			readers.Wait()
			w.tap.mu.Lock()
			calls := maps.Clone(w.tap.calls)
			w.tap.mu.Unlock()
			if failed.Load() > 0 {
				t.Errorf("%s: %d of %d failed", thing.name, failed.Load(), herd)
			}
			if len(calls) == 0 {
				t.Errorf("%s: nothing was asked for", thing.name)
			}
			for call, n := range calls {
				if n != 1 {
					t.Errorf("%s: %d requests for %s", thing.name, n, call)
				}
			}
		}
	})
}
