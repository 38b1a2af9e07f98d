package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// field is one setting: its key, the kind of value it takes, and how a value is
// stored. A list is stored entry by entry.
type field struct {
	key  string
	kind nodeKind
	set  func(value, folder string) error // folder: what a relative path is relative to
	size bool                             // a text, or a bare number of bytes
	wipe func()                           // removes the default before a list is read
}

// check judges a value before it is stored.
type check func(string) error

func text(key string, p *string, checks ...check) field {
	return field{key: key, kind: kindText, set: func(v, _ string) error {
		for _, ok := range checks {
			if err := ok(v); err != nil {
				return err
			}
		}
		*p = v
		return nil
	}}
}

func list(key string, p *[]string, checks ...check) field {
	return field{key: key, kind: kindArray, wipe: func() { *p = nil }, set: func(v, _ string) error {
		if slices.Contains(*p, v) {
			return fmt.Errorf("`%s` is listed twice", v)
		}
		for _, ok := range checks {
			if err := ok(v); err != nil {
				return err
			}
		}
		*p = append(*p, v)
		return nil
	}}
}

func flag(key string, p *bool) field {
	return field{key: key, kind: kindBool, set: func(v, _ string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("must be true or false, not `%s`", v)
		}
		*p = b
		return nil
	}}
}

func number(key string, p *int, low, high int) field {
	return field{key: key, kind: kindInteger, set: func(v, _ string) error {
		n, err := strconv.ParseInt(strings.ReplaceAll(v, "_", ""), 0, 64)
		if err != nil || n < int64(low) || n > int64(high) {
			return fmt.Errorf("must be a whole number from %d to %d, not `%s`", low, high, v)
		}
		*p = int(n)
		return nil
	}}
}

// bytesOf is a size. An empty text leaves the default, where one is possible.
func bytesOf(key string, p *int64, low int64) field {
	return field{key: key, kind: kindText, size: true, set: func(v, _ string) error {
		n, err := ParseSize(v)
		if err == nil && n < low {
			err = fmt.Errorf("must be at least %d bytes, not `%s`", low, v)
		}
		if err == nil {
			*p = n
		}
		return err
	}}
}

func optionalBytes(key string, p *int64, low int64) field {
	f := bytesOf(key, p, low)
	return field{key: key, kind: kindText, size: true, set: func(v, folder string) error {
		if v == "" {
			return nil
		}
		return f.set(v, folder)
	}}
}

func span(key string, p *time.Duration, low time.Duration) field {
	return field{key: key, kind: kindText, set: func(v, _ string) error {
		d, err := ParseDuration(v)
		if err == nil && d < low {
			err = fmt.Errorf("must be at least %s, not `%s`", low, v)
		}
		if err == nil {
			*p = d
		}
		return err
	}}
}

// path is a file or folder; an empty one stays empty.
func path(key string, p *string) field {
	return field{key: key, kind: kindText, set: func(v, folder string) error {
		if strings.ContainsRune(v, 0) {
			return errors.New("is not a path")
		}
		if v != "" && !filepath.IsAbs(v) {
			v = filepath.Join(folder, v)
		}
		*p = v
		return nil
	}}
}

// admin is "unix:PATH" or an address of this machine only: whoever reaches the
// admin listener may do everything, so it is never offered to a network.
func admin(key string, p *string) field {
	var name string
	file := path(key, &name)
	return field{key: key, kind: kindText, set: func(v, folder string) error {
		if socket, ok := strings.CutPrefix(v, unixPrefix); ok && socket != "" {
			err := file.set(socket, folder)
			*p = unixPrefix + name
			return err
		}
		if v != "" {
			if err := isAddress(v); err != nil {
				return fmt.Errorf("must be \"unix:PATH\" or a loopback address, not `%s`", v)
			}
			if host, _, _ := net.SplitHostPort(v); !isLoopback(host) {
				return fmt.Errorf("must be \"unix:PATH\" or a loopback address, since it asks nobody who they are; not `%s`", v)
			}
		}
		*p = v
		return nil
	}}
}

// unixPrefix begins an admin address that is a unix socket.
const unixPrefix = "unix:"

// program is a command: a path if it has a slash, else a name to look for in PATH.
func program(key string, p *string) field {
	file := path(key, p)
	return field{key: key, kind: kindText, set: func(v, folder string) error {
		if strings.Contains(v, "/") {
			return file.set(v, folder)
		}
		*p = v
		return nil
	}}
}

// ParseSize reads "256MiB", "64kB", "10 GiB" or a number of bytes.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKkMGTi ")
	unit, ok := sizeUnits()[strings.TrimSpace(s[len(digits):])]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case !ok || err != nil:
		return 0, fmt.Errorf("is not a size, which is a number and a unit, for example \"256MiB\": `%s`", s)
	case int64(n) > math.MaxInt64/unit:
		return 0, fmt.Errorf("is too large a size: `%s`", s)
	}
	return int64(n) * unit, nil
}

