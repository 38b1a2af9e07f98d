//go:build e2e

package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// fault is something that a tap does to what passes through it. The zero value is
// honest.
type fault struct {
	request    func(t *tap, about string, body []byte) []byte
	answer     func(t *tap, a *answer)
	breaksHeld bool // answers that were held break off where they are
}

// faults are all of them by name, so that a script can turn one on.
func faults() map[string]fault {
	return map[string]fault{
		"none": {},

		// The network, and what stands in it.
		"dead":     {breaksHeld: true, answer: func(_ *tap, a *answer) { a.silent = true }},
		"broken":   {answer: func(_ *tap, a *answer) { a.broken = true }},
		"failing":  {answer: says(http.StatusInternalServerError, "text/plain", "it hurts")},
		"busy":     {answer: says(http.StatusTooManyRequests, "text/plain", "later")},
		"portal":   {answer: says(http.StatusOK, "text/html", "<html>please sign in</html>")},
		"charset":  {answer: header("Content-Type", "application/json; charset=utf-8")},
		"encoding": {answer: header("Content-Encoding", "gzip")},
		"elsewhere": {answer: func(_ *tap, a *answer) {
			a.status, a.body = http.StatusFound, nil
			a.header.Set("Location", "http://127.0.0.1:1/")
		}},

		// Answers that stay where they are until the next fault is turned on.
		"hold-checkpoint": {answer: only(aboutCheckpoint, held)},
		"hold-logs":       {answer: only(aboutLogs, held)},
		"hold-ledger":     {answer: only(aboutLedger, held)},
		"hold-content":    {answer: only(aboutContent, held)},
		"hold-publish":    {answer: only(aboutPublish, held)},
		"hold-upload":     {answer: only(aboutUpload, held)},

		// Checkpoints.
		"shorter":   {answer: only(aboutCheckpoint, shorter)},
		"rewound":   {answer: resigned(operator, rewind)},
		"other-map": {answer: resigned(operator, func(c *checkpoint, _ *tap) { c.Contents.MapRoot = otherDigest(c.Contents.MapRoot) })},
		"stranger":  {answer: resigned(stranger, func(*checkpoint, *tap) {})},
		"signature": {answer: only(aboutCheckpoint, spoilSignature)},

		// Records, and the ledger that lists them.
		"records-cut":    {answer: records(func(list []any) []any { return list[:max(0, len(list)-1)] })},
		"records-beyond": {request: askBeyond, answer: only(aboutCheckpoint, frozen)},
		"record-altered": {answer: records(alterLast)},
		"unknown-token":  {answer: only(aboutLogs, denyToken)},
		"wrong-hint":     {answer: only(aboutLogs, hintElsewhere)},
		"logs-dead":      {answer: only(aboutLogs, func(_ *tap, a *answer) { a.silent = true })},
		"ledger-cut":     {answer: only(aboutLedger, cutEntries)},
		"ledger-altered": {answer: only(aboutLedger, alterEntries)},

		// Content.
		"content-altered": {answer: only(aboutContent, func(_ *tap, a *answer) { a.body = flipped(a.body) })},
		"content-cut":     {answer: only(aboutContent, func(_ *tap, a *answer) { a.body = a.body[:len(a.body)/2] })},
		"content-longer":  {answer: only(aboutContent, func(_ *tap, a *answer) { a.body = append(a.body, 0) })},
		"content-broken":  {answer: only(aboutContent, func(_ *tap, a *answer) { a.broken = true })},
	}
}

// only applies a change to answers about one thing.
func only(about string, change func(*tap, *answer)) func(*tap, *answer) {
	return func(t *tap, a *answer) {
		if a.about == about && a.status < 300 {
			change(t, a)
		}
	}
}

func says(status int, kind, text string) func(*tap, *answer) {
	return func(_ *tap, a *answer) {
		a.status, a.body = status, []byte(text)
		a.header.Set("Content-Type", kind)
	}
}

func header(name, value string) func(*tap, *answer) {
	return func(_ *tap, a *answer) { a.header.Set(name, value) }
}

func held(_ *tap, a *answer) { a.held = true }

// shorter sends the shortest checkpoint that was ever seen, as it was signed.
func shorter(t *tap, a *answer) {
	if seen := t.lengths(); len(seen) > 1 {
		a.body = t.seen(seen[0])
	}
}

// rewind takes back all but the shortest checkpoint that was ever seen.
func rewind(c *checkpoint, t *tap) {
	old, err := parseCheckpoint(t.seen(t.lengths()[0]))
	if err != nil {
		panic(err) // it was read before it was remembered
	}
	old.Contents.Timestamp = c.Contents.Timestamp + 1
	*c = old
}

