package api

import (
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// Bounds of an answer of OpSources.
const (
	maxSources       = 128  // places of one digest
	maxSourceDigests = 1000 // digests of one answer: the one asked for, and what it imports
	maxURL           = 8192 // bytes of a URL; clients and servers along the way end there
)

// Source is a place from where content can be fetched with GET.
type Source struct {
	URL          string // absolute; it carries neither header nor token
	AcceptRanges bool
	Size         int64 // bytes, -1 = not said
}

// DigestSources are the places of one content.
type DigestSources struct {
	Digest  warg.Digest
	Sources []Source
}

// The only type of source in the protocol. Others are skipped in answers.
const sourceHTTPGet = "httpGet"

// AppendSources appends the answer of OpSources.
func AppendSources(dst []byte, contents []DigestSources) []byte {
	dst = appendSources(append(dst, `{"contentSources":`...), contents)
	return append(dst, '}')
}

func appendSources(dst []byte, contents []DigestSources) []byte {
	dst = append(dst, '{')
	for i, c := range contents {
		dst = append(appendDigest(appendComma(dst, i), c.Digest), `:[`...)
		for j, s := range c.Sources {
			dst = appendSource(appendComma(dst, j), s)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendSource(dst []byte, s Source) []byte {
	dst = strictjson.AppendString(append(dst, `{"type":"`+sourceHTTPGet+`","url":`...), s.URL)
	if s.AcceptRanges {
		dst = append(dst, `,"acceptRanges":true`...)
	}
	if s.Size >= 0 {
		dst = strconv.AppendInt(append(dst, `,"size":`...), s.Size, 10)
	}
	return append(dst, '}')
}

// ParseSources reads the answer of OpSources, in its order. Sources of unknown
// type are left out.
func ParseSources(body []byte) ([]DigestSources, error) {
	var contents []DigestSources
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"contentSources"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		contents = readSources(d)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return contents, nil
}

func readSources(d *strictjson.Decoder) (contents []DigestSources) {
	seen := make(map[warg.Digest]struct{})
	for d.BeginObject(); d.Key(); {
		digest := keyDigest(d)
		if _, dup := seen[digest]; dup {
			d.Fail("duplicate member")
		}
		if len(seen) == maxSourceDigests {
			d.Fail("more than %d digests", maxSourceDigests)
		}
		seen[digest] = struct{}{}
		contents = append(contents, DigestSources{Digest: digest, Sources: readSourceList(d)})
	}
	return contents
}

func readSourceList(d *strictjson.Decoder) []Source {
	sources := []Source{}
	count := 0
	for d.BeginArray(); d.Element(); {
		if count++; count > maxSources {
			d.Fail("more than %d sources", maxSources)
		}
		if s, known := readSource(d); known {
			sources = append(sources, s)
		}
	}
	return sources
}

func readSource(d *strictjson.Decoder) (s Source, known bool) {
	s.Size = -1
	var kind string
	f := strictjson.Fields{Names: []string{"type", "url", "acceptRanges", "size"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			kind = d.String()
		case 1:
			s.URL = readURL(d)
		case 2:
			s.AcceptRanges = d.Bool()
		case 3:
			if !d.Null() {
				s.Size = int64(d.Uint(math.MaxInt64))
			}
		}
	}
	if known = kind == sourceHTTPGet; known && !f.Seen(1) {
		d.Fail("missing member `url`")
	}
	return s, known
}

// readURL reads a URL or a relative reference. What does not fit a request line is
// refused here; whether it may be followed is for the caller to decide.
func readURL(d *strictjson.Decoder) string {
	u := d.String()
	switch {
	case len(u) > maxURL:
		d.Fail("a URL of more than %d bytes", maxURL)
	case hasControl(u):
		d.Fail("a URL with white space or control characters")
	}
	return u
}
