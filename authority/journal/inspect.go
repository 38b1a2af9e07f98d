package journal

// Decode reads the payload of a frame for somebody who only looks, and recomputes
// everything in it that can be computed. The frame shares no memory with b.
func Decode(b []byte) (Frame, error) { return decode(b) }
