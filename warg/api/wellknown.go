package api

import (
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// WellKnown is the discovery document at [PathWellKnown].
type WellKnown struct {
	Preferred  string // "oci" or "warg"
	OCI        *WellKnownOCI
	WargURL    string // base URL of the Warg API, "" = the document has no object warg
	LegacyWarg string // the old top-level wargUrl, which moves old clients there and breaks new ones; "" = none
}

// WellKnownOCI says where packages are found as OCI artifacts.
type WellKnownOCI struct {
	Registry        string // host, with a port where it is not the default
	NamespacePrefix string // before the namespace in a repository's name
}

// AppendWellKnown appends the document. Unless LegacyWarg is set, all members but
// the first are objects, which every version of every client can read.
func AppendWellKnown(dst []byte, w WellKnown) []byte {
	dst = strictjson.AppendString(append(dst, `{"preferredProtocol":`...), w.Preferred)
	if w.OCI != nil {
		dst = strictjson.AppendString(append(dst, `,"oci":{"registry":`...), w.OCI.Registry)
		dst = appendMember(dst, "namespacePrefix", w.OCI.NamespacePrefix)
		dst = append(dst, '}')
	}
	if w.WargURL != "" {
		dst = strictjson.AppendString(append(dst, `,"warg":{"url":`...), w.WargURL)
		dst = append(dst, '}')
	}
	if w.LegacyWarg != "" {
		dst = appendMember(dst, "wargUrl", w.LegacyWarg)
	}
	return append(dst, '}')
}

// ParseWellKnown reads a discovery document. Members that are null count as
// missing; those of other protocols are ignored.
func ParseWellKnown(body []byte) (WellKnown, error) {
	var w WellKnown
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"preferredProtocol", "oci", "warg", "wargUrl"}}
	for d.BeginObject(); d.Field(&f); {
		if d.Null() {
			continue
		}
		switch f.Index {
		case 0:
			w.Preferred = clipText(d.Text())
		case 1:
			w.OCI = readWellKnownOCI(d)
		case 2:
			w.WargURL = readWellKnownWarg(d)
		case 3:
			w.LegacyWarg = readURL(d)
		}
	}
	if err := d.Err(); err != nil {
		return WellKnown{}, err
	}
	return w, nil
}

func readWellKnownOCI(d *strictjson.Decoder) *WellKnownOCI {
	var o WellKnownOCI
	f := strictjson.Fields{Names: []string{"registry", "namespacePrefix"}}
	for d.BeginObject(); d.Field(&f); {
		switch text := clipText(d.Text()); f.Index {
		case 0:
			o.Registry = text
		case 1:
			o.NamespacePrefix = text
		}
	}
	return &o
}

func readWellKnownWarg(d *strictjson.Decoder) (url string) {
	f := strictjson.Fields{Names: []string{"url"}}
	for d.BeginObject(); d.Field(&f); {
		url = readURL(d)
	}
	return url
}
