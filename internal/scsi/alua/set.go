package alua

import (
	"encoding/binary"

	"sango/internal/scsi"
)

// Change is a set target port group descriptor (SPC-4 §6.45): the state that
// group ID is to enter.
type Change struct {
	ID    uint16
	State State
	At    uint16 // offset of the descriptor in the parameter list, in bytes
}

// Lengths of the SET TARGET PORT GROUPS parameter list, in bytes.
const (
	setHeaderLen = 4
	changeLen    = 4
)

// ParseSet reads the parameter list of SET TARGET PORT GROUPS. An empty list is
// no error and changes nothing. PARAMETER LIST LENGTH ERROR ends one that is
// cut inside a descriptor; INVALID FIELD IN PARAMETER LIST one that names a
// state that cannot be asked for, or a group twice. Which groups there are is
// the device server's to know.
func ParseSet(b []byte) ([]Change, *scsi.CheckCondition) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < setHeaderLen || (len(b)-setHeaderLen)%changeLen != 0 {
		return nil, scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	list := make([]Change, 0, min((len(b)-setHeaderLen)/changeLen, 1<<16))
	seen := make(map[uint16]bool, cap(list))
	for at := setHeaderLen; at < len(b); at += changeLen {
		c := Change{ID: binary.BigEndian.Uint16(b[at+2:]), State: State(b[at] & 0x0f), At: uint16(at)}
		switch c.State {
		case Optimized, NonOptimized, Standby, Unavailable:
		default:
			return nil, scsi.InvalidParameter(uint16(at), 3)
		}
		if seen[c.ID] {
			return nil, scsi.InvalidParameter(uint16(at+2), -1)
		}
		seen[c.ID] = true
		list = append(list, c)
	}
	return list, nil
}

// AppendSet appends a parameter list of SET TARGET PORT GROUPS.
func AppendSet(b []byte, list []Change) []byte {
	b = append(b, 0, 0, 0, 0)
	for _, c := range list {
		b = append(b, byte(c.State&0x0f), 0, byte(c.ID>>8), byte(c.ID))
	}
	return b
}