// frozen sends the newest checkpoint that was seen before the fault began.
func frozen(t *tap, a *answer) {
	seen := t.lengths()
	if c, err := parseCheckpoint(a.body); err == nil && len(seen) > 1 && c.Contents.LogLength == seen[len(seen)-1] {
		a.body = t.seen(seen[len(seen)-2])
	}
}

// Who signs a checkpoint that the registry never made.
const (
	operator = "the registry's own operator"
	stranger = "somebody else"
)

// resigned changes what a checkpoint says, and signs that.
func resigned(by string, change func(c *checkpoint, t *tap)) func(*tap, *answer) {
	return only(aboutCheckpoint, func(t *tap, a *answer) {
		c, err := parseCheckpoint(a.body)
		if err != nil {
			return
		}
		change(&c, t)
		key := t.key
		if by == stranger {
			key = operatorKey(stranger)
		}
		if err := c.sign(key); err != nil {
			panic(err)
		}
		a.body = encode(c)
	})
}

// spoilSignature flips one bit in the last byte of the signature.
func spoilSignature(_ *tap, a *answer) {
	c, err := parseCheckpoint(a.body)
	if err != nil {
		return
	}
	signature, err := base64.StdEncoding.DecodeString(c.Signature[len(keyScheme):])
	if err != nil {
		return
	}
	c.Signature = keyScheme + base64.StdEncoding.EncodeToString(flipped(signature))
	a.body = encode(c)
}

// records changes the records of each package in an answer.
func records(change func([]any) []any) func(*tap, *answer) {
	return only(aboutLogs, func(_ *tap, a *answer) {
		var page map[string]any
		if !decode(a.body, &page) {
			return
		}
		packages, _ := page["packages"].(map[string]any)
		for id, list := range packages {
			if list, ok := list.([]any); ok {
				packages[id] = change(list)
			}
		}
		a.body = encode(page)
	})
}

// alterLast flips a bit of the last record of a log.
func alterLast(list []any) []any {
	if len(list) == 0 {
		return list
	}
	record, ok := list[len(list)-1].(map[string]any)
	text, isText := record["contentBytes"].(string)
	content, err := base64.StdEncoding.DecodeString(text)
	if ok && isText && err == nil {
		record["contentBytes"] = base64.StdEncoding.EncodeToString(flipped(content))
	}
	return list
}

// askBeyond asks for all records there are, whatever length was asked for.
func askBeyond(t *tap, about string, body []byte) []byte {
	var request map[string]any
	if about != aboutLogs || !decode(body, &request) {
		return body
	}
	newest, err := t.newest()
	if err != nil {
		return body
	}
	request["logLength"] = newest
	return encode(request)
}

// denyToken says, to whoever asks for what comes after a record, that the registry does
// not know that record.
func denyToken(_ *tap, a *answer) {
	var asked struct {
		Operator string             `json:"operator"`
		Packages map[string]*string `json:"packages"`
	}
	if !decode(a.asked, &asked) {
		return
	}
	token := asked.Operator
	for _, t := range asked.Packages {
		if t != nil {
			token = *t
		}
	}
	if token == "" {
		return
	}
	a.status = http.StatusNotFound
	a.body = encode(map[string]any{"status": http.StatusNotFound, "type": "fetchToken", "id": token})
}

// hintElsewhere denies every package, and sends whoever asks to another registry.
func hintElsewhere(_ *tap, a *answer) {
	var page struct {
		Packages map[string]any `json:"packages"`
	}
	if !decode(a.body, &page) {
		return
	}
	for id := range page.Packages {
		a.status = http.StatusNotFound
		a.header.Set("Warg-Registry-Hint", "other=evil.example")
		a.body = encode(map[string]any{"status": http.StatusNotFound, "type": "log", "id": id})
		return
	}
}

// ledgerEntry is the size of one entry of the ledger.
const ledgerEntry = 64

func isLedgerPage(a *answer) bool {
	return a.header.Get("Content-Type") != "application/json" && len(a.body) >= ledgerEntry
}

func cutEntries(_ *tap, a *answer) {
	if isLedgerPage(a) {
		a.body = a.body[:len(a.body)-ledgerEntry]
	}
}

func alterEntries(_ *tap, a *answer) {
	if isLedgerPage(a) {
		a.body = flipped(a.body)
	}
}

// flipped flips the lowest bit of the last byte.
func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) > 0 {
		b[len(b)-1] ^= 1
	}
	return b
}

// otherDigest is a digest that is not this one.
func otherDigest(digest string) string {
	last := "0"
	if digest[len(digest)-1] == '0' {
		last = "1"
	}
	return digest[:len(digest)-1] + last
}

func decode(text []byte, into any) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into) == nil
}

func encode(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // made of maps, lists and text
	}
	return text
}
