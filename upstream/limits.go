package upstream

import "time"

// Bounds on what one exchange with an upstream may cost. An honest registry stays
// far below them.
const (
	maxCheckpointBody = 16 << 10 // a checkpoint has about 400 bytes
	maxNamesBody      = 1 << 20  // 1000 names of 128 bytes and as many ids
	maxProofBody      = 64 << 20 // 10 000 leaves with 31 + 256 hashes of 34 bytes, in base64
	maxRecordBody     = 256 << 10
	maxSourcesBody    = 256 << 10
	maxLedgerBody     = 4 << 20  // the list of pages; the reference lists 1000 leaves in 150 bytes
	maxLedgerPage     = 1 << 16  // entries of one page, 4 MiB
	maxErrorBody      = 16 << 10 // what is read of an error's body
	maxLogsBody       = 32 << 20 // of one page of records; a page is asked for again in smaller pieces
	maxHeaderBytes    = 32 << 10

	// DefaultMaxContent bounds one content if the options do not.
	DefaultMaxContent = 1 << 30

	maxContentRedirects = 3
	maxContentSources   = 8 // sources tried for one digest
)

// Bounds on what publishing through us may take from an upstream's connections, of
// which there are DefaultMaxConnections, so that reading goes on beside it.
const (
	maxExchanges = 4  // about records, at a time; the rest waits
	maxSends     = 2  // uploads on their way to the registry, at a time
	maxSpools    = 32 // uploads being received; each may take the largest content's room on disk
)

// Bounds in time.
const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	// headTimeout is how long an answer's head may take. Upstream may have to
	// compute thousands of proofs for it.
	headTimeout = 30 * time.Second
	idleTimeout = 60 * time.Second

	// A body that brings less than progressBytes in progressWindow is given up.
	progressWindow = 30 * time.Second
	progressBytes  = 30 << 10
)
