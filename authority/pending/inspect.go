package pending

// Decode reads the payload of a frame for somebody who only looks; ok is false for a
// mark of the log itself. The entry shares no memory with b.
func Decode(b []byte) (e Entry, ok bool, err error) {
	e, err = decode(b)
	return e, err == nil && e.Kind != carried, err
}
