package strictjson

// MaxDepth is how deep containers may nest, skipped ones included. The formats
// read with this package need six; the bound keeps recursion small.
const MaxDepth = 64

// frame is one open container.
type frame struct {
	name             string // of the known member being read
	index            int    // of the element being read; -1 in an object
	keyStart, keyEnd int    // the map key being read, in Decoder.keys
	keyed            bool
	began            bool // a member or element was read: a comma must come before the next
}

// Decoder reads one JSON value. It is used by one goroutine.
type Decoder struct {
	in      []byte
	pos     int // of the next byte to read
	err     *Error
	scratch []byte // the last string that had to be unescaped
	keys    []byte // map keys of the open containers, for error messages and Name
	stack   [maxTyped]frame
	depth   int
}

// maxTyped is how deep the containers entered with BeginObject and BeginArray may
// nest, fewer than MaxDepth because only the formats we define are read that way.
const maxTyped = 12

// NewDecoder returns a decoder for the first JSON value in b. The decoder never
// changes b; what it returns does not alias b unless documented.
func NewDecoder(b []byte) *Decoder { return &Decoder{in: b} }

// Err returns the first error, an [*Error], or nil.
func (d *Decoder) Err() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// Offset returns the number of bytes read so far.
func (d *Decoder) Offset() int { return d.pos }

// Fields says which members an object may have, and keeps track while it is read.
// A Fields serves one object.
type Fields struct {
	Names    []string // known members, at most 64; required ones first
	Required int      // how many of Names must be there
	Refuse   bool     // refuse unknown members, rather than skip them

	Index int // set by Field: position in Names of the member to read now

	seen uint64
}

// Seen reports whether the member at position i of Names was there.
func (f *Fields) Seen(i int) bool { return f.seen&(1<<i) != 0 }

// BeginObject enters an object. Its members are read with Field or with Key.
func (d *Decoder) BeginObject() { d.begin('{', "an object", -1) }

// BeginArray enters an array. Its elements are read with Element.
func (d *Decoder) BeginArray() { d.begin('[', "an array", 0) }

func (d *Decoder) begin(open byte, want string, index int) {
	switch {
	case d.err != nil:
		return
	case d.next() != open:
		d.unexpected(want)
		return
	case d.depth == maxTyped:
		d.syntax("nested deeper than %d", maxTyped)
		return
	}
	d.pos++
	d.stack[d.depth] = frame{index: index, keyStart: len(d.keys), keyEnd: len(d.keys)}
	d.depth++
}

// Field advances to the next known member and sets f.Index. At the end of the
// object it returns false, having checked that no required member was missing.
func (d *Decoder) Field(f *Fields) bool {
	for d.member() {
		d.stack[d.depth-1].name = ""
		name := d.str()
		d.colon()
		if d.err != nil {
			return false
		}
		i := f.find(name)
		if i < 0 {
			if f.Refuse {
				d.Fail("unknown member %s", quoteKey(name))
				return false
			}
			d.Skip()
			continue
		}
		if f.seen&(1<<i) != 0 {
			d.Fail("duplicate member `%s`", f.Names[i])
			return false
		}
		f.seen |= 1 << i
		f.Index = i
		d.stack[d.depth-1].name = f.Names[i]
		return true
	}
	if d.err == nil {
		d.requireSeen(f)
	}
	return false
}

// find returns the position of name, looking first behind the previous member:
// writers keep one order.
func (f *Fields) find(name []byte) int {
	if f.seen != 0 && f.Index+1 < len(f.Names) && f.Names[f.Index+1] == string(name) {
		return f.Index + 1
	}
	for i, n := range f.Names {
		if n == string(name) {
			return i
		}
	}
	return -1
}

func (d *Decoder) requireSeen(f *Fields) {
	for i := range f.Required {
		if !f.Seen(i) {
			d.Fail("missing member `%s`", f.Names[i])
			return
		}
	}
}

// Key advances to the next member of an object that is used as a map; Name
// returns its name. Whether a name came before is for the caller to notice.
func (d *Decoder) Key() bool {
	if !d.member() {
		return false
	}
	name := d.str()
	d.colon()
	if d.err != nil {
		return false
	}
	f := &d.stack[d.depth-1]
	d.keys = append(d.keys[:f.keyStart], name...)
	f.keyEnd, f.keyed = len(d.keys), true
	return true
}

// Name returns the name of the member that Key advanced to. It is valid until the
// next call of Key.
func (d *Decoder) Name() []byte {
	if d.depth == 0 {
		return nil
	}
	f := &d.stack[d.depth-1]
	return d.keys[f.keyStart:f.keyEnd]
}

// Element advances to the next element of an array.
func (d *Decoder) Element() bool {
	if d.err != nil || d.ends(']') {
		return false
	}
	f := &d.stack[d.depth-1]
	if f.began {
		f.index++
	}
	return d.separate()
}

// member advances to the name of the next member.
func (d *Decoder) member() bool {
	if d.err != nil || d.ends('}') || !d.separate() {
		return false
	}
	if d.next() != '"' {
		d.syntax("expected a member name")
		return false
	}
	return true
}

// ends leaves the innermost container if it ends here.
func (d *Decoder) ends(closing byte) bool {
	if d.depth == 0 || d.next() != closing {
		return d.depth == 0
	}
	d.pos++
	d.depth--
	d.keys = d.keys[:d.stack[d.depth].keyStart]
	return true
}

// separate reads the comma before every member or element but the first.
func (d *Decoder) separate() bool {
	f := &d.stack[d.depth-1]
	if !f.began {
		f.began = true
		return true
	}
	if d.next() != ',' {
		d.syntax("expected a comma or the end of the container")
		return false
	}
	d.pos++
	if c := d.next(); c == ']' || c == '}' {
		d.syntax("trailing comma")
		return false
	}
	return true
}

func (d *Decoder) colon() {
	if d.err != nil {
		return
	}
	if d.next() != ':' {
		d.syntax("expected a colon after a member name")
		return
	}
	d.pos++
}

// next skips white space and returns the byte that follows, or 0 at the end.
func (d *Decoder) next() byte {
	for d.pos < len(d.in) {
		switch c := d.in[d.pos]; c {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return c
		}
	}
	return 0
}