func sizeUnits() map[string]int64 {
	return map[string]int64{
		"": 1, "B": 1,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}
}

// ParseDuration reads what [time.ParseDuration] reads, and whole days ("7d").
// Negative durations are refused.
func ParseDuration(s string) (time.Duration, error) {
	const day, maxDays = 24 * time.Hour, 36500
	if n, err := strconv.Atoi(strings.TrimSuffix(s, "d")); err == nil && strings.HasSuffix(s, "d") {
		if n < 0 || n > maxDays {
			return 0, fmt.Errorf("must be 0 to %d days, not `%s`", maxDays, s)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("is not a duration, for example \"60s\", \"1h30m\" or \"7d\": `%s`", s)
	case d < 0:
		return 0, fmt.Errorf("must not be negative: `%s`", s)
	}
	return d, nil
}

func oneOf(choices ...string) check {
	return func(v string) error {
		if slices.Contains(choices, v) {
			return nil
		}
		return fmt.Errorf("must be one of `%s`, not `%s`", strings.Join(choices, "`, `"), v)
	}
}

func notEmpty(v string) error {
	if v == "" {
		return errEmpty
	}
	return nil
}

// optional lets an empty text pass and judges any other.
func optional(ok check) check {
	return func(v string) error {
		if v == "" {
			return nil
		}
		return ok(v)
	}
}

func isNamespace(v string) error {
	if !warg.ValidNamespace(v) {
		return fmt.Errorf("is not a namespace (lower-case words joined by single hyphens): `%s`", v)
	}
	return nil
}

// ValidDomain returns nil if s may be the name of a registry in a configuration,
// else an error that goes on after the name of a setting.
func ValidDomain(s string) error { return isDomain(s) }

// maxDomain is the longest registry name: that of a DNS name, since most are one.
const maxDomain = 253

// isDomain judges the name of a registry: a DNS name or address, perhaps with a
// port, or one of the labels that clients derive from a URL ("127.0.0.1-8090",
// "example.com_team-a"). It becomes the name of a folder here and at clients.
func isDomain(v string) error {
	if v == "" || len(v) > maxDomain || strings.Contains(v, "..") || strings.Trim(v[:1]+v[len(v)-1:], ".-_:") == "" {
		return fmt.Errorf("is not the name of a registry: `%s`", v)
	}
	name, port, hasPort := strings.Cut(v, ":")
	if n, err := strconv.Atoi(port); hasPort && (err != nil || n < 1 || n > math.MaxUint16) {
		return fmt.Errorf("is not the name of a registry, what follows the colon is no port: `%s`", v)
	}
	for _, c := range []byte(name) {
		lower, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !lower && !digit && !strings.ContainsRune(".-_", rune(c)) {
			return fmt.Errorf("is not the name of a registry (lower-case letters, digits, `.`, `-`, `_`): `%s`", v)
		}
	}
	return nil
}

func isKeyID(v string) error {
	if strings.HasPrefix(v, "ecdsa-p256:") {
		return errors.New("is a key where its id is wanted; `entrepot key id FILE` and `entrepot key of URL` print ids")
	}
	if _, err := warg.ParseDigest(v); err != nil {
		return fmt.Errorf("is not a key id (`sha256:` and 64 digits, as `entrepot key of URL` prints it): `%s`", v)
	}
	return nil
}

// isAddress judges "host:port"; an empty host means all addresses.
func isAddress(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("is not an address, which is host:port, for example \"127.0.0.1:8090\": `%s`", v)
	}
	return nil
}

// isURL judges an absolute http or https URL of a server, perhaps with a path.
func isURL(v string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil && strings.Contains(v, "@"): // there may be a password in it
		return errors.New("is not a URL that begins with http:// or https://")
	case err != nil || u.Host == "" || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		return fmt.Errorf("is not a URL that begins with http:// or https://: `%s`", v)
	case u.User != nil:
		return errors.New("must not contain a user name or password; secrets are given by file")
	case u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(v, "?") || strings.HasSuffix(v, "#"):
		return fmt.Errorf("must not have a query or fragment: `%s`", v)
	}
	return nil
}

func isPrefix(v string) error {
	if _, err := netip.ParseAddr(v); err == nil {
		return nil
	}
	if _, err := netip.ParsePrefix(v); err != nil {
		return fmt.Errorf("is neither an address nor a network, for example \"10.0.0.0/8\": `%s`", v)
	}
	return nil
}

// isWildcard reports whether an address that isAddress accepts means every
// address of the machine.
func isWildcard(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// isLoopback reports whether a host name or address is this machine only.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}
