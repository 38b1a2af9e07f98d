package authority

import "github.com/entrepot/entrepot/internal/durable"

// Names of what stands in Options.Dir, for those who look at it from outside.
const (
	LockFile    = lockFile
	AnchorFile  = "anchor" // unless Options.AnchorFile says otherwise
	HistoryFile = historyFile
	LogDir      = logDir
	PendingDir  = pendingDir
	IndexDir    = indexDir
	OpeningFile = openingFile
	AdoptedFile = adoptedFile
)

// ReadAdopted reads which namespaces are adopted, and from where, in the directory of
// a registry that need not be open.
func ReadAdopted(fsys durable.FS, dir string) (map[string]string, error) {
	a := &Authority{fs: fsys, o: Options{Dir: dir}}
	return a.readAdopted()
}

// WithSegments returns options with other sizes of segments, in bytes. Only tests want
// them.
func (o Options) WithSegments(grow, max int64) Options {
	o.segments.Grow, o.segments.Max = grow, max
	return o
}
