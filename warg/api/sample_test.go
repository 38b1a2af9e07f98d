package api

import (
	"fmt"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// Values that the tests share. The key is a published test key of the protocol.

const aliceKey = "ecdsa-p256:I+UlDo0HxyBBFeelhPPWmD+LnklOpqZDkrFP5VduASk="

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func alice() warg.PrivateKey { return must(warg.ParsePrivateKey(aliceKey)) }

func digest(text string) warg.Digest { return warg.Sum([]byte(text)) }

func checkpoint() warg.SignedCheckpoint {
	return warg.Checkpoint{LogLength: 300, LogRoot: digest("log"), MapRoot: digest("map"), Timestamp: 1_700_000_000}.Sign(alice())
}

// envelope is signed, but not over its content; nothing here looks.
func envelope(content string) warg.Envelope {
	return warg.Envelope{Content: []byte(content), KeyID: alice().Public().ID(), Signature: checkpoint().Signature()}
}

func record(i int) warg.Record {
	content := fmt.Sprintf("content %d%0200d", i, i)
	return warg.Record{Envelope: envelope(content), Index: uint64(i), Token: digest(content).String()}
}

func name(text string) warg.PackageName { return must(warg.ParsePackageName(text)) }

func logsPage(packages, records int) warg.LogsPage {
	page := warg.LogsPage{More: true, Operator: []warg.Record{record(0)}, Warnings: []string{"old \"news\""}}
	for p := range packages {
		log := warg.LogRecords{LogID: name("test:p" + fmt.Sprint(p)).LogID(), Records: []warg.Record{}}
		for r := range records {
			log.Records = append(log.Records, record(p*records+r+1))
		}
		page.Packages = append(page.Packages, log)
	}
	return page
}

// wantBytes compares what was written with what it should be.
func wantBytes(t *testing.T, got []byte, want string) {
	t.Helper()
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
