package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// maxLedgerSources bounds an answer of OpLedger: pages of the protocol's size for
// the longest log there can be.
const maxLedgerSources = warg.MaxRegistryLength/warg.LedgerPageEntries + 1

// LedgerSource is a place that has a part of a registry's ledger.
type LedgerSource struct {
	First, Last  uint64 // registry indexes, both included
	URL          string // absolute, or relative to the registry's base URL
	AcceptRanges bool
	ContentType  string
}

// LedgerPages returns the sources of a ledger of the given length in pages of
// [warg.LedgerPageEntries]; path returns the URL of the page that begins at an
// index, for example [PathLedgerRecords].
func LedgerPages(length uint64, path func(start uint64) string) []LedgerSource {
	sources := make([]LedgerSource, 0, length/warg.LedgerPageEntries+1)
	for start := uint64(0); start < length; start += warg.LedgerPageEntries {
		last := min(start+warg.LedgerPageEntries, length) - 1
		sources = append(sources, LedgerSource{First: start, Last: last, URL: path(start), ContentType: ContentTypeLedger})
	}
	return sources
}

// AppendLedger appends the answer of OpLedger.
func AppendLedger(dst []byte, sources []LedgerSource) []byte {
	dst = append(dst, `{"hashAlgorithm":"sha256","sources":[`...)
	for i, s := range sources {
		dst = strconv.AppendUint(append(appendComma(dst, i), `{"firstRegistryIndex":`...), s.First, 10)
		dst = strconv.AppendUint(append(dst, `,"lastRegistryIndex":`...), s.Last, 10)
		dst = appendMember(dst, "url", s.URL)
		if s.AcceptRanges {
			dst = append(dst, `,"acceptRanges":true`...)
		}
		dst = appendMember(dst, "contentType", s.ContentType)
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

// ParseLedger reads the answer of OpLedger. The sources must begin at index 0 and
// follow one another without gap or overlap, and the hash algorithm must be sha256.
func ParseLedger(body []byte) ([]LedgerSource, error) {
	sources := []LedgerSource{}
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"hashAlgorithm", "sources"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			if name := d.String(); d.Err() == nil && name != "sha256" {
				d.Fail("unknown hash algorithm %s", quoteClipped(name))
			}
		case 1:
			sources = readLedgerSources(d)
		}
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return sources, nil
}

func readLedgerSources(d *strictjson.Decoder) []LedgerSource {
	sources := []LedgerSource{}
	next := uint64(0)
	for d.BeginArray(); d.Element(); {
		if len(sources) == maxLedgerSources {
			d.Fail("more than %d sources", maxLedgerSources)
		}
		s := readLedgerSource(d)
		if d.Err() != nil {
			break
		}
		if s.First != next || s.Last < s.First || s.Last >= warg.MaxRegistryLength {
			d.Fail("indexes %d to %d do not follow index %d", s.First, s.Last, next)
		}
		next = s.Last + 1
		sources = append(sources, s)
	}
	return sources
}

func readLedgerSource(d *strictjson.Decoder) (s LedgerSource) {
	f := strictjson.Fields{
		Names:    []string{"firstRegistryIndex", "lastRegistryIndex", "url", "contentType", "acceptRanges"},
		Required: 4,
	}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			s.First = d.Uint(math.MaxUint64)
		case 1:
			s.Last = d.Uint(math.MaxUint64)
		case 2:
			s.URL = readURL(d)
		case 3:
			s.ContentType = clipText(d.Text())
		case 4:
			s.AcceptRanges = d.Bool()
		}
	}
	return s
}
