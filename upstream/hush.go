package upstream

import (
	"bytes"
	"net/http"
	"strings"
)

// A registry knows the token that it is asked with, and may say it again: some do, in
// their messages about tokens that they do not like. What it says gets into logs, into
// the status page, and to our own clients.

// leastSecret is how long a token must be to be looked for, in bytes. A shorter one is
// no secret, and stands in innocent answers by chance.
const leastSecret = 8

// tells reports whether bytes contain our token.
func (c *Client) tells(text []byte) bool {
	return len(c.o.Token) >= leastSecret && bytes.Contains(text, []byte(c.o.Token))
}

// hush takes our token out of what a registry says.
func (c *Client) hush(text []byte) []byte {
	if !c.tells(text) {
		return text
	}
	return bytes.ReplaceAll(text, []byte(c.o.Token), []byte("[token]"))
}

// contentType returns the types of an answer, for people.
func (c *Client) contentType(resp *http.Response) string {
	return string(c.hush([]byte(strings.Join(resp.Header.Values("Content-Type"), ", "))))
}
