package archive

import (
	"context"
	"errors"
	"iter"

	"github.com/entrepot/entrepot/upstream"
	"github.com/entrepot/entrepot/warg"
)

const (
	// pageBytes is how many bytes of one log a page has at most, or else one record.
	// Who reads many logs at a time looks at [upstream.CargoLog.Bytes] first.
	pageBytes = 4 << 20
	// maxPlaces bounds what is remembered of readers that come back for more.
	maxPlaces = 1024
)

// place is where the record after one that was read stands.
type place struct {
	token string // of the record before it
	at    int64
}

// continuation returns where to go on after a token, or the log's beginning.
func (c *Cargo) continuation(log warg.LogID, token string, begin int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.places[log]; ok && token != "" && p.token == token {
		return p.at
	}
	return begin
}

func (c *Cargo) remember(log warg.LogID, p place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.places == nil || len(c.places) >= maxPlaces {
		c.places = make(map[warg.LogID]place)
	}
	c.places[log] = p
}

// Logs implements [upstream.Transport]. Of a log it has what the archive carries,
// which in a delta is the end of it; a token that is not there, for example of the
// last record of the base, means from the first record carried.
func (c *Cargo) Logs(ctx context.Context, req warg.LogsRequest) (warg.LogsPage, error) {
	limit := req.Limit
	if limit == 0 {
		limit = warg.DefaultFetchLimit
	}
	var page warg.LogsPage
	ask := reading{log: warg.OperatorLogID, begin: c.r.operatorAt, kind: kindOperator, token: req.Operator, length: req.LogLength, limit: limit}
	var err error
	if page.Operator, page.More, err = c.read(ask); err != nil {
		return warg.LogsPage{}, err
	}
	for _, cursor := range req.Packages {
		if err := ctx.Err(); err != nil {
			return warg.LogsPage{}, err
		}
		p, f, err := c.findPackage(cursor.LogID)
		if err == nil && p.count == 0 {
			err = warg.NotFound(warg.KindLogNotFound, cursor.LogID)
		}
		if err != nil {
			return warg.LogsPage{}, err
		}
		ask.log, ask.begin, ask.kind, ask.token = cursor.LogID, f.at, kindRecord, cursor.Token
		records, more, err := c.read(ask)
		if err != nil {
			return warg.LogsPage{}, err
		}
		page.Packages = append(page.Packages, warg.LogRecords{LogID: cursor.LogID, Records: records})
		page.More = page.More || more
	}
	return page, nil
}

// reading is a page of a log that is wanted.
type reading struct {
	log    warg.LogID
	begin  int64 // of the log's records in the stream
	kind   kind  // of their frames
	token  string
	length uint64
	limit  int
}

// read reads a page. more says that there is something after it.
func (c *Cargo) read(ask reading) (page []warg.Record, more bool, err error) {
	at := c.continuation(ask.log, ask.token, ask.begin)
	if at == ask.begin && ask.token != "" {
		if at, err = c.after(ask); err != nil {
			return nil, false, err
		}
	}
	bytes := int64(0)
	f := c.frames(at)
	for f.peek() == ask.kind {
		if len(page) == ask.limit || bytes > pageBytes {
			more = true
			break
		}
		before := f.at
		rec, err := nextRecord(f, ask.kind)
		if err != nil {
			return nil, false, err
		}
		if rec.Index >= ask.length {
			break
		}
		page = append(page, rec)
		bytes += f.at - before
		at = f.at
	}
	if n := len(page); n > 0 {
		c.remember(ask.log, place{page[n-1].Token, at})
	}
	return page, more, nil
}

// after returns the place after the record with a token, or the beginning.
func (c *Cargo) after(ask reading) (int64, error) {
	for f := c.frames(ask.begin); f.peek() == ask.kind; {
		rec, err := nextRecord(f, ask.kind)
		if err != nil {
			return 0, err
		}
		if rec.Token == ask.token {
			return f.at, nil
		}
	}
	return ask.begin, nil
}

func nextRecord(f *frames, k kind) (warg.Record, error) {
	payload, err := f.want(k)
	if err != nil {
		return warg.Record{}, err
	}
	return openRecord(payload)
}

// findPackage returns a package of the archive and the frames from its first record
// on, or fails with KindLogNotFound.
func (c *Cargo) findPackage(log warg.LogID) (packageHead, *frames, error) {
	missing := warg.NotFound(warg.KindLogNotFound, log)
	at, ok := c.r.packageMarks.before(warg.Digest(log))
	if !ok {
		return packageHead{}, nil, missing
	}
	for f := c.frames(at); f.peek() == kindPackage; {
		p, err := nextPackage(f)
		switch order := warg.Digest(p.log).Compare(warg.Digest(log)); {
		case err != nil:
			return packageHead{}, nil, err
		case order == 0:
			return p, f, nil
		case order > 0:
			return packageHead{}, nil, missing
		}
		if err := passRecords(f); err != nil {
			return packageHead{}, nil, err
		}
	}
	return packageHead{}, nil, missing
}

func nextPackage(f *frames) (packageHead, error) {
	payload, err := f.want(kindPackage)
	if err != nil {
		return packageHead{}, err
	}
	d := &decoder{b: payload}
	p := d.packageHead()
	return p, d.end()
}

func passRecords(f *frames) error {
	for f.peek() == kindRecord {
		if err := f.pass(); err != nil {
			return err
		}
	}
	return nil
}

// Packages returns the package logs that are carried, ascending.
func (c *Cargo) Packages() iter.Seq2[upstream.CargoLog, error] {
	return func(yield func(upstream.CargoLog, error) bool) {
		for f := c.frames(c.r.packagesAt); f.peek() == kindPackage; {
			p, err := nextPackage(f)
			begin := f.at
			if err == nil {
				err = passRecords(f)
			}
			l := upstream.CargoLog{LogID: p.log, First: p.first, Count: p.count, Named: !p.name.IsZero(), Bytes: f.at - begin}
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

// Names implements [upstream.Transport]. A log whose name is not carried has none.
func (c *Cargo) Names(ctx context.Context, ids []warg.LogID) ([]warg.PackageName, error) {
	names := make([]warg.PackageName, len(ids))
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, _, err := c.findPackage(id)
		if errors.Is(err, &warg.Error{Kind: warg.KindLogNotFound}) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names[i] = p.name
	}
	return names, nil
}
