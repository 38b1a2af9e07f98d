package api

import (
	"net/url"
	"strconv"

	"github.com/entrepot/entrepot/warg"
)

// Paths without parameters. Like all paths built here they are relative and have
// no leading slash: clients join them to the registry's base URL, which may have a
// path of its own.
const (
	PathCheckpoint  = "v1/fetch/checkpoint"
	PathLogs        = "v1/fetch/logs"
	PathNames       = "v1/fetch/names"
	PathConsistency = "v1/proof/consistency"
	PathInclusion   = "v1/proof/inclusion"
	PathVerify      = "v1/verify/checkpoint"
	PathLedger      = "v1/ledger"
	PathWellKnown   = ".well-known/wasm-pkg/registry.json"
)

// PathPublish returns the path that takes records of a log.
func PathPublish(log warg.LogID) string { return "v1/package/" + log.String() + "/record" }

// PathRecord returns the path of a record's state.
func PathRecord(log warg.LogID, id warg.RecordID) string {
	return PathPublish(log) + "/" + id.String()
}

// PathUpload returns the path that takes content a record waits for.
func PathUpload(log warg.LogID, id warg.RecordID, digest warg.Digest) string {
	return PathRecord(log, id) + "/content/" + digest.String()
}

// PathUploadCapability returns the path that takes content for another registry;
// whoever knows the capability may upload.
func PathUploadCapability(capability string) string {
	return "v1/upload/" + url.PathEscape(capability)
}

// PathSources returns the path that says where content can be fetched.
func PathSources(digest warg.Digest) string { return "v1/content/" + digest.String() }

// PathLedgerRecords returns the path of the ledger page that begins at an index.
func PathLedgerRecords(start uint64) string {
	return "v1/ledger/records/" + strconv.FormatUint(start, 10)
}

// PathUpstreamLedgerRecords returns the path of a page of another registry's
// ledger. Requests for it carry no Warg-Registry header, so the path names the
// registry.
func PathUpstreamLedgerRecords(domain string, start uint64) string {
	return "v1/ledger/" + url.PathEscape(domain) + "/records/" + strconv.FormatUint(start, 10)
}

// PathContent returns the path of the bytes of our own content.
func PathContent(digest warg.Digest) string { return "content/" + ContentFile(digest) }

// PathUpstreamContent returns the path of the bytes of another registry's content.
func PathUpstreamContent(domain string, digest warg.Digest) string {
	return "content/" + url.PathEscape(domain) + "/" + ContentFile(digest)
}

// ContentFile returns the last segment of a content path: "sha256-" and the
// hexadecimal digits.
func ContentFile(digest warg.Digest) string { return contentFilePrefix + digest.Hex() }

const contentFilePrefix = "sha256-"
