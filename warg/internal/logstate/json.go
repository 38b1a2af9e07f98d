package logstate

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/entrepot/entrepot/warg"
)

// Object builds a JSON object with members in the order they are added.
type Object struct {
	b   []byte
	err error
}

// Add adds a member with an already encoded value.
func (o *Object) Add(name string, value []byte) {
	if len(o.b) == 0 {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(appendString(o.b, name), ':')
	o.b = append(o.b, value...)
}

// AddText adds a member whose value is a string.
func (o *Object) AddText(name, value string) { o.Add(name, appendString(nil, value)) }

// AddTime adds a member whose value is a time. The form knows no times before 1970.
func (o *Object) AddTime(name string, t warg.Timestamp) {
	if t.Seconds < 0 && o.err == nil {
		o.err = fmt.Errorf("time %s cannot be written as JSON: it is before 1970", t)
	}
	o.AddText(name, t.String())
}

// AddObject adds a member whose value is another object, unless that is empty.
func (o *Object) AddObject(name string, value *Object) {
	if o.err == nil {
		o.err = value.err
	}
	if len(value.b) > 0 {
		o.Add(name, value.encode())
	}
}

// Encode returns the object.
func (o *Object) Encode() ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.encode(), nil
}

func (o *Object) encode() []byte {
	if len(o.b) == 0 {
		return []byte("{}")
	}
	return append(o.b, '}')
}

// appendString appends a JSON string without escaping what only HTML needs escaped.
func appendString(b []byte, s string) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("logstate: a string does not encode: " + err.Error()) // it always does
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// AddTop adds the members that come first: algorithm, head and permissions.
func (c *Core[P]) AddTop(o *Object) {
	if c.initialized {
		o.AddText("algorithm", HashAlgorithm)
	}
	if c.hasHead {
		var head Object
		head.AddText("digest", c.head.String())
		head.AddTime("timestamp", c.time)
		o.AddObject("head", &head)
	}
	var permissions Object
	for i := range c.permissions.Len() {
		id, set := c.permissions.At(i)
		permissions.Add(string(id), encodeList(set.List()))
	}
	o.AddObject("permissions", &permissions)
}

// AddKeys adds the member keys.
func (c *Core[P]) AddKeys(o *Object) {
	var keys Object
	for i := range c.keys.Len() {
		id, key := c.keys.At(i)
		keys.AddText(string(id), key.String())
	}
	o.AddObject("keys", &keys)
}

func encodeList[P Permission](list []P) []byte {
	b := []byte{'['}
	for i, p := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, p.String())
	}
	return append(b, ']')
}
