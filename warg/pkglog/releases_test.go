package pkglog_test

import (
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/pkglog"
	"github.com/entrepot/entrepot/warg/wargtest"
)

func TestReleases(t *testing.T) {
	version := func(s string) warg.Version {
		v, err := warg.ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	one := pkglog.Release{Version: version("1.0.0"), Content: warg.Sum([]byte("a")).AnyHash()}
	two := pkglog.Release{Version: version("1.1.0-rc.1"), Content: warg.Sum([]byte("b")).AnyHash()}
	record := func(entries ...pkglog.Entry) []byte {
		return pkglog.Record{Time: warg.Timestamp{Seconds: 1}, Entries: entries}.Encode()
	}
	for name, row := range map[string]struct {
		content []byte
		want    []pkglog.Release
	}{
		"none":           {record(pkglog.Init{Key: wargtest.Alice().Public()}), nil},
		"among others":   {record(pkglog.Init{Key: wargtest.Alice().Public()}, one, pkglog.Yank{Version: version("1.0.0")}, two), []pkglog.Release{one, two}},
		"nothing at all": {record(), nil},
	} {
		got, err := pkglog.Releases(row.content)
		if err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	whole := record(one)
	if _, err := pkglog.Releases(whole[:len(whole)-1]); err == nil {
		t.Error("half a record has releases")
	}
}
