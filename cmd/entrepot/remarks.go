package main

import (
	"io"
	standard "log"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

// remarkEvery is how often, at most, a remark of a library gets a line: what is remarked
// on comes from others, who could fill the log with it.
const remarkEvery = time.Second

// remarks takes what the HTTP library writes to Go's standard logger, past ours: that an
// upstream said something which nobody had asked for.
type remarks struct {
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	last    time.Time // when a line was written
	leftOut uint64    // since then
}

// quoted is what a remark quotes: bytes that an upstream sent, which may be anything.
var quoted = regexp.MustCompile(`"(\\.|[^"\\])*"?`)

// Write implements [io.Writer], with one remark.
func (r *remarks) Write(remark []byte) (int, error) {
	form := strings.TrimSpace(quoted.ReplaceAllString(string(remark), "…"))
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); r.last.IsZero() || now.Sub(r.last).Abs() >= remarkEvery {
		r.log.Warn("the HTTP library remarks", "form", form, "left_out", r.leftOut)
		r.last, r.leftOut = now, 0
	} else {
		r.leftOut++
	}
	return len(remark), nil
}

// takeRemarks has a logger take what libraries remark until the function that it returns
// is called. Without it remarks go nowhere, see main: what commands print is for people
// and scripts.
func takeRemarks(log *slog.Logger, now func() time.Time) (stop func()) {
	standard.SetFlags(0)
	standard.SetOutput(&remarks{log: log, now: now})
	return dropRemarks
}

// dropRemarks has nobody take what libraries remark.
func dropRemarks() { standard.SetOutput(io.Discard) }
