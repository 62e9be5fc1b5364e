package scsi

import (
	"encoding/binary"
	"fmt"
)

// SenseKey is a sense key (SPC-4 table 53).
type SenseKey uint8

// The sense keys in use.
const (
	NoSense        SenseKey = 0x0
	RecoveredError SenseKey = 0x1
	NotReady       SenseKey = 0x2
	MediumError    SenseKey = 0x3
	HardwareError  SenseKey = 0x4
	IllegalRequest SenseKey = 0x5
	UnitAttention  SenseKey = 0x6
	DataProtect    SenseKey = 0x7
	BlankCheck     SenseKey = 0x8
	CopyAborted    SenseKey = 0xa
	AbortedCommand SenseKey = 0xb
	Miscompare     SenseKey = 0xe
)

// ASC is an additional sense code and its qualifier: ASC<<8 | ASCQ.
type ASC uint16

// Sense is the value behind sense data; Append writes it in the fixed or the
// descriptor format (SPC-4 §4.5).
type Sense struct {
	Key SenseKey
	ASC ASC
	// Info is the INFORMATION field (an LBA, or the offset of a miscompare)
	// where HasInfo.
	Info    uint64
	HasInfo bool
	// CmdInfo is the COMMAND-SPECIFIC INFORMATION field.
	CmdInfo    uint32
	HasCmdInfo bool
	// Field points at the byte in error of the CDB (or, without FieldCDB, of the
	// parameter list), where HasField; Bit is its left-most bit in error, or -1.
	HasField bool
	FieldCDB bool
	Field    uint16
	Bit      int8
	// Progress is n/65536 of a running operation, where HasProgress.
	HasProgress bool
	Progress    uint16
	// Copy target descriptor's own status and sense are not reported.
	Deferred bool // response codes 71h/73h
}

// CheckCondition is the error by which a device server ends a command with
// CHECK CONDITION and this sense data.
type CheckCondition struct{ Sense Sense }

// Error implements error.
func (e *CheckCondition) Error() string {
	return fmt.Sprintf("CHECK CONDITION %x/%02x/%02x, %v", uint8(e.Sense.Key), uint8(e.Sense.ASC>>8), uint8(e.Sense.ASC), e.Sense.ASC)
}

// Check returns a CheckCondition of key and asc.
func Check(key SenseKey, asc ASC) *CheckCondition {
	return &CheckCondition{Sense{Key: key, ASC: asc}}
}

// InvalidField returns 05/24/00 INVALID FIELD IN CDB with a field pointer to
// byte and bit of the CDB; bit is -1 where the whole byte is meant.
func InvalidField(byt uint16, bit int8) *CheckCondition {
	return &CheckCondition{Sense{Key: IllegalRequest, ASC: 0x2400, HasField: true, FieldCDB: true, Field: byt, Bit: bit}}
}

// InvalidParameter returns 05/26/00 INVALID FIELD IN PARAMETER LIST with a
// field pointer to byte and bit of the list.
func InvalidParameter(byt uint16, bit int8) *CheckCondition {
	return &CheckCondition{Sense{Key: IllegalRequest, ASC: 0x2600, HasField: true, Field: byt, Bit: bit}}
}

// MaxSense is the length of the longest sense data that Append writes.
const MaxSense = 64

// Append appends the sense data to b: descriptor format (72h/73h) when desc,
// else fixed format (70h/71h, 18 bytes).
func (s *Sense) Append(b []byte, desc bool) []byte {
	if desc {
		return s.appendDescriptor(b)
	}
	code := byte(0x70)
	if s.Deferred {
		code = 0x71
	}
	var f [18]byte
	f[0] = code
	f[2] = byte(s.Key)
	if s.HasInfo && s.Info <= 0xffffffff {
		f[0] |= 0x80
		binary.BigEndian.PutUint32(f[3:], uint32(s.Info))
	}
	f[7] = 10
	if s.HasCmdInfo {
		binary.BigEndian.PutUint32(f[8:], s.CmdInfo)
	}
	f[12], f[13] = byte(s.ASC>>8), byte(s.ASC)
	sks, ok := s.keySpecific()
	if ok {
		copy(f[15:], sks[:])
	}
	return append(b, f[:]...)
}

func (s *Sense) appendDescriptor(b []byte) []byte {
	code := byte(0x72)
	if s.Deferred {
		code = 0x73
	}
	start := len(b)
	b = append(b, code, byte(s.Key), byte(s.ASC>>8), byte(s.ASC), 0, 0, 0, 0)
	if s.HasInfo { // SPC-4 §4.5.2.2
		b = append(b, 0x00, 0x0a, 0x80, 0)
		b = binary.BigEndian.AppendUint64(b, s.Info)
	}
	if s.HasCmdInfo { // SPC-4 §4.5.2.3
		b = append(b, 0x01, 0x0a, 0, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(s.CmdInfo))
	}
	if sks, ok := s.keySpecific(); ok { // SPC-4 §4.5.2.4
		b = append(b, 0x02, 0x06, 0, 0, sks[0], sks[1], sks[2], 0)
	}
	b[start+7] = byte(len(b) - start - 8)
	return b
}

// keySpecific returns the three SENSE KEY SPECIFIC bytes, if there are any.
func (s *Sense) keySpecific() (k [3]byte, ok bool) {
	switch {
	case s.HasField:
		k[0] = 0x80
		if s.FieldCDB {
			k[0] |= 0x40
		}
		if s.Bit >= 0 {
			k[0] |= 0x08 | byte(s.Bit)&7
		}
		binary.BigEndian.PutUint16(k[1:], s.Field)
		return k, true
	case s.HasProgress:
		k[0] = 0x80
		binary.BigEndian.PutUint16(k[1:], s.Progress)
		return k, true
	}
	return k, false
}
