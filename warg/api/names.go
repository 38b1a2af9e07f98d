package api

import (
	"github.com/entrepot/entrepot/warg"
	"github.com/entrepot/entrepot/warg/internal/strictjson"
)

// AppendNamesRequest appends the request of OpNames. Servers look at the first
// [warg.MaxNames] ids only.
func AppendNamesRequest(dst []byte, ids []warg.LogID) []byte {
	dst = append(dst, `{"packages":[`...)
	for i, id := range ids {
		dst = appendDigest(appendComma(dst, i), warg.Digest(id))
	}
	return append(dst, `]}`...)
}

// ParseNamesRequest reads the request of OpNames. As the protocol has it, ids
// beyond the first [warg.MaxNames] are dropped without an error, and the client
// asks again for what it misses. A repeated id is returned once.
func ParseNamesRequest(body []byte) ([]warg.LogID, error) {
	ids := []warg.LogID{}
	seen := make(map[warg.LogID]struct{})
	listed := 0
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"packages"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		for d.BeginArray(); d.Element(); listed++ {
			id := warg.LogID(readDigest(d))
			_, dup := seen[id]
			if dup || listed >= warg.MaxNames {
				continue
			}
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
	}
	if err := d.Err(); err != nil {
		return nil, requestError(err)
	}
	return ids, nil
}

// AppendNames appends the answer of OpNames. names are in the order of ids, and
// the zero name stands for one that cannot be given.
func AppendNames(dst []byte, ids []warg.LogID, names []warg.PackageName) []byte {
	dst = append(dst, `{"packages":{`...)
	for i, id := range ids {
		dst = append(appendDigest(appendComma(dst, i), warg.Digest(id)), ':')
		if names[i].IsZero() {
			dst = append(dst, `null`...)
		} else {
			dst = appendPlain(dst, names[i].String())
		}
	}
	return append(dst, `}}`...)
}

// ParseNames reads the answer of OpNames. A log whose name cannot be given has the
// zero name; one that the registry left out is not in the result. That a name
// belongs to its log id is checked: the id is derived from it.
func ParseNames(body []byte) (map[warg.LogID]warg.PackageName, error) {
	names := make(map[warg.LogID]warg.PackageName)
	d := strictjson.NewDecoder(body)
	f := strictjson.Fields{Names: []string{"packages"}, Required: 1}
	for d.BeginObject(); d.Field(&f); {
		for d.BeginObject(); d.Key(); {
			readName(d, names)
		}
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return names, nil
}

func readName(d *strictjson.Decoder, names map[warg.LogID]warg.PackageName) {
	id := warg.LogID(keyDigest(d))
	if _, dup := names[id]; dup {
		d.Fail("duplicate member")
	}
	if len(names) == warg.MaxNames {
		d.Fail("more than %d names", warg.MaxNames)
	}
	var name warg.PackageName
	if !d.Null() {
		text := d.String()
		var err error
		name, err = warg.ParsePackageName(text)
		d.FailWith(err)
		if d.Err() == nil && name.LogID() != id {
			d.Fail("name `%s` has another log id", name)
		}
	}
	names[id] = name
}
