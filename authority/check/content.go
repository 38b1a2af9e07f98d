package check

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// Folders of a content store that hold no content.
const (
	unfinishedDir = "tmp"
	asideDir      = "bad"
)

// readContent hashes every file of content, published or not, and looks for what the
// published releases need.
func (c *checker) readContent(released map[warg.Digest]uint64) error {
	there, err := c.hashContent()
	if err != nil {
		return err
	}
	var missing []warg.Digest
	for d := range released {
		if !there[d] {
			missing = append(missing, d)
		}
	}
	slices.SortFunc(missing, warg.Digest.Compare)
	for _, d := range missing {
		c.report.Missing++
		c.report.add(Finding{
			Class: Content, File: ContentFile(c.o.ContentDir, d), Digest: d,
			Reason: "content of a published release is missing; upload it again by its digest",
		})
	}
	return nil
}

// ContentFile returns the name of the file of some content.
func ContentFile(dir string, d warg.Digest) string {
	h := d.Hex()
	return filepath.Join(dir, h[:2], h[2:])
}

// hashContent reads all files and returns which content is there at all, damaged or not.
func (c *checker) hashContent() (map[warg.Digest]bool, error) {
	there := map[warg.Digest]bool{}
	folders, err := c.o.FS.ReadDir(c.o.ContentDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range folders {
		if !f.IsDir() || f.Name() == unfinishedDir || f.Name() == asideDir {
			continue
		}
		dir := filepath.Join(c.o.ContentDir, f.Name())
		err := walk(c.o.FS, dir, func(name string, fi fs.FileInfo) error {
			rest, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			raw, err := hex.DecodeString(f.Name() + rest)
			if err != nil || len(raw) != warg.DigestSize {
				c.note(Content, name, 0, "its name is no digest, so nobody asks for it")
				return nil
			}
			there[warg.Digest(raw)] = true
			return c.hashOne(name, warg.Digest(raw), fi.Size())
		})
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

func (c *checker) hashOne(name string, want warg.Digest, size int64) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	got, err := hashFile(c.o.FS, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	c.read(size)
	c.report.Contents++
	if got != want {
		c.report.add(Finding{Class: Content, File: name, Digest: want, Reason: fmt.Sprintf("its bytes have digest %s", got)})
	}
	return nil
}

func hashFile(fsys durable.FS, name string) (warg.Digest, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return warg.Digest{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return warg.Digest{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return warg.Digest(h.Sum(nil)), nil
}
