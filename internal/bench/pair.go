package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// pair is both servers, running, with a directory of their own.
type pair struct {
	dir             string
	ours, reference *server
}

// each returns the servers in the order in which a round visits them.
func (p *pair) each() []*server { return []*server{p.ours, p.reference} }

// startPair starts both servers on fresh directories with the namespace "bench".
func startPair(o options) (_ *pair, err error) {
	p := new(pair)
	if p.dir, err = os.MkdirTemp(".", ".bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	if p.dir, err = filepath.Abs(p.dir); err != nil {
		return nil, err
	}
	if p.ours, err = startOurs(o, filepath.Join(p.dir, "ours")); err != nil {
		return nil, err
	}
	p.reference, err = startReference(o, filepath.Join(p.dir, "reference"))
	return p, err
}

func (p *pair) stop() {
	for _, s := range p.each() {
		if s != nil {
			s.stop()
		}
	}
	_ = os.RemoveAll(p.dir)
}

// startOurs starts entrepot on dir, made if it is not there.
func startOurs(o options, dir string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "entrepot.toml")
	text := fmt.Sprintf(`listen = %q
data = "data"
[authority]
domain = "bench.example"
namespaces = ["bench"]
[content]
policy = "any"
[limits]
pending_per_key = 65536
`, addr)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return start("entrepot", addr, []string{o.entrepot, "serve", "--config", file})
}

// startReference starts the reference server, which keeps everything but content in memory.
func startReference(o options, dir string) (*server, error) {
	if _, err := os.Stat(o.reference); err != nil {
		return nil, errors.New("the reference server is not there: run `make clients`")
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key, err := warg.GenerateKey()
	if err != nil {
		return nil, err
	}
	return start("reference", addr, []string{o.reference, "--listen", addr, "--content-dir", dir, "--namespace", "bench"},
		"WARG_OPERATOR_KEY="+key.Text())
}

// seed publishes what the read loads ask for: packages of one or two records over
// small content, and one over large content.
func seed(addr string, key warg.PrivateKey, small, large []byte) error {
	p := newPublisher(addr, 64, 50*time.Millisecond)
	first, second := make([]*chain, packages), make([]*chain, 0, packages)
	for i := range first {
		c, err := newChain(fmt.Sprintf("bench:p%d", i), key)
		if err != nil {
			return err
		}
		if first[i] = c; i%2 == 1 {
			second = append(second, c)
		}
	}
	for _, chains := range [][]*chain{first, second} {
		if _, err := publishLoad(p, chains, small, 1, time.Hour); err != nil {
			return err
		}
	}
	big, err := newChain("bench:large", key)
	if err != nil {
		return err
	}
	_, err = publishLoad(p, []*chain{big}, large, 1, time.Hour)
	return err
}

// packages is the number of packages that a read load knows.
const packages = 50
