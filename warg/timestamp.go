package warg

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Timestamp is the time of a record: seconds since the Unix epoch, which may be
// negative, and nanoseconds in [0, 1e9). It exists because [time.Time] cannot
// hold every value that the protocol can.
type Timestamp struct {
	Seconds int64
	Nanos   int32
}

// TimestampOf converts a time.
func TimestampOf(t time.Time) Timestamp {
	return Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

// Time converts to a [time.Time], clamped to the years 1 to 9999.
func (t Timestamp) Time() time.Time {
	const first, last = -62135596800, 253402300799
	switch {
	case t.Seconds < first:
		return time.Unix(first, 0).UTC()
	case t.Seconds > last:
		return time.Unix(last, 0).UTC()
	}
	return time.Unix(t.Seconds, int64(t.Nanos)).UTC()
}

// Compare orders timestamps.
func (t Timestamp) Compare(o Timestamp) int {
	return cmp.Or(cmp.Compare(t.Seconds, o.Seconds), cmp.Compare(t.Nanos, o.Nanos))
}

// String returns the protocol's text form "<seconds>.<nanoseconds>": two plain
// integers, the second neither padded nor a decimal fraction.
func (t Timestamp) String() string { return fmt.Sprintf("%d.%d", t.Seconds, t.Nanos) }

// ParseTimestamp reads the text form. Nanoseconds of a second and more carry into
// the seconds; times before 1970 have no text form that reads.
func ParseTimestamp(s string) (Timestamp, error) {
	seconds, nanos, ok := strings.Cut(s, ".")
	if !ok || !allDigits(seconds) || !allDigits(nanos) {
		return Timestamp{}, parseErr("InvalidTimestamp", "invalid timestamp `%s`: expected two numbers separated by a period", s)
	}
	sec, err1 := strconv.ParseUint(seconds, 10, 63)
	ns, err2 := strconv.ParseUint(nanos, 10, 32)
	const second = 1_000_000_000
	sec += ns / second
	if err1 != nil || err2 != nil || sec > math.MaxInt64 {
		return Timestamp{}, parseErr("InvalidTimestamp", "invalid timestamp `%s`: a number is too large", s)
	}
	return Timestamp{Seconds: int64(sec), Nanos: int32(ns % second)}, nil
}

// NormalizeTimestamp carries nanoseconds outside [0, 1e9) into the seconds,
// saturating at the ends of int64. The result is not ok if it is the smallest
// int64, which the protocol refuses.
func NormalizeTimestamp(seconds int64, nanos int32) (t Timestamp, ok bool) {
	const second = 1_000_000_000
	carry, rest := int64(nanos/second), nanos%second
	if rest < 0 {
		carry, rest = carry-1, rest+second
	}
	sum := seconds + carry
	switch {
	case carry > 0 && sum < seconds:
		sum, rest = math.MaxInt64, second-1
	case carry < 0 && sum > seconds:
		return Timestamp{}, false
	}
	return Timestamp{Seconds: sum, Nanos: rest}, sum != math.MinInt64
}
