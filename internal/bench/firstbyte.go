package main

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/entrepot/entrepot/warg"
)

// firstByteRounds is how many contents, and packages, are fetched each way.
const firstByteRounds = 30

// firstByte measures how long the first byte of an answer takes when the replica has
// to fetch, verify and store what is asked for, beside the upstream's own answer.
func (f *federation) firstByte(options) error {
	p := newPublisher(f.up.addr, 1, time.Millisecond)
	var logs []warg.LogID
	var contents []warg.Digest
	for i := range 2 * firstByteRounds {
		content := noise(32 << 10)
		c, err := newChain(fmt.Sprintf("bench:first%d", i), f.key)
		if err != nil {
			return err
		}
		s := c.release(warg.Sum(content))
		if _, err := p.publish(s, content); err != nil {
			return err
		}
		logs, contents = append(logs, s.log), append(contents, warg.Sum(content))
	}
	if err := f.here.sync(); err != nil { // the ledger, not what is measured
		return err
	}
	known, err := learn(f.up.addr, warg.Digest{}, warg.Digest{})
	if err != nil {
		return err
	}
	fmt.Println("\n| time to first byte, cold | upstream | through the replica | more, p50 | goal |")
	fmt.Println("| --- | --- | --- | --- | --- |")
	err = f.firstByteRow("records of a package", func(i int) ([]byte, []byte) {
		body := func(log warg.LogID) []byte {
			return encode(map[string]any{"logLength": known.length, "packages": map[string]any{log.String(): nil}})
		}
		return post(f.up.addr, "/v1/fetch/logs", body(logs[2*i])),
			post(f.here.addr, "/v1/fetch/logs", body(logs[2*i+1]), onBehalf)
	})
	if err != nil {
		return err
	}
	return f.firstByteRow("content, 32 KiB", func(i int) ([]byte, []byte) {
		return get(f.up.addr, "/content/sha256-"+contents[2*i].Hex()),
			get(f.here.addr, "/content/"+upDomain+"/sha256-"+contents[2*i+1].Hex())
	})
}

// firstByteRow prints one row; requests returns what is sent to the upstream and to
// the replica in a round.
func (f *federation) firstByteRow(name string, requests func(i int) (up, here []byte)) error {
	up, err := dialTimer(f.up.addr)
	if err != nil {
		return err
	}
	defer up.Close()
	here, err := dialTimer(f.here.addr)
	if err != nil {
		return err
	}
	defer here.Close()
	var direct, through []time.Duration
	for i := range firstByteRounds {
		a, b := requests(i)
		one, err := up.firstByte(a)
		if err != nil {
			return err
		}
		two, err := here.firstByte(b)
		if err != nil {
			return err
		}
		direct, through = append(direct, one), append(through, two)
	}
	slices.Sort(direct)
	slices.Sort(through)
	fmt.Printf("| %s | %s | %s | **%s** | ≤ 2 ms |\n", name, spread(direct, millis), spread(through, millis), millis(median(through)-median(direct)))
	return nil
}

// timer is a connection on which answers are timed.
type timer struct {
	net.Conn
	r *bufio.Reader
}

func dialTimer(addr string) (*timer, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &timer{c, bufio.NewReaderSize(c, 64<<10)}, nil
}

// firstByte sends a request and returns when its answer began.
func (t *timer) firstByte(request []byte) (time.Duration, error) {
	if err := t.SetDeadline(time.Now().Add(stallLimit)); err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := t.Write(request); err != nil {
		return 0, err
	}
	if _, err := t.r.Peek(1); err != nil {
		return 0, err
	}
	took := time.Since(began)
	status, _, err := skipAnswer(t.r)
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d for %.60q", status, request)
	}
	return took, err
}
