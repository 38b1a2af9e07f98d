//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// passage is what requests that leave a server have to pass: a proxy, or a front end
// with a certificate of a private authority. It notes who came with which credentials.
type passage struct {
	server *http.Server
	mu     sync.Mutex
	seen   []string // "METHOD URL Authorization"
}

func (p *passage) note(r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, fmt.Sprintf("%s %s %q", r.Method, r.URL, r.Header.Get("Authorization")))
}

// open begins to serve at an address of loopback.
func (p *passage) open(config *tls.Config) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	p.server.ReadHeaderTimeout = time.Minute
	p.server.TLSConfig = config
	go func() {
		if config == nil {
			_ = p.server.Serve(l)
		} else {
			_ = p.server.ServeTLS(l, "", "")
		}
	}()
	return l.Addr().String(), nil
}

// pass sends a request on and copies the answer, in which the registry's own address
// becomes the one that it is shown under.
func pass(w http.ResponseWriter, r *http.Request, behind, shown string) {
	request, err := http.NewRequestWithContext(r.Context(), r.Method, behind+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request.Header = r.Header.Clone()
	request.ContentLength = r.ContentLength
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	body = bytes.ReplaceAll(body, []byte(behind), []byte(shown))
	answer.Header.Set("Content-Length", strconv.Itoa(len(body)))
	maps.Copy(w.Header(), answer.Header)
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body)
}

// proxy NAME HOST SERVER opens an HTTP proxy, the only one who knows where HOST is; for
// other names it answers 502. $NAME_URL is its URL.
func cmdProxy(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "proxy NAME HOST SERVER", 3, nil)
	w, p := of(ts), new(passage)
	behind := w.home[args[2]]
	p.server = &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		p.note(r)
		if r.URL.Hostname() != args[1] {
			http.Error(out, "no such host", http.StatusBadGateway)
			return
		}
		pass(out, r, "http://"+behind, "http://"+args[1])
	})}
	w.opened(ts, args[0], p, nil)
}

// front NAME SERVER opens a front end of a server that speaks TLS, with a certificate
// whose authority stands in $WORK/NAME.pem.
func cmdFront(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "front NAME SERVER", 2, nil)
	w, p := of(ts), new(passage)
	behind := w.home[args[1]]
	p.server = &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		p.note(r)
		pass(out, r, "http://"+behind, "https://"+r.Host)
	})}
	config, authority, err := privateCertificate()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), authority, 0o644))
	w.opened(ts, args[0], p, config)
}

func (w *world) opened(ts *testscript.TestScript, name string, p *passage, config *tls.Config) {
	if w.passages[name] != nil || w.taps[name] != nil {
		ts.Fatalf("%s: the name is taken", name)
	}
	address, err := p.open(config)
	ts.Check(err)
	w.passages[name] = p
	scheme := "http://"
	if config != nil {
		scheme = "https://"
	}
	ts.Setenv(urlVar(name), scheme+address)
}

// asked NAME prints what passed a proxy, a front end or a tap, one request a line, with
// the credentials that it carried.
func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "asked NAME", 1, nil)
	w := of(ts)
	p := w.passages[args[0]]
	if p == nil {
		p = &w.tap(ts, args[0]).passage
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.seen {
		fmt.Fprintln(ts.Stdout(), line)
	}
}

// privateCertificate makes a certificate for loopback, and returns what proves it.
func privateCertificate() (*tls.Config, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a private authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, text, nil
}
