package cache

import (
	"context"
	"os"

	"github.com/entrepot/entrepot/internal/cas"
	"github.com/entrepot/entrepot/internal/scrub"
)

// Scrubs returns what of the cache is read again in the background. Content that is
// damaged is dropped, and fetched again when somebody wants it.
func (c *Cache) Scrubs() []scrub.Source {
	return []scrub.Source{{Name: "cache", Items: c.files.Folders, Check: c.scrub}}
}

func (c *Cache) scrub(_ context.Context, folder string, pace scrub.Pace) (damaged int, err error) {
	err = c.files.Scrub(folder, pace.Reader, func(d *cas.CorruptError) {
		damaged++
		c.dropDamaged(d)
	})
	return damaged, err
}

// dropDamaged drops content whose file was found damaged and moved aside.
func (c *Cache) dropDamaged(d *cas.CorruptError) {
	c.counts.damages.Add(1)
	c.o.Log.Warn("cached content is damaged and will be fetched again", "digest", d.Digest.String(), "error", d)
	_ = os.Remove(d.Moved) // it can be fetched again; nothing is lost with it
	c.drop(d.Digest)
}
