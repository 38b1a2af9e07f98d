//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// answerLimit bounds what http reads of one answer.
const answerLimit = 64 << 20

// headers collects repeated -H options.
type headers []string

func (h *headers) String() string          { return strings.Join(*h, "\n") }
func (h *headers) Set(header string) error { *h = append(*h, header); return nil }

// http [-method M] [-H 'name: value']… [-d BODY] [-o FILE] URL makes one request, as curl would. Standard output
// is the body; standard error the status line and the headers, one a line, names as sent.
// Redirects are not followed. A body makes it a POST with the content type application/json.
func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	var header headers
	var method, body, out string
	args = flags(ts, neg, args, "http [-method M] [-H HEADER]… [-d BODY] [-o FILE] URL", 1, func(set *flag.FlagSet) {
		set.Var(&header, "H", "")
		set.StringVar(&method, "method", "", "")
		set.StringVar(&body, "d", "", "")
		set.StringVar(&out, "o", "", "")
	})
	request, err := newRequest(method, args[0], body, header)
	ts.Check(err)
	client := http.Client{
		Timeout:       commandWithin,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	ts.Check(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	ts.Check(err)
	var head bytes.Buffer
	fmt.Fprintln(&head, response.Proto, response.Status)
	ts.Check(response.Header.Write(&head))
	_, _ = io.WriteString(ts.Stderr(), strings.ReplaceAll(head.String(), "\r\n", "\n"))
	if out != "" {
		ts.Check(writeFile(ts.MkAbs(out), answer))
		return
	}
	_, _ = ts.Stdout().Write(answer)
}

func newRequest(method, url, body string, header headers) (*http.Request, error) {
	if method == "" {
		method = http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
	}
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("header %q has no colon", line)
		}
		request.Header.Add(name, strings.TrimSpace(value))
	}
	return request, nil
}

// json FILE PATH [WANT] looks into a JSON document (FILE may be stdout): PATH is members and indexes joined
// by "/", as in releases/0/version; a number counts from the end when negative, and "len" is the length. Strings stand as they are, everything else as
// JSON. With WANT the value must be that; without, it is printed.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "json FILE PATH [WANT]", 2, nil)
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	decoder.UseNumber()
	var document any
	ts.Check(decoder.Decode(&document))
	value, err := lookUp(document, strings.Split(args[1], "/"))
	ts.Check(err)
	got, ok := value.(string)
	if !ok {
		text, err := json.Marshal(value)
		ts.Check(err)
		got = string(text)
	}
	if len(args) == 2 {
		fmt.Fprintln(ts.Stdout(), got)
	} else if got != args[2] {
		ts.Fatalf("%s is %s, and was to be %s", args[1], got, args[2])
	}
}

func lookUp(value any, path []string) (any, error) {
	for depth, step := range path {
		where := strings.Join(path[:depth+1], "/")
		switch node := value.(type) {
		case map[string]any:
			next, ok := node[step]
			if !ok {
				return nil, fmt.Errorf("no member %s", where)
			}
			value = next
		case []any:
			if step == "len" {
				value = json.Number(strconv.Itoa(len(node)))
				continue
			}
			index, err := strconv.Atoi(step)
			if err != nil || index >= len(node) || index < -len(node) {
				return nil, fmt.Errorf("no element %s among %d", where, len(node))
			}
			if index < 0 {
				index += len(node)
			}
			value = node[index]
		default:
			return nil, fmt.Errorf("%s is below a plain value", where)
		}
	}
	return value, nil
}

// logid VAR NS:NAME sets $VAR to the log id of a package, computed here from the protocol's rule.
func cmdLogID(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "logid VAR NS:NAME", 2, nil)
	ts.Setenv(args[0], packageLogID(args[1]))
}

func packageLogID(name string) string {
	text := slices.Concat([]byte("WARG-PACKAGE-LOG-ID-V0:WARG-PACKAGE-ID-V0"), leb(len(name)), []byte(name))
	sum := sha256.Sum256(text)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// digest VAR FILE sets $VAR to the digest of a file.
func cmdDigest(ts *testscript.TestScript, neg bool, args []string) {
	args = flags(ts, neg, args, "digest VAR FILE", 2, nil)
	sum := sha256.Sum256([]byte(ts.ReadFile(args[1])))
	ts.Setenv(args[0], "sha256:"+hex.EncodeToString(sum[:]))
}
