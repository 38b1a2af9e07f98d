package main

import (
	"fmt"
	"path/filepath"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/internal/space"
)

// newSpace returns what watches the disks that a site writes to.
func (s *site) newSpace() *space.Watch {
	return space.New(space.Options{
		FS:      durable.OS{},
		Dirs:    []string{s.conf.Data, filepath.Join(s.conf.Data, authorityDir), filepath.Join(s.conf.Data, contentDir)},
		Mark:    uint64(s.conf.Limits.FreeSpace),
		Ballast: ballastPath(s.conf),
		Log:     s.log,
	})
}

func ballastPath(c *config.Config) string { return filepath.Join(c.Data, ballastFile) }

// relieve makes room on a disk that has little left, before anything is opened that may
// not survive a lack of it.
func (s *site) relieve() error {
	s.space = s.newSpace()
	if err := s.space.Relieve(s.now()); err != nil {
		return fmt.Errorf("giving up the ballast: %w; delete %s", err, ballastPath(s.conf))
	}
	return nil
}

// space looks at how much is left on the disk, and at what is kept in hand.
func (d *doctor) space() {
	left, err := durable.OS{}.Space(d.conf.Data)
	if err != nil {
		d.say("space", stateWarn, "look at the disk", "%v", err)
		return
	}
	mark := space.Mark(left.Total, uint64(d.conf.Limits.FreeSpace))
	if left.Free < mark {
		d.say("space", stateWarn, "make room: below the mark nothing is taken in", "%d MiB are free, the mark is at %d MiB", left.Free>>20, mark>>20)
	} else {
		d.say("space", stateOK, "", "%d MiB are free, the mark is at %d MiB", left.Free>>20, mark>>20)
	}
	d.ballast(left, mark)
}

// ballast looks at the file that a start gives up where little is left.
func (d *doctor) ballast(left durable.Space, mark uint64) {
	size := space.BallastSize(left.Total)
	held, err := space.BallastHeld(durable.OS{}, ballastPath(d.conf))
	switch {
	case err != nil:
		d.say("ballast", stateWarn, "look at "+ballastPath(d.conf), "%v", err)
	case size == 0:
		d.say("ballast", stateOK, "", "a file system of %d MiB is too small for one", left.Total>>20)
	case held >= size:
		d.say("ballast", stateOK, "", "%d MiB are kept in hand", held>>20)
	case left.Free < mark+size:
		d.say("ballast", stateWarn, "make room: it is made again by itself", "%d of %d MiB are kept in hand", held>>20, size>>20)
	default:
		d.say("ballast", stateOK, "", "%d of %d MiB are kept in hand; a server makes the rest", held>>20, size>>20)
	}
}
