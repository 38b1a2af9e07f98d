package api

import (
	"encoding/json"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// stdPage is the answer of OpLogs for encoding/json.
type stdPage struct {
	More     bool                   `json:"more"`
	Operator []stdRecord            `json:"operator,omitempty"`
	Packages map[string][]stdRecord `json:"packages,omitempty"`
}

type stdRecord struct {
	ContentBytes  []byte         `json:"contentBytes"`
	KeyID         string         `json:"keyId"`
	Signature     warg.Signature `json:"signature"`
	RegistryIndex uint64         `json:"registryIndex"`
	FetchToken    string         `json:"fetchToken"`
}

// benchPage is a page of one log with 100 records, about 51 kB.
func benchPage() (warg.LogsPage, []byte) {
	page := logsPage(1, 100)
	page.Operator, page.Warnings = nil, nil
	return page, AppendLogsPage(nil, page)
}

func BenchmarkParseLogsPage(b *testing.B) {
	_, body := benchPage()
	b.Run("ours", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseLogsPage(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var p stdPage
			if err := json.Unmarshal(body, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkAppendLogsPage(b *testing.B) {
	page, body := benchPage()
	var std stdPage
	if err := json.Unmarshal(body, &std); err != nil {
		b.Fatal(err)
	}
	ready := warg.LogsPage{More: page.More, Packages: []warg.LogRecords{{LogID: page.Packages[0].LogID}}}
	for _, r := range page.Packages[0].Records {
		r.JSON = AppendRecord(nil, r)
		ready.Packages[0].Records = append(ready.Packages[0].Records, r)
	}
	buf := make([]byte, 0, 2*len(body))
	b.Run("ready", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			AppendLogsPage(buf, ready)
		}
	})
	b.Run("encoded", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			AppendLogsPage(buf, page)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&std); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCheckpoint(b *testing.B) {
	s := checkpoint()
	body := AppendCheckpoint(nil, s)
	buf := make([]byte, 0, 2*len(body))
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			AppendCheckpoint(buf, s)
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseCheckpoint(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
