package scsi

import "encoding/binary"

// Provisioning states of GET LBA STATUS (SBC-3 table 54).
const (
	StatusMapped      uint8 = 0 // mapped, or not known
	StatusDeallocated uint8 = 1
	StatusAnchored    uint8 = 2
)

// Lengths of GET LBA STATUS parameter data, in bytes.
const (
	LBAStatusHeaderLen     = 8
	LBAStatusDescriptorLen = 16
)

// LBAStatus is an LBA status descriptor (SBC-3 §5.5.2).
type LBAStatus struct {
	LBA    LBA
	Blocks uint32
	State  uint8 // Status*
}

// AppendLBAStatus appends GET LBA STATUS parameter data.
func AppendLBAStatus(b []byte, list []LBAStatus) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(4+LBAStatusDescriptorLen*len(list)))
	b = append(b, 0, 0, 0, 0)
	for _, s := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(s.LBA))
		b = binary.BigEndian.AppendUint32(b, s.Blocks)
		b = append(b, s.State&0x0f, 0, 0, 0)
	}
	return b
}

// ParseLBAStatus reads GET LBA STATUS parameter data; descriptors that the
// allocation length cut off are left out.
func ParseLBAStatus(d []byte) ([]LBAStatus, error) {
	if len(d) < LBAStatusHeaderLen {
		return nil, short("GET LBA STATUS data", len(d), LBAStatusHeaderLen)
	}
	n := min(uint64(binary.BigEndian.Uint32(d))+4, uint64(len(d)))
	var list []LBAStatus
	for d = d[min(LBAStatusHeaderLen, n):max(n, LBAStatusHeaderLen)]; len(d) >= LBAStatusDescriptorLen; d = d[LBAStatusDescriptorLen:] {
		list = append(list, LBAStatus{LBA(binary.BigEndian.Uint64(d)), binary.BigEndian.Uint32(d[8:]), d[12] & 0x0f})
	}
	return list, nil
}
