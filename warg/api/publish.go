package api

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// PublishBody is the request of OpPublish; the log id stands in the path.
type PublishBody struct {
	Name    warg.PackageName
	Record  warg.Envelope
	Sources []DigestSources // where the registry could fetch the content itself
}

// Request returns b as a request about the log of the path.
func (b PublishBody) Request(log warg.LogID) warg.PublishRequest {
	return warg.PublishRequest{LogID: log, Name: b.Name, Record: b.Record}
}

// AppendPublishRequest appends the request of OpPublish.
func AppendPublishRequest(dst []byte, b PublishBody) []byte {
	dst = appendPlain(append(dst, `{"packageName":`...), b.Name.String())
	dst = AppendEnvelope(append(dst, `,"record":`...), b.Record)
	if len(b.Sources) > 0 {
		dst = appendSources(append(dst, `,"contentSources":`...), b.Sources)
	}
	return append(dst, '}')
}

// ParsePublishRequest reads the request of OpPublish. The record's content is not
// decoded. Names longer than [warg.MaxNameBytes] and content longer than
// [warg.MaxRecordBytes] are refused. Errors: KindBadRequest if the body is not
// JSON, else KindUnprocessable.
func ParsePublishRequest(body []byte) (PublishBody, error) {
	var b PublishBody
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"packageName", "record", "contentSources"}, Required: 2}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			b.Name = readPackageName(d)
		case 1:
			b.Record = readEnvelope(d)
		case 2:
			b.Sources = readSources(d)
		}
	}
	if err := d.Err(); err != nil {
		return PublishBody{}, requestError(err)
	}
	return b, nil
}

func readPackageName(d *strictjson.Decoder) warg.PackageName {
	text := d.Text()
	if len(text) > warg.MaxNameBytes {
		d.Fail("a package name of %d bytes; more than %d are not allowed", len(text), warg.MaxNameBytes)
		return warg.PackageName{}
	}
	name, err := warg.ParsePackageName(string(text))
	d.FailWith(err)
	return name
}
