package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/upstream/monitor"
	"github.com/entrepot/entrepot/warg"
)

type monitorCmd struct {
	jsonFlag
	URLs        []string      `arg:"" optional:"" name:"url" help:"Base URLs of the registries to watch."`
	Once        bool          `help:"Look once instead of for ever."`
	State       string        `placeholder:"DIR" help:"Where to keep what was seen. Default: $XDG_STATE_HOME/entrepot/monitor."`
	Interval    time.Duration `placeholder:"TIME" default:"60s" help:"How long to wait between two looks. Default: 60s."`
	OperatorKey []string      `placeholder:"KEYID" sep:"none" help:"Operator key of the registries, or one of several. Default: the one seen first."`
	OnBehalf    string        `placeholder:"DOMAIN" help:"Watch what the registries say on behalf of another one."`
	MaxLength   uint64        `placeholder:"LEAVES" default:"4194304" help:"Longest log to follow, at most 6000000 records. Default: 4194304."`
	Evidence    string        `placeholder:"FILE" help:"Check an evidence file instead. It needs nothing but --operator-key."`
}

func (monitorCmd) Help() string {
	return `Each registry's checkpoints are kept, all of them and for ever, and every new one is
proven to fit all that were seen before. A registry that signs two statements which
cannot both be true is convicted for good: exit code 65, and an evidence file that
anybody can check. Addresses of the same registry, mirrors of it for example, are
compared with each other, so one that shows them different histories is convicted. With --once the code is 65 as well for what is not true but no
proof, and 75 if a registry did not answer.

Example:

    entrepot monitor --operator-key sha256:… https://warg.wasi.example
    entrepot monitor --evidence fork.json --operator-key sha256:…
`
}

func (c monitorCmd) Run(ctx context.Context, p *process) error {
	keys := make([]warg.KeyID, 0, len(c.OperatorKey))
	for _, text := range c.OperatorKey {
		id, err := parseKeyID(text)
		if err != nil {
			return err
		}
		keys = append(keys, id)
	}
	switch {
	case c.Evidence != "" && len(c.URLs) > 0:
		return exitf(exitUsage, "an evidence file is checked without any registry; leave out either --evidence or the URLs")
	case c.Evidence != "":
		return c.checkEvidence(p, keys)
	case len(c.URLs) == 0:
		return exitf(exitUsage, "say which registry to watch, or which evidence file to check; see `entrepot monitor --help`")
	case c.Interval <= 0:
		return exitf(exitUsage, "an interval of %s is none", c.Interval)
	}
	watchers, err := c.open(p, keys)
	if err == nil {
		err = c.watchAll(ctx, p, watchers)
	}
	for _, w := range watchers {
		err = errors.Join(err, w.Close())
	}
	return err
}

// checkEvidence judges a file by the given keys, or says by which keys it would hold.
func (c monitorCmd) checkEvidence(p *process, keys []warg.KeyID) error {
	file, err := durable.ReadFile(durable.OS{}, p.path(c.Evidence), monitor.MaxEvidence)
	if err != nil {
		return fmt.Errorf("reading evidence: %w", err)
	}
	v, err := monitor.CheckEvidence(file, keys)
	if err != nil {
		return exitf(exitVerification, "%s proves nothing: %w", c.Evidence, err)
	}
	return p.print(c.jsonFlag, v, func(w io.Writer) {
		fmt.Fprintf(w, "proven\t%s: %s\n", v.Class, v.Reason)
		fmt.Fprintf(w, "said to be about\t%s\n", v.Registry)
		for _, key := range v.Keys {
			if len(keys) > 0 {
				fmt.Fprintf(w, "broken word of\t%s\n", key)
			} else {
				fmt.Fprintf(w, "broken word of\t%s, if that is an operator key of the registry: compare it, or give --operator-key\n", key)
			}
		}
		for _, s := range v.Checkpoints {
			fmt.Fprintf(w, "signed\tlength %d at %s, log root %s, map root %s\n", s.LogLength, unixTime(s.Timestamp), s.LogRoot, s.MapRoot)
		}
	})
}

// open opens what is remembered of all registries, or none.
func (c monitorCmd) open(p *process, keys []warg.KeyID) (watchers []*monitor.Watcher, err error) {
	dir := p.path(c.State)
	if c.State == "" {
		folder, err := p.stateFolder()
		if err != nil {
			return nil, fmt.Errorf("choosing a place for what was seen: %w; name one with --state DIR", err)
		}
		dir = filepath.Join(folder, "monitor")
	}
	board := new(monitor.Board)
	for _, url := range c.URLs {
		w, err := monitor.Open(url, monitor.Options{
			Dir: dir, OnBehalf: c.OnBehalf, OperatorKeys: keys, Interval: c.Interval, MaxLength: c.MaxLength, Now: p.now, Board: board,
		})
		if err != nil {
			return watchers, monitorError(url, err)
		}
		watchers = append(watchers, w)
	}
	return watchers, nil
}

