package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

type infoCmd struct {
	registryFlags
	jsonFlag
	Package string `arg:"" name:"package" help:"NS:NAME."`
}

func (infoCmd) Help() string {
	return "Example:\n\n    entrepot info --registry https://pkg.example.com acme:tool\n"
}

// packageShown is what info prints.
type packageShown struct {
	Package    string         `json:"package"`
	LogID      warg.LogID     `json:"logId"`
	Registry   string         `json:"registry"`
	Checkpoint checkpointInfo `json:"checkpoint"`
	Releases   []releaseShown `json:"releases"`
	Keys       []keyShown     `json:"keys"` // who may do what
}

// checkpointInfo is the checkpoint that vouches for what is shown.
type checkpointInfo struct {
	Length      uint64     `json:"length"`
	Time        time.Time  `json:"time"`
	OperatorKey warg.KeyID `json:"operatorKey"`
}

type releaseShown struct {
	Version  string     `json:"version"`
	Content  string     `json:"content,omitempty"`
	Released time.Time  `json:"released"`
	By       warg.KeyID `json:"by"`
	Yanked   bool       `json:"yanked"`
	YankedBy warg.KeyID `json:"yankedBy,omitempty"`
}

type keyShown struct {
	KeyID       warg.KeyID `json:"keyId"`
	PublicKey   string     `json:"publicKey"`
	Permissions []string   `json:"permissions"`
}

func (c infoCmd) Run(ctx context.Context, p *process) error {
	name, err := parsePackage(c.Package)
	if err != nil {
		return err
	}
	s, err := p.openSession(c.registryFlags)
	if err != nil {
		return err
	}
	defer s.close()
	snap, err := s.fetch(ctx, name)
	if err != nil {
		return fmt.Errorf("looking up `%s`: %w", name, err)
	}
	result := showPackage(s.Domain(), snap)
	return p.print(c.jsonFlag, result, result.write)
}

func showPackage(registry string, snap *upstream.Snapshot) packageShown {
	pkg := snap.Packages[0]
	shown := packageShown{
		Package: pkg.Name.String(), LogID: pkg.Name.LogID(), Registry: registry,
		Checkpoint: checkpointInfo{snap.Checkpoint.LogLength, time.Unix(int64(snap.Checkpoint.Timestamp), 0).UTC(), snap.OperatorKey},
		Releases:   []releaseShown{}, Keys: []keyShown{},
	}
	for _, r := range pkg.State.Releases() {
		shown.Releases = append(shown.Releases, releaseShown{
			r.Version.String(), r.Content.String(), r.Time.Time(), r.By, r.Yanked, r.YankedBy,
		})
	}
	for _, k := range pkg.State.Keys() {
		permissions := []string{}
		for _, permission := range pkg.State.Permissions(k.ID()) {
			permissions = append(permissions, permission.String())
		}
		shown.Keys = append(shown.Keys, keyShown{k.ID(), k.String(), permissions})
	}
	return shown
}

func (s packageShown) write(w io.Writer) {
	fmt.Fprintf(w, "package\t%s\n", s.Package)
	fmt.Fprintf(w, "registry\t%s\n", s.Registry)
	fmt.Fprintf(w, "checkpoint\t%d of %s\n", s.Checkpoint.Length, s.Checkpoint.Time.Format(time.RFC3339))
	if len(s.Releases) == 0 {
		fmt.Fprintln(w, "no releases")
	}
	for _, r := range s.Releases {
		what := r.Content
		if r.Yanked {
			what = "yanked"
		}
		fmt.Fprintf(w, "release\t%s\t%s\t%s\n", r.Version, r.Released.Format(time.RFC3339), what)
	}
	for _, k := range s.Keys {
		may := "nothing any more"
		if len(k.Permissions) > 0 {
			may = strings.Join(k.Permissions, ", ")
		}
		fmt.Fprintf(w, "key\t%s\tmay %s\n", k.KeyID, may)
	}
}
