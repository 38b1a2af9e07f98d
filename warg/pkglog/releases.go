package pkglog

import (
	"fmt"

	"github.com/entrepot/entrepot/warg/internal/logstate"
	"github.com/entrepot/entrepot/warg/internal/pb"
)

// Releases returns the releases of a record that is known to be good. It costs a
// fraction of [Decode], which looks at keys as well.
func Releases(content []byte) (list []Release, err error) {
	_, err = logstate.DecodeRecord(content, func(m *pb.Reader) error {
		v, err := logstate.DecodeEntry(m, shapes())
		if err != nil || v.Num != wireRelease {
			return err
		}
		e, err := convertRelease(v)
		if r, ok := e.(Release); ok {
			list = append(list, r)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("decoding package record: %w", err)
	}
	return list, nil
}
