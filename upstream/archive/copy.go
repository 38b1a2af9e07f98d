package archive

import (
	"errors"
	"fmt"
	"io"
)

// CopyStream copies an archive of one part to out, which is best a [Volumes] that
// cuts it anew. Nothing but the header is looked at.
func CopyStream(out io.Writer, file io.Reader) error {
	head := make([]byte, partHeader)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading an archive: %w", err)
	}
	h, err := parseHeader("copied", head[:n])
	if err == nil && h.number != 0 {
		err = &DamageError{"copied", numberAt, "it is not a first part"}
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, file)
	return err
}
