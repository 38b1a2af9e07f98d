package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// longestAsked bounds the pause that a registry may ask for: somebody's slip, or a
// machine on the way, must not keep news away for a day.
const longestAsked = 5 * time.Minute

// askedPause is an answer in which the registry asks for a pause.
type askedPause struct {
	error
	pause time.Duration // at most longestAsked
}

// Unwrap returns the answer.
func (a *askedPause) Unwrap() error { return a.error }

// pauseAsked returns the pause that the registry asks for in an answer, or 0.
func pauseAsked(err error) time.Duration {
	if a, ok := errors.AsType[*askedPause](err); ok {
		return a.pause
	}
	return 0
}

// retryAfter reads the pause of a Retry-After header, in seconds or as a time, and
// cuts it to longestAsked. A time is compared with the answer's own Date, as its clock
// may differ from ours. What is neither, or not in the future, is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(longestAsked/time.Second))) * time.Second
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(until.Sub(now), 0), longestAsked)
}
