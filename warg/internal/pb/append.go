package pb

import "google.golang.org/protobuf/encoding/protowire"

// AppendText appends a string field, unless it is empty, which is the default.
func AppendText(b []byte, num int32, s string) []byte {
	if s == "" {
		return b
	}
	return AppendPresentText(b, num, s)
}

// AppendPresentText appends a string field with explicit presence, even if empty.
func AppendPresentText(b []byte, num int32, s string) []byte {
	b = protowire.AppendTag(b, protowire.Number(num), protowire.BytesType)
	return protowire.AppendString(b, s)
}

// AppendBytes appends a bytes field, unless it is empty, which is the default.
func AppendBytes(b []byte, num int32, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return AppendMessage(b, num, v)
}

// AppendMessage appends an encoded message as a field, even if it is empty.
func AppendMessage(b []byte, num int32, message []byte) []byte {
	b = protowire.AppendTag(b, protowire.Number(num), protowire.BytesType)
	return protowire.AppendBytes(b, message)
}

// AppendVarint appends an integer field, unless it is 0, which is the default.
func AppendVarint(b []byte, num int32, v uint64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, protowire.Number(num), protowire.VarintType)
	return protowire.AppendVarint(b, v)
}

// AppendPacked appends a list of integers packed into one field, unless it is empty.
func AppendPacked[T ~uint8 | ~uint32 | ~uint64](b []byte, num int32, list []T) []byte {
	if len(list) == 0 {
		return b
	}
	size := 0
	for _, v := range list {
		size += protowire.SizeVarint(uint64(v))
	}
	b = protowire.AppendTag(b, protowire.Number(num), protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	for _, v := range list {
		b = protowire.AppendVarint(b, uint64(v))
	}
	return b
}
