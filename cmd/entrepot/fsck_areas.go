package main

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/entrepot/entrepot/authority"
	"github.com/entrepot/entrepot/config"
)

// area is a part of a data directory and how much there is of it.
type area struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// areas returns the parts of a data directory: the longest prefix decides where a file
// belongs.
func areas() []struct{ name, prefix string } {
	return []struct{ name, prefix string }{
		{"journal", authorityDir + "/" + authority.LogDir + "/"},
		{"submissions", authorityDir + "/" + authority.PendingDir + "/"},
		{"index", authorityDir + "/" + authority.IndexDir + "/"},
		{"set aside", authorityDir + "/" + authority.IndexDir + ".bad/"},
		{"history", authorityDir + "/" + authority.HistoryFile},
		{"content", contentDir + "/"},
		{"set aside", contentDir + "/bad/"},
		{"upstreams", upstreamsDir + "/"},
		{"cache", cacheDir + "/"},
		{"evidence", evidenceDir + "/"},
		{"audit log", auditFile},
		{"ballast", ballastFile},
		{"other", ""},
	}
}

// measure sums up the files of each part of the data directory. An anchor on another
// volume is not among them.
func (r *siteReport) measure(conf *config.Config) error {
	r.Areas = []area{}
	at := map[string]int{}
	for _, a := range areas() {
		if _, ok := at[a.name]; !ok {
			at[a.name] = len(r.Areas)
			r.Areas = append(r.Areas, area{Name: a.name})
		}
	}
	return filepath.WalkDir(conf.Data, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(conf.Data, name)
		if err != nil {
			return err
		}
		a := &r.Areas[at[areaOf(filepath.ToSlash(rest))]]
		a.Files++
		a.Bytes += fi.Size()
		return nil
	})
}

func areaOf(rest string) (name string) {
	longest := -1
	for _, a := range areas() {
		if strings.HasPrefix(rest, a.prefix) && len(a.prefix) > longest {
			name, longest = a.name, len(a.prefix)
		}
	}
	return name
}
