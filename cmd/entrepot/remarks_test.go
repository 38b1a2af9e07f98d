package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	standard "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// lines is a writer whose lines can be waited for.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestRemarks: what net/http says about bytes that nobody asked for is a line of our
// log, without those bytes.
func TestRemarks(t *testing.T) {
	written := make(lines, 1)
	logger := slog.New(slog.NewJSONHandler(written, nil))
	before := standard.Writer()
	stop := takeRemarks(logger, time.Now)
	t.Cleanup(func() { standard.SetOutput(before) })

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answered := make(chan struct{})
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		<-answered
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Secret: \"hush\\\"\r\nContent-Length: 6\r\n\r\nhush\" ")
		_, _ = c.Read(make([]byte, 1)) // until it is hung up
	}()
	client := http.Client{Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	close(answered)
	var line struct{ Level, Msg, Form string }
	text := <-written
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		t.Fatal(err)
	}
	if line.Level != "WARN" || line.Msg != "the HTTP library remarks" || !strings.HasPrefix(line.Form, "Unsolicited response received on idle HTTP channel starting with …") {
		t.Errorf("%+v", line)
	}
	if strings.Contains(text, "hush") || strings.Count(text, "\n") != 1 {
		t.Errorf("the line is %q", text)
	}

	stop()
	standard.Print("to nobody")
	if len(written) != 0 {
		t.Errorf("afterwards: %q", <-written)
	}
}

// TestRemarksAreFew: however much is remarked, a line a second says how much that was.
func TestRemarksAreFew(t *testing.T) {
	var text bytes.Buffer
	at := time.Unix(1_700_000_000, 0)
	r := &remarks{log: slog.New(slog.NewTextHandler(&text, nil)), now: func() time.Time { return at }}
	for range 100 {
		if n, err := r.Write([]byte(`says "\"\\" and "no end`)); n != 23 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}
	at = at.Add(remarkEvery)
	_, _ = r.Write([]byte("again\n"))
	got := strings.Split(strings.TrimSpace(text.String()), "\n")
	if len(got) != 2 || !strings.HasSuffix(got[0], `form="says … and …" left_out=0`) || !strings.HasSuffix(got[1], "form=again left_out=99") {
		t.Errorf("%q", got)
	}
}
