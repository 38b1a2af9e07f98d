package observer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Bounds of what is read from a registry under test.
const (
	askWithin = 20 * time.Second
	maxAnswer = 64 << 20 // bytes
	pageSize  = 1000     // entries of a page of the ledger, records of a page of logs
)

// refusal is an answer that says nothing but that there is none: an error status, or
// no answer at all.
type refusal struct {
	status int // 0 = no answer
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

// refused reports whether an error is a refusal, and its status.
func refused(err error) (status int, ok bool) {
	var r *refusal
	if errors.As(err, &r) {
		return r.status, true
	}
	return 0, false
}

// ask sends one request. The body of an answer with status 200 is returned; everything
// else is a *refusal.
func (o *Observer) ask(ctx context.Context, method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var sent io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, o.base+path, sent)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if o.registry != "" {
		request.Header.Set("Warg-Registry", o.registry)
	}
	response, err := o.client.Do(request)
	if err != nil {
		return nil, &refusal{err: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, &refusal{err: fmt.Errorf("reading the answer to %s %s: %w", method, path, err)}
	}
	if response.StatusCode != http.StatusOK {
		return nil, &refusal{response.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(answer)))}
	}
	return answer, nil
}

// read asks and reads the JSON of the answer.
func (o *Observer) read(ctx context.Context, method, path string, body, into any) error {
	answer, err := o.ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: the answer %.100q: %w", method, path, answer, err)
	}
	return nil
}

// ledger fetches all entries up to a length.
func (o *Observer) ledger(ctx context.Context, length uint64) ([]entry, error) {
	below := "/v1/ledger/records"
	if o.registry != "" {
		below = "/v1/ledger/" + o.registry + "/records"
	}
	entries := make([]entry, 0, length)
	for uint64(len(entries)) < length {
		page, err := o.ask(ctx, http.MethodGet, fmt.Sprintf("%s/%d", below, len(entries)), nil)
		if err != nil {
			return nil, err
		}
		const size = 64
		if len(page) == 0 || len(page)%size != 0 {
			return nil, fmt.Errorf("the ledger from %d on has %d bytes, under a checkpoint of length %d", len(entries), len(page), length)
		}
		for at := 0; at < len(page) && uint64(len(entries)) < length; at += size {
			entries = append(entries, entry{hash(page[at : at+size/2]), hash(page[at+size/2 : at+size])})
		}
		if uint64(len(entries)) < length && len(entries)%pageSize != 0 {
			return nil, fmt.Errorf("the ledger ends at %d, under a checkpoint of length %d", len(entries), length)
		}
	}
	return entries, nil
}

// record is a record as it is served.
type record struct {
	Content   []byte `json:"contentBytes"`
	KeyID     string `json:"keyId"`
	Signature string `json:"signature"`
	Index     uint64 `json:"registryIndex"`
	Token     string `json:"fetchToken"`
}

// page is an answer with records of logs.
type page struct {
	More     bool                `json:"more"`
	Operator []record            `json:"operator"`
	Packages map[string][]record `json:"packages"`
}

// logs fetches all records of logs below a length. The operator log is under "".
func (o *Observer) logs(ctx context.Context, length uint64, ids []string) (map[string][]record, error) {
	type request struct {
		Length   uint64             `json:"logLength"`
		Limit    int                `json:"limit"`
		Operator *string            `json:"operator,omitempty"`
		Packages map[string]*string `json:"packages"`
	}
	all := map[string][]record{}
	asked := request{Length: length, Limit: pageSize, Packages: map[string]*string{}}
	for _, id := range ids {
		asked.Packages[id] = nil
	}
	for {
		var got page
		if err := o.read(ctx, http.MethodPost, "/v1/fetch/logs", asked, &got); err != nil {
			return nil, err
		}
		progress := take(all, "", got.Operator, func(token string) { asked.Operator = &token })
		for id, records := range got.Packages {
			if take(all, id, records, func(token string) { asked.Packages[id] = &token }) {
				progress = true
			}
		}
		if !got.More {
			return all, nil
		}
		if !progress {
			return nil, errors.New("fetching logs: more is promised and nothing comes")
		}
	}
}

// take adds records to a log and notes where to go on.
func take(all map[string][]record, id string, records []record, next func(token string)) bool {
	if len(records) == 0 {
		return false
	}
	all[id] = append(all[id], records...)
	next(records[len(records)-1].Token)
	return true
}
