package scsi

import "encoding/binary"

// Lengths of the UNMAP parameter list, in bytes.
const (
	unmapHeaderLen     = 8
	unmapDescriptorLen = 16
)

// Range is a range of logical blocks.
type Range struct {
	LBA    LBA
	Blocks uint32
}

// UnmapList is the parameter list of UNMAP (SBC-3 §5.28.2). Its descriptors
// stay in the bytes they came in.
type UnmapList struct{ d []byte }

// ParseUnmapList reads a parameter list of the length that the CDB says. An
// empty one is no error. PARAMETER LIST LENGTH ERROR ends a list that is cut
// inside the header or before the descriptors its header announces, INVALID
// FIELD IN PARAMETER LIST one whose two lengths contradict each other. A last
// descriptor that is incomplete by the header's own length is ignored.
func ParseUnmapList(b []byte) (UnmapList, *CheckCondition) {
	if len(b) == 0 {
		return UnmapList{}, nil
	}
	if len(b) < unmapHeaderLen {
		return UnmapList{}, Check(IllegalRequest, ASCParameterListLength)
	}
	data, n := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint16(b[2:]))
	if n > 0 && data < n+unmapHeaderLen-2 {
		return UnmapList{}, InvalidParameter(0, -1)
	}
	n -= n % unmapDescriptorLen
	if len(b) < unmapHeaderLen+n {
		return UnmapList{}, Check(IllegalRequest, ASCParameterListLength)
	}
	return UnmapList{b[unmapHeaderLen : unmapHeaderLen+n]}, nil
}

// Len returns the number of block descriptors.
func (l UnmapList) Len() int { return len(l.d) / unmapDescriptorLen }

// At returns block descriptor i.
func (l UnmapList) At(i int) Range {
	d := l.d[i*unmapDescriptorLen:]
	return Range{LBA(binary.BigEndian.Uint64(d)), binary.BigEndian.Uint32(d[8:])}
}

// FieldAt returns where block descriptor i starts in the parameter list, for
// field pointers.
func (l UnmapList) FieldAt(i int) uint16 { return uint16(unmapHeaderLen + i*unmapDescriptorLen) }

// AppendUnmapList appends a parameter list of at most 4095 ranges.
func AppendUnmapList(b []byte, ranges []Range) []byte {
	n := len(ranges) * unmapDescriptorLen
	b = binary.BigEndian.AppendUint16(b, uint16(n+unmapHeaderLen-2))
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, 0, 0, 0, 0)
	for _, r := range ranges {
		b = binary.BigEndian.AppendUint64(b, uint64(r.LBA))
		b = binary.BigEndian.AppendUint32(b, r.Blocks)
		b = append(b, 0, 0, 0, 0)
	}
	return b
}
