package scsi

import "encoding/binary"

// Capacity is READ CAPACITY parameter data (SBC-3 §5.16, §5.17).
type Capacity struct {
	Blocks        uint64 // at least 1
	BlockSize     uint32 // bytes
	LBPPBE        uint8  // a physical block is 1<<LBPPBE logical blocks
	Provisioned   bool   // LBPME: logical block provisioning management
	ReadZeros     bool   // LBPRZ: unmapped blocks read as zeros
	LowestAligned uint16 // LBA of the first block that starts a physical one, below 1<<14
}

// Lengths of the parameter data, in bytes.
const (
	Capacity10Len = 8
	Capacity16Len = 32
)

// Append10 appends the data of READ CAPACITY(10): FFFFFFFFh as the last LBA
// tells the host to ask with the 16-byte form.
func (c *Capacity) Append10(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(min(c.Blocks-1, 1<<32-1)))
	return binary.BigEndian.AppendUint32(b, c.BlockSize)
}

// Append16 appends the data of READ CAPACITY(16).
func (c *Capacity) Append16(b []byte) []byte {
	var d [Capacity16Len]byte
	binary.BigEndian.PutUint64(d[:], c.Blocks-1)
	binary.BigEndian.PutUint32(d[8:], c.BlockSize)
	d[13] = c.LBPPBE & 0x0f
	binary.BigEndian.PutUint16(d[14:], c.LowestAligned&0x3fff)
	d[14] |= bit(c.Provisioned, 7) | bit(c.ReadZeros, 6)
	return append(b, d[:]...)
}

// ParseCapacity16 reads the data of READ CAPACITY(16), of which at least the
// first 16 bytes are needed.
func ParseCapacity16(d []byte) (Capacity, error) {
	if len(d) < 16 {
		return Capacity{}, short("READ CAPACITY(16) data", len(d), 16)
	}
	return Capacity{
		Blocks: binary.BigEndian.Uint64(d) + 1, BlockSize: binary.BigEndian.Uint32(d[8:]), LBPPBE: d[13] & 0x0f,
		Provisioned: d[14]&0x80 != 0, ReadZeros: d[14]&0x40 != 0, LowestAligned: binary.BigEndian.Uint16(d[14:]) & 0x3fff,
	}, nil
}
