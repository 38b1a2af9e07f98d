package main

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// bar shows how far something has come, to people only. The zero value shows
// nothing, and what it reads for is passed through.
type bar struct{ p *progressbar.ProgressBar }

// newBar returns a bar of bytes on standard error if a person looks there. total
// is -1 if it is not known.
func (p *process) newBar(total int64, what string) bar {
	return p.showBar(total, what, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
}

// newCount returns a bar of things.
func (p *process) newCount(total int64, what string) bar {
	return p.showBar(total, what, progressbar.OptionShowCount())
}

func (p *process) showBar(total int64, what string, more ...progressbar.Option) bar {
	if !p.terminal() {
		return bar{}
	}
	const redraw = 100 * time.Millisecond
	return bar{progressbar.NewOptions64(total, append(more,
		progressbar.OptionSetWriter(p.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(redraw),
		progressbar.OptionEnableColorCodes(p.colours()),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionFullWidth(),
	)...)}
}

// add counts n more. What goes wrong with drawing is not worth a word.
func (b bar) add(n int64) {
	if b.p != nil && n > 0 {
		_ = b.p.Add64(n)
	}
}

// reader returns r, counting what is read from it.
func (b bar) reader(r io.Reader) io.Reader {
	if b.p == nil {
		return r
	}
	return io.TeeReader(r, b.p)
}

// byteProgress is told how many bytes have come, of how many (or -1).
type byteProgress struct {
	p    *process
	what string
	bar  bar
	at   int64
}

func (b *byteProgress) tell(done, total int64) {
	if done < b.at || b.bar.p == nil { // the first source, or the next one from its start
		b.bar.done()
		b.at, b.bar = 0, b.p.newBar(total, b.what)
	}
	b.bar.add(done - b.at)
	b.at = done
}

// done removes the bar.
func (b bar) done() {
	if b.p != nil {
		_ = b.p.Clear()
	}
}
