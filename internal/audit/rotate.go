package audit

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/entrepot/entrepot/internal/durable"
	"github.com/entrepot/entrepot/warg"
)

// ready opens the file that the next lines go to, and reports whether it is a new one.
// Whatever a crash leaves of it, the next Open finds the same end.
func (l *Log) ready() (fresh bool, err error) {
	if l.broken || l.size >= l.o.Max {
		if err := l.setAside(); err != nil {
			return false, err
		}
	}
	if l.file != nil {
		return l.size == 0, nil
	}
	l.file, err = l.o.FS.OpenWrite(l.o.Path)
	if errors.Is(err, fs.ErrNotExist) {
		l.file, err = l.o.FS.Create(l.o.Path)
	}
	if err != nil {
		l.file = nil
		return false, err
	}
	if l.torn > 0 {
		// The cut is durable before anything takes its place, or a second crash could
		// mix the two.
		if err := l.file.Truncate(l.size); err != nil {
			return false, err
		}
		if err := l.file.Sync(); err != nil {
			return false, err
		}
		l.synced++
		l.torn = 0
	}
	return l.size == 0, nil
}

// setAside gives the newest file the next number.
func (l *Log) setAside() error {
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return err
		}
		l.file = nil
	}
	number := uint64(1)
	if n := len(l.numbers); n > 0 {
		number = l.numbers[n-1] + 1
	}
	if l.broken {
		if err := l.standsAs(l.o.Path); err != nil {
			return err
		}
	}
	if err := l.o.FS.Rename(l.o.Path, rotatedName(l.o.Path, number)); err != nil {
		return err
	}
	l.numbers, l.size, l.torn, l.broken = append(l.numbers, number), 0, 0, false
	return l.o.FS.SyncDir(filepath.Dir(l.o.Path))
}

// standsAs lets the chain go on from the last line of a damaged file as it stands there.
func (l *Log) standsAs(name string) error {
	f, err := l.o.FS.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	l.place, err = lastOf(f, l.place)
	return err
}

// lastOf returns the place behind the last line of a damaged file: its number as the
// line itself says it, or else one more than what is known, and its hash.
func lastOf(r io.Reader, known place) (place, error) {
	p := known
	lines := bufio.NewReaderSize(r, maxLine+1)
	for {
		text, err := lines.ReadSlice('\n')
		if len(text) > 0 && err == nil {
			text = text[:len(text)-1]
			p.hash = warg.Sum(text)
			p.n = known.n + 1
			if n, ok := numberOf(text); ok && n > known.n {
				p.n = n
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return p, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return p, err
		}
	}
}

// numberOf reads the number of a line without judging the line.
func numberOf(text []byte) (uint64, bool) {
	if len(text) < linkSize {
		return 0, false
	}
	digits, _, ok := strings.Cut(string(text[linkSize:]), ",")
	n, err := strconv.ParseUint(digits, 10, 63)
	return n, ok && err == nil
}

// beginning returns the place before the first line of a file, as that line says it; ok
// is false if there is no such line.
func beginning(f durable.Reader) (p place, ok bool) {
	head := make([]byte, linkSize+len("18446744073709551615,"))
	n, _ := f.ReadAt(head, 0)
	head = head[:n]
	number, ok := numberOf(head)
	if !ok || number == 0 {
		return place{}, false
	}
	prev, err := hex.DecodeString(string(head[len(linkBefore) : linkSize-len(linkAfter)]))
	if err != nil || len(prev) != warg.DigestSize {
		return place{}, false
	}
	return place{n: number - 1, hash: warg.Digest(prev)}, true
}
