package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The README promises that its commands work as they stand. A comment in front of a fenced
// block says what the block is, so that it can be run (see readme_run_test.go):
//
//	<!-- run: serve -->     starts the server; what follows happens beside it
//	<!-- run: test -->      runs all tests: .ci/run runs it, never a test from inside
//	<!-- run: tour -->      needs a running server and nothing else
//	<!-- run: warg -->      needs the real clients as well
//	<!-- file: NAME -->     is the content of a file
//	<!-- run: upstream -->  needs a server that has that file, and the registry in it
//
// A block for a shell without such a comment is an error: it would be a promise that
// nobody checks.

// block is one marked block of the README.
type block struct {
	line int
	mark string // "run: tour"
	text string
}

var (
	fence  = regexp.MustCompile("^```+\\s*([a-z]*)")
	marker = regexp.MustCompile(`^<!-- ((?:run|file): \S+) -->$`)
	link   = regexp.MustCompile(`\]\(([^)\s:]+)\)`) // with a colon it is a URL
	target = regexp.MustCompile(`make ([a-z0-9-]+)`)
)

func readReadme(t *testing.T) (string, []block) {
	t.Helper()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := markedBlocks(string(readme))
	if err != nil {
		t.Fatal(err)
	}
	return string(readme), blocks
}

// markedBlocks returns the marked blocks in order.
func markedBlocks(readme string) ([]block, error) {
	var blocks []block
	var open *block
	previous := ""
	for number, line := range strings.Split(readme, "\n") {
		found := fence.FindStringSubmatch(line)
		switch {
		case open != nil && found != nil:
			if open.mark != "" {
				blocks = append(blocks, *open)
			}
			open = nil
		case open != nil:
			open.text += line + "\n"
		case found != nil:
			mark := ""
			if said := marker.FindStringSubmatch(previous); said != nil {
				mark = said[1]
			}
			if found[1] == "sh" && !strings.HasPrefix(mark, "run: ") {
				return nil, fmt.Errorf("README.md:%d: a block of commands without a comment in the line before that says how to run it", number+1)
			}
			open = &block{line: number + 1, mark: mark}
		}
		previous = line
	}
	if open != nil {
		return nil, fmt.Errorf("README.md:%d: the block has no end", open.line)
	}
	return blocks, nil
}

// TestReadme checks what can be seen without running anything.
func TestReadme(t *testing.T) {
	readme, blocks := readReadme(t)
	known := map[string]int{"run: serve": 0, "run: test": 0, "run: tour": 0, "run: warg": 0, "run: upstream": 0, "file: entrepot.toml": 0}
	for _, b := range blocks {
		if _, ok := known[b.mark]; !ok {
			t.Errorf("README.md:%d: unknown mark %q", b.line, b.mark)
		}
		known[b.mark]++
	}
	for mark, count := range known {
		if count == 0 {
			t.Errorf("README.md has no block marked %q", mark)
		}
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, said := range target.FindAllStringSubmatch(strings.Join(texts(blocks), "\n")+inline(readme), -1) {
		if !strings.Contains(string(makefile), "\n"+said[1]+":") {
			t.Errorf("README.md says %q, and the Makefile has no such target", said[0])
		}
	}
	checkLinks(t, readme)
}

func texts(blocks []block) []string {
	var all []string
	for _, b := range blocks {
		if strings.HasPrefix(b.mark, "run: ") {
			all = append(all, b.text)
		}
	}
	return all
}

// inline returns what stands between backquotes in the running text.
func inline(readme string) string {
	return strings.Join(regexp.MustCompile("`make [a-z]+`").FindAllString(readme, -1), "\n")
}

// checkLinks follows the links to files of this repository, and to headings in them.
func checkLinks(t *testing.T, readme string) {
	for _, said := range link.FindAllStringSubmatch(readme, -1) {
		file, heading, _ := strings.Cut(said[1], "#")
		if file == "" {
			file = "README.md"
		}
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Errorf("README.md links to %s: %v", said[1], err)
			continue
		}
		if heading != "" && !hasHeading(string(text), heading) {
			t.Errorf("README.md links to %s, and there is no such heading", said[1])
		}
	}
}

var notInAnchors = regexp.MustCompile(`[^\p{L}\p{N} _-]`)

// hasHeading reports whether a heading has the anchor that web pages give it.
func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		if title, ok := strings.CutPrefix(strings.TrimSpace(line), "#"); ok {
			title = notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimLeft(title, "# ")), "")
			if strings.ReplaceAll(title, " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}

func TestMarkedBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		readme string
		blocks int
		wrong  bool
	}{
		"marked":          {"<!-- run: tour -->\n```sh\ntrue\n```\n", 1, false},
		"a file":          {"<!-- file: a.toml -->\n```toml\na = 1\n```\n", 1, false},
		"only shown":      {"```toml\na = 1\n```\n", 0, false},
		"unmarked":        {"```sh\nrm -r x\n```\n", 0, true},
		"marked too soon": {"<!-- run: tour -->\n\n```sh\ntrue\n```\n", 0, true},
		"file as command": {"<!-- file: a.sh -->\n```sh\ntrue\n```\n", 0, true},
		"no end":          {"<!-- run: tour -->\n```sh\ntrue\n", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			blocks, err := markedBlocks(c.readme)
			if len(blocks) != c.blocks || (err != nil) != c.wrong {
				t.Errorf("got %v, %v", blocks, err)
			}
		})
	}
}
