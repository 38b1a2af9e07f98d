package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pageLen is what a disk loses at a time.
const pageLen = 4096

// hurt is what was damaged.
type hurt struct {
	what    string
	derived bool // everything that was damaged can be made again
}

// isDerived reports whether a file can be made again from others.
func isDerived(name string) bool {
	return strings.HasPrefix(name, "authority/index/") || strings.HasPrefix(name, "cache/")
}

// damage damages one file of the site and says how.
func (f *flipSite) damage(rng *rand.Rand) (hurt, error) {
	all, err := files(f.data)
	if err != nil {
		return hurt{}, err
	}
	all = slices.DeleteFunc(all, func(name string) bool {
		return strings.HasPrefix(name, "run/") || strings.HasSuffix(name, "LOCK")
	})
	name := pick(rng, all)
	path := filepath.Join(f.data, name)
	kinds := []string{"flip", "flip", "flip", "zero page", "truncate", "swap", "delete", "stale", "garbage", "append"}
	kind := kinds[rng.IntN(len(kinds))]
	switch kind {
	case "swap":
		other := pick(rng, all)
		h := hurt{fmt.Sprintf("%s exchanged with %s", name, other), isDerived(name) && isDerived(other)}
		return h, exchange(path, filepath.Join(f.data, other))
	case "delete":
		return hurt{name + " deleted", isDerived(name)}, os.Remove(path)
	case "stale":
		stale := filepath.Join(f.dir, "stale", name)
		if _, err := os.Stat(stale); err != nil {
			return hurt{name + " deleted, it is new", isDerived(name)}, os.Remove(path)
		}
		return hurt{name + " replaced by an older one", isDerived(name)}, copyFile(stale, path)
	}
	what, err := change(rng, name, path, kind)
	return hurt{what, isDerived(name)}, err
}

// pick picks a folder first: most files are content, and all folders matter alike.
func pick(rng *rand.Rand, all []string) string {
	folders := map[string][]string{}
	for _, name := range all {
		folder, _, below := strings.Cut(name, "/")
		if below && folder != "content" {
			folder = filepath.Dir(name)
		}
		if !below {
			folder = "."
		}
		folders[folder] = append(folders[folder], name)
	}
	names := slices.Sorted(maps.Keys(folders))
	in := folders[names[rng.IntN(len(names))]]
	return in[rng.IntN(len(in))]
}

// change damages the bytes of a file.
func change(rng *rand.Rand, name, path, kind string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if len(content) == 0 || kind == "append" {
		return name + " with bytes appended", appendTo(path, []byte("garbage"))
	}
	at := somewhere(rng, content)
	switch kind {
	case "flip":
		bit := rng.IntN(8)
		return fmt.Sprintf("bit %d of byte %d of %s", bit, at, name), writeAt(path, at, []byte{content[at] ^ 1<<bit})
	case "zero page":
		at -= at % pageLen
		return fmt.Sprintf("page at %d of %s zero", at, name), writeAt(path, at, make([]byte, min(pageLen, len(content)-at)))
	case "truncate":
		return fmt.Sprintf("%s cut at %d", name, at), os.Truncate(path, int64(at))
	default:
		junk := make([]byte, min(1+rng.IntN(64), len(content)-at))
		for i := range junk {
			junk[i] = byte(rng.Uint32())
		}
		return fmt.Sprintf("%d bytes at %d of %s by chance", len(junk), at, name), writeAt(path, at, junk)
	}
}

// somewhere picks a place in a file, for the most part one that is not zero: files are
// longer than what was written to them.
func somewhere(rng *rand.Rand, content []byte) int {
	const tries = 50
	for range tries {
		at := rng.IntN(len(content))
		if content[at] != 0 {
			return at
		}
	}
	written := len(content)
	for written > 1 && content[written-1] == 0 {
		written--
	}
	return rng.IntN(written)
}

func writeAt(path string, at int, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(b, int64(at))
	return err
}

func appendTo(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(b)
	return err
}

// exchange gives two files each other's name.
func exchange(a, b string) error {
	if a == b {
		return nil
	}
	spare := a + ".spare"
	for _, step := range [][2]string{{a, spare}, {b, a}, {spare, b}} {
		if err := os.Rename(step[0], step[1]); err != nil {
			return fmt.Errorf("exchanging: %w", err)
		}
	}
	return nil
}
