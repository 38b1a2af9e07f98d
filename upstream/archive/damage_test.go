package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/entrepot/entrepot/warg"
)

// damaged demands that parts are refused as damaged, and returns why.
func damaged(t *testing.T, parts ...[]byte) string {
	t.Helper()
	_, err := Open(partsOf(parts...), nil)
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Fatalf("got %v, want damage", err)
	}
	return err.Error()
}

func TestEveryFlippedByte(t *testing.T) {
	good := full(t, small(t))
	bad := slices.Clone(good)
	for i := range good {
		bad[i] ^= 1 << (i % 8)
		damaged(t, bad)
		bad[i] ^= 0xff
		damaged(t, bad)
		bad[i] = good[i]
	}
}

func TestEveryTruncation(t *testing.T) {
	good := full(t, small(t))
	for n := range good {
		damaged(t, good[:n])
	}
	damaged(t, append(slices.Clone(good), 0))
}

// TestSumOfEverything: frames that are all in order, and a sum at the end that is not
// theirs: they are not those that were written together.
func TestSumOfEverything(t *testing.T) {
	bad := slices.Clone(full(t, small(t)))
	starts := frameStarts(bad)
	end := bad[starts[len(starts)-1]:]
	end[frameHead] ^= 1
	sum := len(end) - 4
	binary.BigEndian.PutUint32(end[sum:], crc32.Checksum(end[:sum], castagnoli()))
	damaged(t, bad)
}

func TestParts(t *testing.T) {
	o := small(t)
	const size = partHeader + 700
	p, _ := export(t, size, ExportOptions{Sources: []Source{o.source()}})
	if len(p) < 4 {
		t.Fatalf("only %d parts", len(p))
	}
	o.release("test:a", "9.0.0", nil)
	other, _ := export(t, size, ExportOptions{Sources: []Source{o.source()}})
	cut := p[1][:len(p[1])-1]
	flipped := slices.Clone(p[1])
	flipped[len(flipped)-10] ^= 1
	last := len(p) - 1
	for _, test := range []struct {
		name  string
		parts [][]byte
		says  string
	}{
		{"first missing", p[1:], "part 000 is needed"},
		{"one missing", slices.Delete(slices.Clone(p), 1, 2), "part 001 is needed"},
		{"last missing", p[:last], "is missing"},
		{"two swapped", [][]byte{p[0], p[2], p[1], p[3]}, "part 001 is needed"},
		{"one twice", slices.Insert(slices.Clone(p), 1, p[0]), "part 001 is needed"},
		{"one of another archive", slices.Replace(slices.Clone(p), 1, 2, other[1]), "not the continuation"},
		{"last of another archive", slices.Replace(slices.Clone(p), last, last+1, other[last]), "not the continuation"},
		{"one cut off", slices.Replace(slices.Clone(p), 1, 2, cut), "not the continuation"},
		{"one with a flipped bit", slices.Replace(slices.Clone(p), 1, 2, flipped), "not the continuation"},
		{"one more", append(slices.Clone(p), header{uint32(len(p)), warg.Digest{}}.encode()), ""},
		{"empty file", [][]byte{{}}, "too short"},
		{"another file", [][]byte{bytes.Repeat([]byte("x"), 100)}, "does not begin like"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "one more" {
				if _, err := Open(partsOf(test.parts...), nil); err == nil {
					t.Error("an empty part with a wrong sum is taken")
				}
				return
			}
			if got := damaged(t, test.parts...); !strings.Contains(got, test.says) {
				t.Errorf("%s: does not say %q", got, test.says)
			}
		})
	}
	open(t, p...)
}

// TestHostileSizes: what a frame claims is compared with bounds and with what is
// there before anything is allocated for it.
func TestHostileSizes(t *testing.T) {
	good := full(t, small(t))
	for _, size := range []uint32{0, 1, 1 << 16, 1 << 20, maxRecord, maxRecord + 1, math.MaxInt32, math.MaxUint32} {
		for _, at := range frameStarts(good) {
			bad := slices.Clone(good)
			binary.BigEndian.PutUint32(bad[at+1:], size)
			if bytes.Equal(bad, good) {
				continue
			}
			const enough = 4 << 20
			if n := allocated(func() { damaged(t, bad) }); n > enough {
				t.Fatalf("a frame at %d that claims %d bytes makes us allocate %d", at, size, n)
			}
		}
	}
}

func frameStarts(file []byte) (starts []int) {
	for at := partHeader; at < len(file); at += frameOverhead + int(binary.BigEndian.Uint32(file[at+1:])) {
		starts = append(starts, at)
	}
	return starts
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestHostileFields: fields that lie are refused although every checksum is right.
func TestHostileFields(t *testing.T) {
	good := full(t, small(t))
	kinds := map[kind]int{}
	for _, at := range frameStarts(good) {
		if k := kind(good[at]); kinds[k] == 0 {
			kinds[k] = at
		}
	}
	put := func(k kind, offset int, v ...byte) []byte {
		bad := slices.Clone(good)
		copy(bad[kinds[k]+frameHead+offset:], v)
		return reseal(bad)
	}
	ones := bytes.Repeat([]byte{0xff}, 8)
	domain := 2 + len("up.example")
	for name, bad := range map[string][]byte{
		"form":                     put(kindArchive, 0, 2),
		"no registries":            put(kindArchive, 1, 0, 0, 0, 0),
		"many registries":          put(kindArchive, 1, 0xff, 0xff, 0xff, 0xff),
		"domain":                   put(kindRegistry, 2, '/'),
		"length 0":                 put(kindRegistry, domain, make([]byte, 8)...),
		"length 2^64-1":            put(kindRegistry, domain, ones...),
		"length of one more":       put(kindRegistry, domain+7, 5),
		"length of one less":       put(kindRegistry, domain+7, 3),
		"long text":                put(kindRegistry, 0, 0xff, 0xff),
		"checkpoint of length 0":   put(kindCheckpoints, 0, make([]byte, 8)...),
		"checkpoint of length 4":   put(kindCheckpoints, 7, 4),
		"signature":                put(kindCheckpoints, 8+64+8+2+71+2, 'x'),
		"operator index":           put(kindOperator, 0, ones...),
		"records 2^64-1":           put(kindPackage, 40, ones...),
		"records 0":                put(kindPackage, 40, make([]byte, 8)...),
		"name":                     put(kindPackage, 50, '!'),
		"record index":             put(kindRecord, 0, ones...),
		"content digest":           put(kindContent, 0, 0xff),
		"content size 2^64-1":      put(kindContent, 32, ones...),
		"content size of one more": put(kindContent, 39, 77),
		"counts":                   put(kindRegistryEnd, 7, 77),
	} {
		t.Run(name, func(t *testing.T) { t.Log(damaged(t, bad)) })
	}
}
