package nbd

import (
	"encoding/binary"
	"fmt"
)

// ChunkMagic is what a chunk of a structured reply begins with.
const ChunkMagic = 0x668e33ef

// ChunkType says what a chunk of a structured reply carries
// (NBD_REPLY_TYPE_*). Errors have the top bit set.
type ChunkType uint16

// The types of chunks.
const (
	ChunkNone        ChunkType = 0
	ChunkOffsetData  ChunkType = 1 // an offset (64 bits), and data
	ChunkOffsetHole  ChunkType = 2 // HoleChunk
	ChunkBlockStatus ChunkType = 5 // BlockStatus
	ChunkError       ChunkType = 1<<15 + 1
	ChunkErrorOffset ChunkType = 1<<15 + 2
)

// IsError reports whether the chunk makes the reply a failure.
func (t ChunkType) IsError() bool { return t&(1<<15) != 0 }

// String returns the name of the type in the protocol, without prefix.
func (t ChunkType) String() string {
	switch t {
	case ChunkNone:
		return "NONE"
	case ChunkOffsetData:
		return "OFFSET_DATA"
	case ChunkOffsetHole:
		return "OFFSET_HOLE"
	case ChunkBlockStatus:
		return "BLOCK_STATUS"
	case ChunkError:
		return "ERROR"
	case ChunkErrorOffset:
		return "ERROR_OFFSET"
	}
	return fmt.Sprintf("chunk %d", uint16(t))
}

// ChunkFlags are the flags of a chunk (NBD_REPLY_FLAG_*).
type ChunkFlags uint16

// ChunkDone marks the last chunk of a reply.
const ChunkDone ChunkFlags = 1

// ChunkLen is the length of a Chunk in bytes.
const ChunkLen = 20

// Chunk goes before the payload of each chunk of a structured reply (section
// "Structured reply chunk message").
type Chunk struct {
	Flags  ChunkFlags
	Type   ChunkType
	Cookie uint64
	Length uint32 // bytes of payload
}

// ParseChunk reads the header of a chunk, and refuses lengths that its type
// can not have.
func ParseChunk(b []byte) (Chunk, error) {
	if err := checkLen("chunk", b, ChunkLen); err != nil {
		return Chunk{}, err
	}
	if m := binary.BigEndian.Uint32(b); m != ChunkMagic {
		return Chunk{}, protocolErrorf("chunk with magic %#x", m)
	}
	c := Chunk{
		Flags:  ChunkFlags(binary.BigEndian.Uint16(b[4:])),
		Type:   ChunkType(binary.BigEndian.Uint16(b[6:])),
		Cookie: binary.BigEndian.Uint64(b[8:]),
		Length: binary.BigEndian.Uint32(b[16:]),
	}
	bad := false
	switch c.Type {
	case ChunkNone:
		bad = c.Length != 0 || c.Flags&ChunkDone == 0
	case ChunkOffsetData:
		bad = c.Length < OffsetLen+1
	case ChunkOffsetHole:
		bad = c.Length != HoleLen
	case ChunkBlockStatus:
		bad = c.Length < 4+8 || c.Length%8 != 4
	case ChunkError:
		bad = c.Length < 6
	case ChunkErrorOffset:
		bad = c.Length < 14
	}
	if bad {
		return Chunk{}, protocolErrorf("chunk %s with flags %#x and %d bytes", c.Type, uint16(c.Flags), c.Length)
	}
	return c, nil
}

// Append appends the message to b.
func (c Chunk) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, ChunkMagic)
	b = binary.BigEndian.AppendUint16(b, uint16(c.Flags))
	b = binary.BigEndian.AppendUint16(b, uint16(c.Type))
	b = binary.BigEndian.AppendUint64(b, c.Cookie)
	return binary.BigEndian.AppendUint32(b, c.Length)
}
