package api

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// ParseLogsPage reads the answer of OpLogs. Logs are in the order of the answer;
// whether they are those asked for is for the caller to see. Every record must have
// a token, or the log could not be read on; a list may have at most
// [warg.MaxFetchLimit] records.
func ParseLogsPage(body []byte) (warg.LogsPage, error) {
	var (
		page  warg.LogsPage
		total int
	)
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"more", "operator", "packages", "warnings"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		switch f.Index {
		case 0:
			page.More = d.Bool()
		case 1:
			// An empty list is not printed, and the same as none.
			if page.Operator = readRecords(d, &total); len(page.Operator) == 0 {
				page.Operator = nil
			}
		case 2:
			page.Packages = readLogs(d, &total)
		case 3:
			page.Warnings = readWarnings(d)
		}
	}
	if err := d.Err(); err != nil {
		return warg.LogsPage{}, err
	}
	return page, nil
}

func readLogs(d *strictjson.Decoder, total *int) (logs []warg.LogRecords) {
	seen := make(map[warg.LogID]struct{})
	for d.BeginObject(); d.Key(); {
		id := warg.LogID(keyDigest(d))
		if _, dup := seen[id]; dup {
			d.Fail("duplicate member")
		}
		if len(seen) == warg.MaxFetchLogs {
			d.Fail("more than %d logs", warg.MaxFetchLogs)
		}
		seen[id] = struct{}{}
		logs = append(logs, warg.LogRecords{LogID: id, Records: readRecords(d, total)})
	}
	return logs
}

// readRecords reads the records of one log. The result is never nil, so that an
// empty list prints as one.
func readRecords(d *strictjson.Decoder, total *int) []warg.Record {
	records := []warg.Record{}
	var keyID warg.KeyID
	for d.BeginArray(); d.Element(); {
		if len(records) == warg.MaxFetchLimit {
			d.Fail("more than %d records", warg.MaxFetchLimit)
		}
		if *total++; *total > maxPageTotal {
			d.Fail("more than %d records in all", maxPageTotal)
		}
		r := readRecord(d, requiredWithToken, keyID)
		if d.Err() == nil && r.Token == "" {
			d.Fail("an empty fetch token")
		}
		keyID = r.KeyID
		records = append(records, r)
	}
	return records
}

func readWarnings(d *strictjson.Decoder) (warnings []string) {
	for d.BeginArray(); d.Element(); {
		if len(warnings) == maxWarnings {
			d.Fail("more than %d warnings", maxWarnings)
		}
		f := strictjson.Fields{Names: []string{"message"}, Required: 1}
		for d.BeginObject(); d.Field(&f); {
			warnings = append(warnings, clipText(d.Text()))
		}
	}
	return warnings
}
