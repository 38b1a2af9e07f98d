package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Domains of the two registries of the federation benchmark.
const (
	upDomain = "bench.example" // what startOurs serves
	hereName = "here.example"
)

// site is a running entrepot whose admin listener is known.
type site struct {
	*server
	dir string // its own
}

// startUp starts entrepot on a new directory as the upstream.
func startUp(o options, dir string) (*site, error) {
	s, err := startOurs(o, dir)
	return &site{s, dir}, err
}

// startHere starts entrepot on a new directory as a replica of up.
func startHere(o options, dir string, up *site) (*site, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	file, err := configure(dir, addr, up, "on-demand")
	if err != nil {
		return nil, err
	}
	s, err := start("entrepot", addr, []string{o.entrepot, "serve", "--config", file})
	return &site{s, dir}, err
}

// configure writes the configuration of a replica of up and returns its file.
func configure(dir, addr string, up *site, mirror string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "entrepot.toml")
	text := fmt.Sprintf(`listen = %q
data = "data"
[authority]
domain = %q
namespaces = ["bench"]
[content]
policy = "any"
[limits]
connections_per_address = 4096
[upstream.%q]
kind = "warg"
url = "http://%s"
trust_first_key = true
allow_private_addresses = true
max_age = "1h"
mirror = %q
`, addr, hereName, upDomain, up.addr, mirror)
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// admin makes a call of the admin listener and returns the whole answer.
func (s *site) admin(method, path, body string) (string, error) {
	socket := filepath.Join(s.dir, "data", "run", "admin.sock")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return string(text), err
}

// requests returns how many requests of each operation the site has answered.
func (s *site) requests() (map[string]int, error) {
	text, err := s.admin(http.MethodGet, "/metrics", "")
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for scanner := bufio.NewScanner(strings.NewReader(text)); scanner.Scan(); {
		labels, ok := strings.CutPrefix(scanner.Text(), "entrepot_http_requests_total{")
		if !ok {
			continue
		}
		_, op, _ := strings.Cut(labels, `op="`)
		op, _, _ = strings.Cut(op, `"`)
		_, value, _ := strings.Cut(labels, "} ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, err
		}
		counts[op] += int(n)
	}
	return counts, nil
}

// sync makes the replica ask for the newest checkpoint and its ledger.
func (s *site) sync() error {
	text, err := s.admin(http.MethodPost, "/admin/mirrors/sync", `{"domains":["`+upDomain+`"]}`)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(strings.TrimSpace(text), `{"status":"ok"}`) {
		return fmt.Errorf("syncing the replica: %s", text)
	}
	return nil
}

// onBehalf is the header that asks the replica's server for the upstream registry.
const onBehalf = "Warg-Registry: " + upDomain

// federatedRequest is a request on behalf of the upstream registry.
func federatedRequest(method, url string, body []byte) (*http.Request, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	name, value, _ := strings.Cut(onBehalf, ": ")
	request.Header.Set(name, value)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	return request, nil
}

// federated turns a request to our own registry into one to the replica.
func federated(request []byte) []byte {
	return naming(bytes.Replace(request, []byte("/content/sha256-"), []byte("/content/"+upDomain+"/sha256-"), 1), upDomain)
}

// naming adds the name of the registry that a request is for.
func naming(request []byte, domain string) []byte {
	head, rest, _ := bytes.Cut(request, []byte("\r\n"))
	return slices.Concat(head, []byte("\r\nWarg-Registry: "+domain+"\r\n"), rest)
}
