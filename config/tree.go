package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is a value of the file that knows where it stands. A node is owned by the
// reader of one file and never changed after that.
type node struct {
	kind  nodeKind
	key   Source // where its key (or the header of its table) stands
	at    Source // where the value stands; the key, if the parser does not say
	text  string // a scalar as written, texts unquoted
	items []*node
	names []string // keys of a table, in the order of the file
	child map[string]*node
}

type nodeKind uint8

const (
	kindTable nodeKind = iota + 1
	kindArray
	kindText
	kindBool
	kindInteger
	kindOther // floats, dates: no setting has these
)

func (k nodeKind) String() string {
	return [...]string{"nothing", "a table", "a list", "a text", "true or false", "a whole number", "a fraction or date"}[k]
}

// parseTree reads TOML into nodes. Errors of syntax, and keys and tables that are
// defined twice, are found by the decoder of the library; its parser then gives
// what the decoder does not: where everything stands.
func parseTree(name string, text []byte) (*node, *Problem) {
	var all map[string]any
	if err := toml.Unmarshal(text, &all); err != nil {
		return nil, syntaxProblem(name, err)
	}
	b := builder{name: name}
	b.parser.Reset(text)
	root := newTable(Source{Name: name, Line: 1, Column: 1})
	table := root
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		switch e.Kind {
		case unstable.Table:
			table = b.open(root, e.Key(), false)
		case unstable.ArrayTable:
			table = b.open(root, e.Key(), true)
		case unstable.KeyValue:
			b.assign(table, e)
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, syntaxProblem(name, err)
	}
	return root, nil
}

func syntaxProblem(name string, err error) *Problem {
	at := Source{Name: name, Line: 1, Column: 1}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		at.Line, at.Column = decode.Position()
	}
	return &Problem{at, oneLine(strings.ToLower(strings.TrimPrefix(err.Error(), "toml: ")))}
}

func newTable(key Source) *node {
	return &node{kind: kindTable, key: key, at: key, child: map[string]*node{}}
}

func (n *node) put(name string, c *node) {
	if _, ok := n.child[name]; !ok {
		n.names = append(n.names, name)
	}
	n.child[name] = c
}

// builder turns expressions of the parser into nodes.
type builder struct {
	parser unstable.Parser
	name   string
}

func (b *builder) source(n *unstable.Node) Source {
	p := b.parser.Shape(n.Raw).Start
	return Source{b.name, p.Line, p.Column}
}

// open finds or makes the table that a header names. Names that are tables inside
// of the last element of a list of tables lead into that element.
func (b *builder) open(t *node, path unstable.Iterator, array bool) *node {
	for path.Next() {
		k := path.Node()
		name, at := string(k.Data), b.source(k)
		if array && path.IsLast() {
			list := t.child[name]
			if list == nil {
				list = &node{kind: kindArray, key: at, at: at}
				t.put(name, list)
			}
			list.items = append(list.items, newTable(at))
			return list.items[len(list.items)-1]
		}
		t = t.enter(name, at)
		if path.IsLast() {
			t.key, t.at = at, at
		}
	}
	return t
}

func (n *node) enter(name string, at Source) *node {
	c := n.child[name]
	switch {
	case c == nil:
		c = newTable(at)
		n.put(name, c)
	case c.kind == kindArray && len(c.items) > 0:
		c = c.items[len(c.items)-1]
	}
	return c
}

// assign stores the value of "a.b.c = value" in table t.
func (b *builder) assign(t *node, e *unstable.Node) {
	path := e.Key()
	for path.Next() {
		k := path.Node()
		name, at := string(k.Data), b.source(k)
		if path.IsLast() {
			t.put(name, b.value(e.Value(), at))
			return
		}
		t = t.enter(name, at)
	}
}

func (b *builder) value(v *unstable.Node, key Source) *node {
	n := &node{key: key, at: key, text: string(v.Data)}
	if v.Raw.Length > 0 {
		n.at = b.source(v)
	}
	switch v.Kind {
	case unstable.String:
		n.kind = kindText
	case unstable.Bool:
		n.kind = kindBool
	case unstable.Integer:
		n.kind = kindInteger
	case unstable.Array:
		n.kind = kindArray
		for it := v.Children(); it.Next(); {
			n.items = append(n.items, b.value(it.Node(), key))
		}
	case unstable.InlineTable:
		n.kind, n.child = kindTable, map[string]*node{}
		for it := v.Children(); it.Next(); {
			b.assign(n, it.Node())
		}
	default:
		n.kind = kindOther
	}
	return n
}

// describe names a value in a complaint.
func (n *node) describe() string {
	if n.kind == kindText || n.kind == kindInteger || n.kind == kindBool {
		return fmt.Sprintf("%s `%s`", n.kind, n.text)
	}
	return n.kind.String()
}
