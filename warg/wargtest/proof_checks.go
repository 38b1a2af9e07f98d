package wargtest

import (
	"errors"
	"slices"
	"testing"

	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/vlog"
	"github.com/entrepot/entrepot/warg/vmap"
)

func proofChecks() []check {
	return []check{
		{"inclusion", checkInclusion},
		{"inclusion/not a head", checkNotHead},
		{"inclusion/refused", checkInclusionRefused},
		{"consistency", checkConsistency},
		{"consistency/any length", checkConsistencyAnyLength},
		{"consistency/refused", checkConsistencyRefused},
	}
}

// heads returns the indexes of the heads of all packages at a length.
func (w *world) heads(length uint64) []uint64 {
	var indexes []uint64
	for _, p := range w.packages {
		if r := p.visible(length); len(r) > 0 {
			indexes = append(indexes, r[len(r)-1].index)
		}
	}
	return indexes
}

// leaf returns the leaf at an index that holds a package's record.
func (w *world) leaf(index uint64) warg.Leaf {
	for _, p := range w.packages {
		for _, r := range p.records {
			if r.index == index {
				return warg.Leaf{LogID: p.LogID(), RecordID: r.env.PackageRecordID()}
			}
		}
	}
	return warg.Leaf{}
}

// checkInclusion: at every checkpoint, the heads of all logs are proven in the order
// asked, singly and together, repeated ones too.
func checkInclusion(t testing.TB, s *scene) {
	for _, v := range s.world.views {
		heads := s.world.heads(v.Checkpoint.LogLength)
		s.verifyInclusion(t, v.Checkpoint, heads)
		slices.Reverse(heads)
		s.verifyInclusion(t, v.Checkpoint, heads)
		s.verifyInclusion(t, v.Checkpoint, append(heads[:1:1], heads...))
		for _, h := range heads {
			s.verifyInclusion(t, v.Checkpoint, []uint64{h})
		}
	}
}

func (s *scene) verifyInclusion(t testing.TB, c warg.Checkpoint, indexes []uint64) {
	t.Helper()
	proof, err := s.Registry.Inclusion(t.Context(), c.LogLength, indexes)
	if err != nil {
		t.Fatalf("proving %v at length %d: %v", indexes, c.LogLength, err)
	}
	var leaves []vlog.Leaf
	var entries []vmap.Entry
	for _, i := range indexes {
		l := s.world.leaf(i)
		leaves = append(leaves, vlog.Leaf{Index: i, Value: l.LogValue()})
		entries = append(entries, vmap.Entry{Key: l.MapKey(), Value: l.MapValue()})
	}
	if err := vlog.VerifyInclusion(proof.Log, c.LogRoot, c.LogLength, leaves); err != nil {
		t.Errorf("log proof of %v at length %d: %v", indexes, c.LogLength, err)
	}
	if err := vmap.VerifyInclusion(proof.Map, c.MapRoot, entries); err != nil {
		t.Errorf("map proof of %v at length %d: %v", indexes, c.LogLength, err)
	}
}

// checkNotHead: a record that another follows in its log at that length is refused,
// also among heads, with the root there is and the one its proof leads to.
func checkNotHead(t testing.TB, s *scene) {
	c := s.world.latest()
	for _, p := range s.world.packages {
		for _, r := range p.records[:len(p.records)-1] {
			_, err := s.Registry.Inclusion(t.Context(), c.LogLength, append(s.world.heads(c.LogLength), r.index))
			refused(t, "proving a record that is not the head", err, kind(warg.KindProofIncorrect))
			if e, ok := errors.AsType[*warg.Error](err); ok && (e.Root != c.MapRoot || e.Found == c.MapRoot || e.Found.IsZero()) {
				t.Errorf("the error has root %s and found %s; the map root is %s", e.Root, e.Found, c.MapRoot)
			}
		}
	}
}

func checkInclusionRefused(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	first := s.world.views[0].Checkpoint.LogLength
	tests := []struct {
		doing  string
		length uint64
		leaves []uint64
		want   *warg.Error
	}{
		{"proving a leaf beyond the log", length, []uint64{0, length}, &warg.Error{Kind: warg.KindLeafNotFound, Number: length}},
		{"proving a leaf beyond any log", length, []uint64{1<<64 - 1}, &warg.Error{Kind: warg.KindLeafNotFound, Number: 1<<64 - 1}},
		{"proving a leaf newer than the length", first, []uint64{first}, kind(warg.KindProofFailure)},
		{"proving at length 0", 0, []uint64{0}, kind(warg.KindProofFailure)},
		{"proving nothing", length, nil, kind(warg.KindProofFailure)},
		{"proving at a length beyond the log", length + 1, []uint64{0}, &warg.Error{Kind: warg.KindLengthNotFound, Number: length + 1}},
		{"proving at a length beyond any log", 1 << 40, []uint64{0}, &warg.Error{Kind: warg.KindLengthNotFound, Number: 1 << 40}},
	}
	for _, tt := range tests {
		_, err := s.Registry.Inclusion(t.Context(), tt.length, tt.leaves)
		refused(t, tt.doing, err, tt.want)
	}
}

// checkConsistency: every checkpoint extends every one before it.
func checkConsistency(t testing.TB, s *scene) {
	for i, to := range s.world.views {
		for _, from := range s.world.views[:i+1] {
			s.verifyConsistency(t, point(from.Checkpoint), point(to.Checkpoint))
		}
	}
}

func point(c warg.Checkpoint) vlog.Point { return vlog.Point{Length: c.LogLength, Root: c.LogRoot} }

func (s *scene) verifyConsistency(t testing.TB, from, to vlog.Point) {
	t.Helper()
	bundle, err := s.Registry.Consistency(t.Context(), from.Length, to.Length)
	if err != nil {
		t.Fatalf("proving that length %d extends %d: %v", to.Length, from.Length, err)
	}
	if err := vlog.VerifyConsistency(bundle, from, to); err != nil {
		t.Errorf("proof that length %d extends %d: %v", to.Length, from.Length, err)
	}
}

// checkConsistencyAnyLength: the lengths need not be those of checkpoints.
func checkConsistencyAnyLength(t testing.TB, s *scene) {
	var log vlog.Log
	points := []vlog.Point{}
	for _, l := range s.ledger(t) {
		log.Append(vlog.LeafHash(l.LogValue()))
		points = append(points, vlog.Point{Length: log.Len(), Root: log.Root()})
	}
	for i, to := range points {
		for _, from := range points[:i+1] {
			s.verifyConsistency(t, from, to)
		}
	}
}

func checkConsistencyRefused(t testing.TB, s *scene) {
	length := s.world.latest().LogLength
	tests := []struct {
		doing    string
		from, to uint64
		want     *warg.Error
	}{
		{"extending nothing", 0, length, kind(warg.KindProofFailure)},
		{"extending nothing to nothing", 0, 0, kind(warg.KindProofFailure)},
		{"shrinking", length, length - 1, kind(warg.KindProofFailure)},
		{"extending beyond the log", 1, length + 1, &warg.Error{Kind: warg.KindLengthNotFound, Number: length + 1}},
		{"extending beyond any log", length, 1<<64 - 1, &warg.Error{Kind: warg.KindLengthNotFound, Number: 1<<64 - 1}},
		{"staying beyond the log", length + 1, length + 1, &warg.Error{Kind: warg.KindLengthNotFound, Number: length + 1}},
	}
	for _, tt := range tests {
		_, err := s.Registry.Consistency(t.Context(), tt.from, tt.to)
		refused(t, tt.doing, err, tt.want)
	}
}
