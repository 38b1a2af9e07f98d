package warg

// Limits of the protocol. Where the reference documents a limit without
// enforcing it, we enforce it.
const (
	MaxJSONBody        = 2 << 20 // bytes of a JSON request body
	MaxRecordBytes     = 1 << 20 // content bytes of one record
	MaxNameBytes       = 128     // bytes of a package name on publish
	DefaultFetchLimit  = 100     // records per log and answer, if the request does not say
	MaxFetchLimit      = 1000    // records per log and answer
	MaxFetchLogs       = 10_000  // logs named in one fetch; more do not fit a body of clients either
	MaxNames           = 1000    // log ids looked at in one fetch/names
	MaxLeaves          = 10_000  // leaves in one inclusion request; a client asks for one per package
	LedgerPageEntries  = 1000    // entries of one ledger page
	LedgerEntrySize    = 64      // bytes: raw log id, raw record id
	MaxRegistryLength  = 1 << 31 // leaves; node numbers are 32 bits on the wire
	MaxMissingContents = 128     // distinct contents that one record may release
)
