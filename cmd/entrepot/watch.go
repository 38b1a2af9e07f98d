package main

import (
	"context"
	"sync"
)

// watch begins what looks after the disk and after the server itself, and calls alive
// whenever all is well. The function that it returns ends that and waits, so that nothing
// is looked at that was closed.
func (s *site) watch(ctx context.Context, alive func()) (end func()) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { s.space.Run(ctx, s.now) })
	running.Go(func() { s.scrubber.Run(ctx) })
	running.Go(func() {
		s.health.watch(ctx, func() {
			alive()
			_ = s.audit.Daily() // an error ends the server by itself, or is only a lack of space
		})
	})
	return func() {
		stop()
		running.Wait()
	}
}
