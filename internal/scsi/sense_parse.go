package scsi

import (
	"encoding/binary"
	"fmt"
)

// ParseSense reads sense data of either format (SPC-4 §4.5). Fields that the
// sense data does not have, or that are cut off, are absent; whether sense key
// specific bytes are a field pointer or a progress follows from the sense key.
func ParseSense(b []byte) (Sense, error) {
	if len(b) < 8 {
		return Sense{}, short("sense data", len(b), 8)
	}
	code := b[0] & 0x7f
	s := Sense{Deferred: code&1 != 0, Bit: -1}
	switch code {
	case 0x70, 0x71:
		s.Key = SenseKey(b[2] & 0x0f)
		if b[0]&0x80 != 0 {
			s.HasInfo, s.Info = true, uint64(binary.BigEndian.Uint32(b[3:]))
		}
		b = b[:min(len(b), 8+int(b[7]))]
		if len(b) >= 12 {
			s.CmdInfo = binary.BigEndian.Uint32(b[8:])
			s.HasCmdInfo = s.CmdInfo != 0 // the format can't tell absence
		}
		if len(b) >= 14 {
			s.ASC = ASC(binary.BigEndian.Uint16(b[12:]))
		}
		if len(b) >= 18 {
			s.setKeySpecific([3]byte(b[15:18]))
		}
		return s, nil
	case 0x72, 0x73:
		s.Key, s.ASC = SenseKey(b[1]&0x0f), ASC(binary.BigEndian.Uint16(b[2:]))
		for b = b[8:min(len(b), 8+int(b[7]))]; len(b) >= 2; {
			n := 2 + int(b[1])
			if n > len(b) {
				break
			}
			s.setDescriptor(b[:n])
			b = b[n:]
		}
		return s, nil
	}
	return Sense{}, fmt.Errorf("sense data: response code %02xh is not one of 70h to 73h", code)
}

func (s *Sense) setDescriptor(d []byte) {
	switch {
	case d[0] == 0x00 && len(d) == 12 && d[2]&0x80 != 0:
		s.HasInfo, s.Info = true, binary.BigEndian.Uint64(d[4:])
	case d[0] == 0x01 && len(d) == 12:
		s.HasCmdInfo, s.CmdInfo = true, uint32(binary.BigEndian.Uint64(d[4:]))
	case d[0] == 0x02 && len(d) == 8:
		s.setKeySpecific([3]byte(d[4:7]))
	}
}

func (s *Sense) setKeySpecific(k [3]byte) {
	if k[0]&0x80 == 0 { // SKSV
		return
	}
	v := binary.BigEndian.Uint16(k[1:])
	switch s.Key {
	case IllegalRequest:
		s.HasField, s.FieldCDB, s.Field = true, k[0]&0x40 != 0, v
		if k[0]&0x08 != 0 {
			s.Bit = int8(k[0] & 7)
		}
	case NoSense, NotReady:
		s.HasProgress, s.Progress = true, v
	}
}
