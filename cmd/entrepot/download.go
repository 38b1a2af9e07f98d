package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
)

type downloadCmd struct {
	registryFlags
	jsonFlag
	Output  string `short:"o" placeholder:"FILE" help:"File to write. Default: NAME.wasm here."`
	Package string `arg:"" name:"package" help:"NS:NAME, or NS:NAME@REQ: a bare version is exact, else a requirement as cargo writes it (^1.2, '>=1, <2', *)."`
}

func (downloadCmd) Help() string {
	return `Everything is verified before the file appears: the operator's log and key, the
checkpoint and that it extends the last one seen, the package's log, and the content.

Example:

    entrepot download --registry https://pkg.example.com 'acme:tool@^1.2' -o tool.wasm
`
}

// downloaded is what download prints.
type downloaded struct {
	Package string `json:"package"`
	Version string `json:"version"`
	Content string `json:"content"` // digest
	Size    int64  `json:"size"`    // bytes
	File    string `json:"file"`
}

func (c downloadCmd) Run(ctx context.Context, p *process) error {
	w, err := parseWanted(c.Package)
	if err != nil {
		return err
	}
	s, err := p.openSession(c.registryFlags)
	if err != nil {
		return err
	}
	defer s.close()
	snap, err := s.fetch(ctx, w.name)
	if err != nil {
		return fmt.Errorf("downloading `%s`: %w", w.name, err)
	}
	chosen, digest, err := w.choose(snap.Packages[0].State)
	if err != nil {
		return err
	}
	file := c.Output
	if file == "" {
		file = w.name.Name() + ".wasm"
	}
	b := byteProgress{p: p, what: c.Package}
	size, err := s.Download(ctx, digest, p.path(file), b.tell)
	b.bar.done()
	if errors.Is(err, &warg.Error{Kind: warg.KindContentNotFound}) {
		err = exitf(exitFailed, "the registry lists this release, but does not have its content: %w", err)
	}
	if err != nil {
		return fmt.Errorf("downloading `%s` %s: %w%s", w.name, chosen.Version, err, w.instead(snap.Packages[0].State, chosen))
	}
	result := downloaded{w.name.String(), chosen.Version.String(), digest.String(), size, file}
	return p.print(c.jsonFlag, result, func(w io.Writer) {
		fmt.Fprintf(w, "downloaded %s@%s to %s\n", result.Package, result.Version, result.File)
	})
}

// instead names the newest other release that would do. It is never taken by itself:
// whoever keeps content back would decide which release people use.
func (w wanted) instead(state *pkglog.State, failed pkglog.ReleaseState) string {
	var others []pkglog.ReleaseState
	for _, r := range state.Releases() {
		if r.Version.Compare(failed.Version) != 0 {
			others = append(others, r)
		}
	}
	best, ok := pkglog.Select(others, w.want)
	if !ok {
		return ""
	}
	return fmt.Sprintf("; if an older release will do, ask for `%s@%s`", w.name, best.Version)
}

// choose returns the release to download. If none will do, the error says why.
func (w wanted) choose(state *pkglog.State) (pkglog.ReleaseState, warg.Digest, error) {
	releases := state.Releases()
	best, ok := pkglog.Select(releases, w.want)
	if ok {
		digest, err := best.Content.Digest()
		if err != nil {
			return best, digest, exitf(exitVerification, "release %s of `%s` names content that cannot be verified: %w", best.Version, w.name, err)
		}
		return best, digest, nil
	}
	yanked := 0
	for _, r := range releases {
		if r.Yanked && w.want.Matches(r.Version) {
			yanked++
		}
	}
	switch {
	case yanked > 0 && w.text != "":
		return best, warg.Digest{}, exitf(exitFailed, "every release of `%s` that matches `%s` was yanked; `entrepot info %s` lists the others", w.name, w.text, w.name)
	case yanked > 0:
		return best, warg.Digest{}, exitf(exitFailed, "every release of `%s` was yanked", w.name)
	case w.text != "":
		return best, warg.Digest{}, exitf(exitFailed, "`%s` has no release that matches `%s`; `entrepot info %s` lists what there is", w.name, w.text, w.name)
	}
	return best, warg.Digest{}, exitf(exitFailed, "`%s` has no releases", w.name)
}
