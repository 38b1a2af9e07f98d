package main

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"

	"github.com/entrepot/entrepot/config"
	"github.com/entrepot/entrepot/upstream"
)

// clientOptions says how an upstream of the configuration is reached.
func (p *process) clientOptions(u config.Upstream) (upstream.ClientOptions, error) {
	o := upstream.ClientOptions{
		Domain:                u.Domain,
		URL:                   u.URL,
		AllowPrivateAddresses: u.AllowPrivateAddresses,
		MaxConnections:        u.MaxConnections,
		MaxBandwidth:          u.MaxBandwidth,
	}
	var err error
	if u.TokenFile != "" {
		if o.Token, err = p.readSecret(u.TokenFile); err != nil {
			return o, fmt.Errorf("reading the token of upstream `%s`: %w", u.Domain, err)
		}
	}
	if u.CAFile != "" {
		if o.RootCAs, err = readCertificates(u.CAFile); err != nil {
			return o, err
		}
	}
	if u.HTTPProxy != "" {
		if o.Proxy, err = url.Parse(u.HTTPProxy); err != nil {
			return o, exitf(exitConfig, "reading http_proxy of upstream `%s`: %w", u.Domain, err)
		}
	}
	return o, nil
}

// readCertificates reads the certificate authorities of a PEM file. They replace
// the system's.
func readCertificates(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, exitf(exitConfig, "ca_file %s holds no certificate", file)
	}
	return pool, nil
}
