package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// writeCertificate writes a certificate for loopback and its key.
func writeCertificate(t *testing.T, u *person, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	u.write(t, "server.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	u.write(t, "server.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	// The clock of a file system may be coarser than two writes are apart.
	later := time.Now().Add(time.Duration(serial) * time.Minute)
	for _, name := range []string{"server.crt", "server.key"} {
		if err := os.Chtimes(u.path(name), later, later); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// presentedSerial connects and returns the serial number of the server's certificate.
func presentedSerial(t *testing.T, url string, trusted ...*x509.Certificate) int64 {
	t.Helper()
	pool := x509.NewCertPool()
	for _, c := range trusted {
		pool.AddCert(c)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	answer, err := client.Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
	return answer.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestCertificates(t *testing.T) {
	u := newPerson(t)
	first := writeCertificate(t, u, 1)
	u.write(t, "entrepot.toml", "listen = \"127.0.0.1:0\"\ntls = { cert_file = \"server.crt\", key_file = \"server.key\" }\n[authority]\nnamespaces = [\"acme\"]\n")
	s := u.serve(t)
	if !strings.HasPrefix(s.url, "https://127.0.0.1:") {
		t.Fatalf("base URL is %s", s.url)
	}
	if got := presentedSerial(t, s.url, first); got != 1 {
		t.Errorf("certificate %d", got)
	}
	second := writeCertificate(t, u, 2)
	if got := presentedSerial(t, s.url, first, second); got != 2 {
		t.Errorf("after the renewal: certificate %d", got)
	}
	u.write(t, "server.crt", "half a certi")
	if got := presentedSerial(t, s.url, first, second); got != 2 {
		t.Errorf("with a broken file: certificate %d", got)
	}
	if !strings.Contains(s.log.String(), "the TLS certificate cannot be renewed") {
		t.Errorf("the log does not say so:\n%s", s.log)
	}
}
