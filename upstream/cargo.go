package upstream

import (
	"iter"

	"github.com/entrepot/entrepot/warg"
)

// Cargo is what an archive carries of one registry: a transport that also tells what
// there is to ask for. Nothing it returns is believed.
//
// A cargo may build on others. Its ledger then begins at the length of its base, its
// logs with the records that those before do not have.
type Cargo interface {
	Transport
	// Base returns the newest checkpoint of the cargo before, zero if there is none.
	Base() warg.SignedCheckpoint
	// BaseLogs returns the package logs that the cargoes before have together.
	BaseLogs() iter.Seq2[CargoLog, error]
	// BaseContents returns the content that the cargoes before have together.
	BaseContents() iter.Seq2[warg.Digest, error]

	// Checkpoints returns checkpoints between the base and the newest, by ascending
	// length.
	Checkpoints() iter.Seq2[warg.SignedCheckpoint, error]
	// Packages returns the package logs that are carried.
	Packages() iter.Seq2[CargoLog, error]
	// Contents returns the content that is carried.
	Contents() iter.Seq2[warg.ContentInfo, error]
	// Stat fails with KindContentNotFound for content that is not carried.
	Stat(digest warg.Digest) (warg.ContentInfo, error)
}

// signedSeq is a sequence of checkpoints that may end in an error.
type signedSeq = iter.Seq2[warg.SignedCheckpoint, error]

// CargoLog is a package log in a cargo.
type CargoLog struct {
	LogID warg.LogID
	First uint64 // of its records that are carried, counted from the log's beginning
	Count uint64 // of records; 0 if only the name is carried
	Named bool   // its name is carried
	Bytes int64  // what its records take
}
