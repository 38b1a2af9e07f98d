package authority

import (
	"slices"

	"github.com/entrepot/entrepot/warg"
)

// offers remembers which content publishers were told to upload. When two records
// wait for the same content one upload is enough for both, and the second record
// may be published before its own publisher's upload has begun. That upload was
// asked for, so it must not fail.
type offers struct {
	byRecord map[warg.RecordID][]warg.Digest
	order    []warg.RecordID // oldest first
}

// maxOffers bounds the memory; what is forgotten costs a publisher an error.
const maxOffers = 4096

func (o *offers) add(id warg.RecordID, missing []warg.Digest) {
	if len(missing) == 0 {
		return
	}
	if _, known := o.byRecord[id]; !known {
		o.order = append(o.order, id)
	}
	o.byRecord[id] = missing
	for len(o.order) > maxOffers {
		delete(o.byRecord, o.order[0])
		o.order = o.order[1:]
	}
}

// open reports whether the upload of content to a record was asked for and has
// not happened.
func (o *offers) open(id warg.RecordID, d warg.Digest) bool {
	return slices.Contains(o.byRecord[id], d)
}

// done notes that the upload has happened.
func (o *offers) done(id warg.RecordID, d warg.Digest) {
	left := slices.DeleteFunc(slices.Clone(o.byRecord[id]), func(x warg.Digest) bool { return x == d })
	if _, known := o.byRecord[id]; known {
		o.byRecord[id] = left
	}
}

// offered reports whether a publisher was told to upload content to a record and
// has not done so.
func (p *pool) offered(id warg.RecordID, d warg.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offers.open(id, d)
}

// uploaded notes that a publisher did what was asked for.
func (p *pool) uploaded(id warg.RecordID, d warg.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offers.done(id, d)
}

// withdraw forgets what a publisher was told, because the record was rejected.
func (p *pool) withdraw(id warg.RecordID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.offers.byRecord[id]; known {
		p.offers.byRecord[id] = nil
	}
}
