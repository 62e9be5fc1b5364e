package nbd

import "encoding/binary"

// OffsetLen is the length of the offset that the data of a ChunkOffsetData
// follows, in bytes.
const OffsetLen = 8

// ParseOffset reads the offset of a ChunkOffsetData.
func ParseOffset(b []byte) (uint64, error) {
	if err := checkLen("offset", b, OffsetLen); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(b), nil
}

// AppendOffset appends the offset of a ChunkOffsetData to b.
func AppendOffset(b []byte, off uint64) []byte { return binary.BigEndian.AppendUint64(b, off) }

// HoleLen is the length of a Hole in bytes.
const HoleLen = 12

// Hole is the payload of a ChunkOffsetHole: a range that reads as zeros.
type Hole struct {
	Offset uint64 // bytes
	Length uint32 // bytes, not 0
}

// ParseHole reads the payload of a ChunkOffsetHole.
func ParseHole(b []byte) (Hole, error) {
	if err := checkLen("hole", b, HoleLen); err != nil {
		return Hole{}, err
	}
	h := Hole{Offset: binary.BigEndian.Uint64(b), Length: binary.BigEndian.Uint32(b[8:])}
	if h.Length == 0 {
		return Hole{}, protocolErrorf("hole of no bytes at %d", h.Offset)
	}
	return h, nil
}

// Append appends the message to b.
func (h Hole) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, h.Offset), h.Length)
}

// ErrorPayload is the payload of a ChunkError, and with HasOffset of a
// ChunkErrorOffset.
type ErrorPayload struct {
	Err       Errno  // not 0
	Text      string // for people
	HasOffset bool
	Offset    uint64 // bytes
}

// ParseErrorPayload reads the payload of an error chunk of type t.
func ParseErrorPayload(b []byte, t ChunkType) (ErrorPayload, error) {
	if len(b) < 6 {
		return ErrorPayload{}, protocolErrorf("error of %d bytes", len(b))
	}
	e := ErrorPayload{Err: Errno(binary.BigEndian.Uint32(b)), HasOffset: t == ChunkErrorOffset}
	n := int(binary.BigEndian.Uint16(b[4:]))
	b = b[6:]
	if e.Err == 0 {
		return ErrorPayload{}, protocolErrorf("error chunk that says success")
	}
	want := n
	if e.HasOffset {
		want += 8
	}
	if err := checkLen("error", b, want); err != nil {
		return ErrorPayload{}, err
	}
	e.Text = string(b[:n])
	if e.HasOffset {
		e.Offset = binary.BigEndian.Uint64(b[n:])
	}
	return e, CheckString(e.Text)
}

// Append appends the message to b. The length of Text is at most MaxString.
func (e ErrorPayload) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(e.Err))
	b = binary.BigEndian.AppendUint16(b, uint16(len(e.Text)))
	b = append(b, e.Text...)
	if e.HasOffset {
		b = binary.BigEndian.AppendUint64(b, e.Offset)
	}
	return b
}
