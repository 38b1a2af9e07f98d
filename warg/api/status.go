package api

import (
	"fmt"
	"math"
	"strconv"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// maxUploadSites bounds the places offered for one upload; clients use the first.
const maxUploadSites = 128

// The only type of upload endpoint in the protocol. Others are skipped in answers.
const uploadHTTP = "http"

// AppendRecordStatus appends the state of a record of the given log: the answer of
// OpPublish and OpRecord. Missing content without upload sites of its own is to be
// sent to the registry's own upload path.
func AppendRecordStatus(dst []byte, log warg.LogID, s warg.RecordStatus) []byte {
	dst = appendDigest(append(dst, `{"recordId":`...), warg.Digest(s.RecordID))
	dst = appendPlain(append(dst, `,"state":`...), s.State.String())
	switch s.State {
	case warg.StateSourcing:
		dst = appendMissing(append(dst, `,"missingContent":`...), log, s)
	case warg.StateRejected:
		dst = appendMember(dst, "reason", s.Reason)
	case warg.StatePublished:
		dst = strconv.AppendUint(append(dst, `,"registryIndex":`...), s.Index, 10)
	case warg.StateProcessing:
	}
	return append(dst, '}')
}

func appendMissing(dst []byte, log warg.LogID, s warg.RecordStatus) []byte {
	dst = append(dst, '{')
	for i, digest := range s.Missing {
		dst = append(appendDigest(appendComma(dst, i), digest), `:{"upload":[`...)
		sites, ok := s.Uploads[digest]
		if !ok {
			sites = []warg.UploadSite{{Method: "POST", URL: PathUpload(log, s.RecordID, digest)}}
		}
		for j, site := range sites {
			dst = appendPlain(append(appendComma(dst, j), `{"type":"`+uploadHTTP+`","method":`...), site.Method)
			dst = appendMember(dst, "url", site.URL)
			dst = append(dst, '}')
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, '}')
}

// ParseRecordStatus reads the state of a record. Missing is in the order of the
// answer and Uploads has an entry for each, empty where no upload site is of a kind
// we know. Headers that an upload site asks for are not supported: such a site is
// left out, since a request without them would not do what was meant.
func ParseRecordStatus(body []byte) (warg.RecordStatus, error) {
	var (
		s     warg.RecordStatus
		state string
	)
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"recordId", "state", "missingContent", "reason", "registryIndex"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			s.RecordID = warg.RecordID(readDigest(d))
		case 1:
			state = d.String()
		case 2:
			readMissing(d, &s)
		case 3:
			s.Reason = clipText(d.Text())
		case 4:
			s.Index = d.Uint(math.MaxUint64)
		}
	}
	if d.Err() == nil {
		d.FailWith(settleState(&s, state, &f))
	}
	if err := d.Err(); err != nil {
		return warg.RecordStatus{}, err
	}
	return s, nil
}

// settleState sets the state, checks that the member that belongs to it was there,
// and drops those of other states.
func settleState(s *warg.RecordStatus, name string, f *strictjson.Fields) error {
	const missing, reason, index = 2, 3, 4
	clean := warg.RecordStatus{RecordID: s.RecordID}
	needed := 0
	switch name {
	case warg.StateSourcing.String():
		clean.State, clean.Missing, clean.Uploads, needed = warg.StateSourcing, s.Missing, s.Uploads, missing
	case warg.StateProcessing.String():
		clean.State = warg.StateProcessing
	case warg.StateRejected.String():
		clean.State, clean.Reason, needed = warg.StateRejected, s.Reason, reason
	case warg.StatePublished.String():
		clean.State, clean.Index, needed = warg.StatePublished, s.Index, index
	default:
		return fmt.Errorf("unknown state %s", quoteClipped(name))
	}
	if !f.Seen(needed) {
		return fmt.Errorf("missing member `%s` in state %s", f.Names[needed], name)
	}
	*s = clean
	return nil
}

func readMissing(d *strictjson.Decoder, s *warg.RecordStatus) {
	s.Uploads = make(map[warg.Digest][]warg.UploadSite)
	for d.BeginObject(); d.Key(); {
		digest := keyDigest(d)
		if _, dup := s.Uploads[digest]; dup {
			d.Fail("duplicate member")
		}
		if len(s.Missing) == warg.MaxMissingContents {
			d.Fail("more than %d missing contents", warg.MaxMissingContents)
		}
		s.Missing = append(s.Missing, digest)
		s.Uploads[digest] = nil
		f := strictjson.Fields{Names: []string{"upload"}, Required: 1}
		for d.BeginObject(); d.Field(&f); {
			s.Uploads[digest] = readUploadSites(d)
		}
	}
}

func readUploadSites(d *strictjson.Decoder) []warg.UploadSite {
	sites := []warg.UploadSite{}
	count := 0
	for d.BeginArray(); d.Element(); {
		if count++; count > maxUploadSites {
			d.Fail("more than %d upload sites", maxUploadSites)
		}
		if site, usable := readUploadSite(d); usable {
			sites = append(sites, site)
		}
	}
	return sites
}

func readUploadSite(d *strictjson.Decoder) (site warg.UploadSite, usable bool) {
	var (
		kind    string
		headers bool
	)
	f := strictjson.Fields{Names: []string{"type", "method", "url", "headers"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			kind = d.String()
		case 1:
			site.Method = d.String()
		case 2:
			site.URL = readURL(d)
		case 3:
			for d.BeginObject(); d.Key(); headers = true {
				d.Skip()
			}
		}
	}
	if kind == uploadHTTP && !(f.Seen(1) && f.Seen(2)) {
		d.Fail("missing member `method` or `url`")
	}
	method := site.Method == "POST" || site.Method == "PUT"
	return site, kind == uploadHTTP && method && !headers
}