// monitorError gives an error of a watcher its exit code.
func monitorError(url string, err error) error {
	var address *monitor.AddressError
	var damage *monitor.StateError
	_, isHeld := held(err)
	switch {
	case errors.As(err, &address):
		return exitf(exitUsage, "%w", err)
	case errors.As(err, &damage):
		return exitf(exitIO, "%w", err)
	case isHeld:
		return exitf(exitTemporary, "watching %s: %w", url, err)
	}
	return fmt.Errorf("watching %s: %w", url, err)
}

// watchAll watches all registries side by side. The first conviction, or error of our
// own files, ends it.
func (c monitorCmd) watchAll(ctx context.Context, p *process, watchers []*monitor.Watcher) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	show := c.newShow(p)
	errs := make([]error, len(watchers))
	if c.Once {
		lookOnce(ctx, watchers, errs, show)
		return worst(errs)
	}
	var all sync.WaitGroup
	for i, w := range watchers {
		all.Go(func() {
			if errs[i] = w.Watch(ctx, show); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return worst(errs)
}

// lookOnce looks at all registries once, compares what addresses of the same one show,
// and says what came of each as an error.
func lookOnce(ctx context.Context, watchers []*monitor.Watcher, errs []error, show func(monitor.Report)) {
	reports := make([]monitor.Report, len(watchers))
	var all sync.WaitGroup
	for i, w := range watchers {
		all.Go(func() { reports[i], errs[i] = w.Look(ctx) })
	}
	all.Wait()
	for i, w := range watchers {
		if errs[i] == nil {
			reports[i], errs[i] = w.Compare(ctx, reports[i])
		}
		if errs[i] == nil {
			show(reports[i])
			errs[i] = reportError(reports[i])
		}
	}
}

// reportError says what a look came to as an error.
func reportError(r monitor.Report) error {
	switch {
	case r.Evidence != "":
		return &monitor.ForkError{Registry: r.Registry, Evidence: r.Evidence, Reason: r.Message}
	case r.Status == monitor.StatusRefused:
		return exitf(exitVerification, "registry %s is not believed: %s", r.Registry, r.Message)
	case r.Status == monitor.StatusUnreachable:
		return exitf(exitTemporary, "registry %s: %s", r.Registry, r.Message)
	}
	return nil
}

// worst returns the error that decides the exit code: a conviction, then our own
// files, then what is not believed, then who did not answer.
func worst(errs []error) error {
	var worst error
	rank := func(err error) int {
		var fork *monitor.ForkError
		switch code := exitCode(err); {
		case errors.As(err, &fork):
			return 4
		case code == exitOK:
			return 0
		case code == exitTemporary:
			return 1
		case code == exitVerification:
			return 2
		}
		return 3
	}
	for _, err := range errs {
		if rank(err) > rank(worst) {
			worst = err
		}
	}
	var fork *monitor.ForkError
	if errors.As(worst, &fork) {
		return convicted(fork)
	}
	return worst
}

// convicted is the error for a conviction. The evidence follows it on standard error,
// unless it is so long that its name must do.
func convicted(fork *monitor.ForkError) error {
	const longest = 64 << 10
	r := &upstream.Refusal{Class: upstream.ClassEquivocation, Err: fork}
	if text, err := durable.ReadFile(durable.OS{}, fork.Evidence, longest); err == nil {
		r.Evidence = text
	} else if os.IsNotExist(err) {
		r.Err = fmt.Errorf("%w, which somebody has moved away since", fork)
	}
	return exitf(exitVerification, "%w", r)
}

// newShow returns what prints reports, one line each.
func (c monitorCmd) newShow(p *process) func(monitor.Report) {
	var mu sync.Mutex // watchers report at the same time
	return func(r monitor.Report) {
		mu.Lock()
		defer mu.Unlock()
		if c.JSON {
			e := json.NewEncoder(p.stdout)
			e.SetEscapeHTML(false)
			_ = e.Encode(r) // if nobody reads, the exit code still says it
			return
		}
		fmt.Fprintln(p.stdout, reportLine(r))
	}
}

// reportLine is a report for people.
func reportLine(r monitor.Report) string {
	parts := []string{r.Time.Format(time.RFC3339), r.Registry, r.Status}
	if r.OnBehalf != "" {
		parts[1] = r.OnBehalf + " at " + r.Registry
	}
	if r.LogLength > 0 {
		parts = append(parts, fmt.Sprintf("length %d, signed %s", r.LogLength, unixTime(r.Timestamp)))
	}
	if r.Added > 0 {
		parts = append(parts, fmt.Sprintf("%d new", r.Added))
	}
	switch r.By {
	case monitor.ByLedger:
		parts = append(parts, "rebuilt from the ledger")
	case monitor.ByProof:
		parts = append(parts, "by its own proofs")
	}
	if r.Message != "" {
		parts = append(parts, strings.ReplaceAll(r.Message, "\n", "; "))
	}
	if r.Evidence != "" {
		parts = append(parts, "evidence: "+r.Evidence)
	}
	return strings.Join(parts, "  ")
}

// unixTime prints a time of the protocol. Beyond the year 9999 it is a number.
func unixTime(seconds uint64) string {
	const year10000 = 253_402_300_800
	if seconds >= year10000 {
		return fmt.Sprintf("%d s", seconds)
	}
	return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
}
