package scsi

import (
	"encoding/binary"

	"sango/internal/san"
)

// Values of SELECT REPORT of REPORT LUNS (SPC-4 table 207).
const (
	SelectAddressed      uint8 = 0x00 // units with peripheral, flat space and logical unit addressing
	SelectWellKnown      uint8 = 0x01 // well known logical units
	SelectAll            uint8 = 0x02
	SelectAdministrative uint8 = 0x10
	SelectConglomerates  uint8 = 0x11
	SelectSubsidiary     uint8 = 0x12
)

// AppendLUNs appends REPORT LUNS parameter data (SPC-4 §6.33).
func AppendLUNs(b []byte, luns []san.LUN) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(8*len(luns)))
	b = append(b, 0, 0, 0, 0)
	for _, l := range luns {
		f := l.Field()
		b = append(b, f[:]...)
	}
	return b
}

// ParseLUNs reads REPORT LUNS parameter data; entries that the allocation
// length cut off are left out.
func ParseLUNs(d []byte) ([]san.LUN, error) {
	if len(d) < 8 {
		return nil, short("REPORT LUNS data", len(d), 8)
	}
	n := min(int64(binary.BigEndian.Uint32(d)), int64(len(d)-8))
	var luns []san.LUN
	for d = d[8 : 8+n]; len(d) >= 8; d = d[8:] {
		l, err := san.ParseLUN([8]byte(d))
		if err != nil {
			return nil, err
		}
		luns = append(luns, l)
	}
	return luns, nil
}
