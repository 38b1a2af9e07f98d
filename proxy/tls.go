package proxy

import "crypto/tls"

// serverTLS returns the configuration that the listener uses: at least TLS 1.2,
// and HTTP/1.1 alone, since the server speaks nothing else.
func serverTLS(given *tls.Config) *tls.Config {
	if given == nil {
		return nil
	}
	cfg := given.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}
