package nbd

import "encoding/binary"

// The states of an extent in BaseAllocation.
const (
	StateHole uint32 = 1 << iota // not allocated
	StateZero                    // reads as zeros
)

// Extent is one descriptor of block status.
type Extent struct {
	Length uint32 // bytes, not 0
	Flags  uint32 // StateHole, StateZero in BaseAllocation
}

// BlockStatus is the payload of a ChunkBlockStatus: consecutive extents from
// the offset of the request on.
type BlockStatus struct {
	Context uint32 // the id given by OptSetMetaContext
	Extents []Extent
}

// Len returns the length of the message in bytes.
func (s *BlockStatus) Len() int { return 4 + 8*len(s.Extents) }

// ParseBlockStatus reads the payload of a ChunkBlockStatus.
func ParseBlockStatus(b []byte) (BlockStatus, error) {
	if len(b) < 12 || len(b)%8 != 4 {
		return BlockStatus{}, protocolErrorf("block status of %d bytes", len(b))
	}
	s := BlockStatus{Context: binary.BigEndian.Uint32(b)}
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := Extent{Length: binary.BigEndian.Uint32(b), Flags: binary.BigEndian.Uint32(b[4:])}
		if e.Length == 0 {
			return BlockStatus{}, protocolErrorf("block status with an extent of no bytes")
		}
		s.Extents = append(s.Extents, e)
	}
	return s, nil
}

// Append appends the message to b.
func (s BlockStatus) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, s.Context)
	for _, e := range s.Extents {
		b = binary.BigEndian.AppendUint32(b, e.Length)
		b = binary.BigEndian.AppendUint32(b, e.Flags)
	}
	return b
}
