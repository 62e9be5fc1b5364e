package scsi

import "encoding/binary"

// Overwrite is the parameter list of SANITIZE with the overwrite service
// action (SBC-3 §5.29.2).
type Overwrite struct {
	Invert  bool   // each pass writes the complement of the pass before
	Test    uint8  // vendor specific
	Count   uint8  // passes, 1 to 31
	Pattern []byte // at most one block
}

// OverwriteListFits reports whether n is a parameter list length that the
// overwrite service action takes; any other ends with INVALID FIELD IN CDB.
func OverwriteListFits(n int, blockSize int) bool { return n >= 5 && n <= blockSize+4 }

// ParseOverwrite reads the parameter list, whose length must fit. The pattern
// is part of b.
func ParseOverwrite(b []byte, blockSize int) (Overwrite, *CheckCondition) {
	if len(b) < 5 {
		return Overwrite{}, Check(IllegalRequest, ASCParameterListLength)
	}
	o := Overwrite{Invert: b[0]&0x80 != 0, Test: b[0] >> 5 & 3, Count: b[0] & 0x1f}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case o.Count == 0:
		return Overwrite{}, InvalidParameter(0, 4)
	case n == 0 || n > blockSize:
		return Overwrite{}, InvalidParameter(2, -1)
	case 4+n > len(b):
		return Overwrite{}, Check(IllegalRequest, ASCParameterListLength)
	}
	o.Pattern = b[4 : 4+n : 4+n]
	return o, nil
}

// Append appends the parameter list.
func (o *Overwrite) Append(b []byte) []byte {
	b = append(b, bit(o.Invert, 7)|o.Test&3<<5|o.Count&0x1f, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(o.Pattern)))
	return append(b, o.Pattern...)
}
