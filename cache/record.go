package cache

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/entrepot/entrepot/internal/tree"
	"github.com/entrepot/entrepot/warg"
)

// A stored record is
//
//	index:8 · token · key id · signature · content · published JSON
//
// each text with its length as unsigned LEB128 before it. It is cut into parts of at
// most maxPart bytes, each under a key of its own. The JSON of a record that needs
// more than one part is left out: it can be made again.
const (
	maxPart  = maxValue - 1<<10
	maxParts = 256
)

// encodeRecord returns the parts of a record.
func encodeRecord(rec warg.Record) [][]byte {
	signature := rec.Signature.String()
	b := make([]byte, 0, 64+len(rec.Token)+len(rec.KeyID)+len(signature)+len(rec.Content)+len(rec.JSON))
	b = appendNumber(b, rec.Index)
	b = appendText(b, rec.Token)
	b = appendText(b, string(rec.KeyID))
	b = appendText(b, signature)
	b = append(binary.AppendUvarint(b, uint64(len(rec.Content))), rec.Content...)
	if len(b)+len(rec.JSON)+binary.MaxVarintLen64 <= maxPart {
		b = append(binary.AppendUvarint(b, uint64(len(rec.JSON))), rec.JSON...)
	} else {
		b = binary.AppendUvarint(b, 0)
	}
	var parts [][]byte
	for len(b) > maxPart {
		parts, b = append(parts, b[:maxPart]), b[maxPart:]
	}
	return append(parts, b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeRecord reads a record; content and JSON alias b.
func decodeRecord(b []byte) (rec warg.Record, err error) {
	bad := fmt.Errorf("%w: record of %d bytes", tree.ErrIndexCorrupt, len(b))
	if len(b) < 8 {
		return rec, bad
	}
	rec.Index, b = binary.BigEndian.Uint64(b), b[8:]
	var fields [5][]byte
	for i := range fields {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return rec, bad
		}
		fields[i], b = b[n:n+int(size):n+int(size)], b[n+int(size):]
	}
	rec.Token, rec.KeyID = string(fields[0]), warg.KeyID(fields[1])
	if rec.Signature, err = warg.ParseSignature(string(fields[2])); err != nil {
		return rec, fmt.Errorf("%w: %w", bad, err)
	}
	rec.Content = fields[3]
	if len(fields[4]) > 0 {
		rec.JSON = fields[4]
	}
	return rec, nil
}

// PutRecords stores verified records; the first is the log's i-th, and those before
// it are held.
func (r *Registry) PutRecords(log warg.LogID, i uint64, records []warg.Record) error {
	return r.PutLogs([]uint64{i}, []warg.LogRecords{{LogID: log, Records: records}})
}

// PutLogs is PutRecords for several logs: the first of the records of logs[i] is
// that log's first[i]-th. How many are held is written last, so after a crash in
// between there are at worst records that nobody looks at.
func (r *Registry) PutLogs(first []uint64, logs []warg.LogRecords) error {
	n := r.now.Load()
	wb := n.db.NewWriteBatch()
	defer wb.Cancel()
	for k, l := range logs {
		for i, rec := range l.Records {
			if err := n.putRecord(l.LogID, first[k]+uint64(i), rec, wb.Set); err != nil {
				return fmt.Errorf("storing record of log `%s`: %w", l.LogID, err)
			}
		}
	}
	for k, l := range logs {
		key := n.heldKey(l.LogID)
		if err := wb.Set(key, putNumbers(key, first[k]+uint64(len(l.Records)))); err != nil {
			return fmt.Errorf("storing records of log `%s`: %w", l.LogID, err)
		}
	}
	if err := wb.Flush(); err != nil {
		return fmt.Errorf("storing records: %w", err)
	}
	n.views.extend(first, logs)
	return nil
}

func (n *numbered) putRecord(log warg.LogID, i uint64, rec warg.Record, put func(key, value []byte) error) error {
	parts := encodeRecord(rec)
	if len(parts) > maxParts {
		return fmt.Errorf("a record of %d bytes is too large", len(rec.Content))
	}
	for p, part := range parts {
		key := n.recordKey(log, i, byte(p))
		if err := put(key, tree.Seal(key, part)); err != nil {
			return err
		}
	}
	if rec.Token == warg.Envelope.RecordID(rec.Envelope, log).String() {
		return nil // found by its id
	}
	key := n.tokenKey(log, rec.Token)
	return put(key, putNumbers(key, i))
}

func (n *numbered) setHeld(log warg.LogID, held uint64) error {
	key := n.heldKey(log)
	err := n.db.Update(func(txn *badger.Txn) error { return txn.Set(key, putNumbers(key, held)) })
	if err != nil {
		return fmt.Errorf("storing records of log `%s`: %w", log, err)
	}
	return nil
}

// FindToken returns which record of a log has a fetch token.
func (r *Registry) FindToken(log warg.LogID, token string) (i uint64, ok bool, err error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err != nil {
		return 0, false, err
	}
	if i, ok := v.findToken(token); ok || v.whole() {
		return i, ok, nil
	}
	err = n.db.View(func(txn *badger.Txn) error {
		ok, err = getNumbers(txn, n.tokenKey(log, token), &i)
		return err
	})
	if errors.Is(err, tree.ErrIndexCorrupt) {
		return 0, false, nil // an unknown token costs only sending records again
	}
	return i, ok, err
}

// Records returns up to max held records of a log from the i-th on. If one turns
// out to be damaged, it and those after it are no longer held and the error is
// KindUnavailable: they will be fetched again.
func (r *Registry) Records(log warg.LogID, i uint64, max int) ([]warg.Record, error) {
	n := r.now.Load()
	v, err := n.view(log)
	if err != nil || i >= v.held || max <= 0 {
		return nil, err
	}
	end := i + min(v.held-i, uint64(max))
	if v.whole() {
		return v.records[i:end:end], nil
	}
	records := make([]warg.Record, 0, end-i)
	err = n.db.View(func(txn *badger.Txn) error {
		for ; i < end; i++ {
			rec, err := n.record(txn, log, i)
			if err != nil {
				return err
			}
			records = append(records, rec)
		}
		return nil
	})
	if errors.Is(err, tree.ErrIndexCorrupt) {
		r.c.counts.damages.Add(1)
		r.c.o.Log.Warn("cached record is damaged and will be fetched again", "upstream", r.domain, "log_id", log.String(), "record", i, "error", err)
		if err := n.setHeld(log, i); err != nil {
			return nil, err
		}
		n.views.drop(log)
		return nil, &warg.Error{Kind: warg.KindUnavailable, RetryAfter: 1, Message: "a cached record was damaged and must be fetched again", Err: err}
	}
	return records, err
}

// record reads the i-th record of a log.
func (n *numbered) record(txn *badger.Txn, log warg.LogID, i uint64) (warg.Record, error) {
	b, ok, err := get(txn, n.recordKey(log, i, 0))
	if err != nil {
		return warg.Record{}, err
	}
	if !ok {
		return warg.Record{}, fmt.Errorf("%w: record %d is missing", tree.ErrIndexCorrupt, i)
	}
	for p, last := 1, b; len(last) == maxPart && p < maxParts; p++ {
		if last, ok, err = get(txn, n.recordKey(log, i, byte(p))); err != nil {
			return warg.Record{}, err
		}
		if !ok {
			break
		}
		b = append(b, last...)
	}
	return decodeRecord(b)
}
