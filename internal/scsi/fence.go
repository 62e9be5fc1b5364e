package scsi

import (
	"encoding/binary"

	"sango/internal/san"
)

// Service actions of OpFence (docs/fence.md).
const (
	SAFenceInstances   ServiceAction = 0x00 // FENCE INSTANCES
	SAFenceEarlierRuns ServiceAction = 0x01 // FENCE EARLIER RUNS
)

// Fence is a FENCE CDB (docs/fence.md).
type Fence struct {
	Action ServiceAction
	Length uint32 // of the parameter list, in bytes
}

// FenceLengthAt is the first byte of PARAMETER LIST LENGTH in a FENCE CDB, for
// field pointers.
const FenceLengthAt uint16 = 10

// ParseFence reads a FENCE CDB.
func ParseFence(c *CDB) Fence {
	return Fence{Action: Action(c), Length: binary.BigEndian.Uint32(c[FenceLengthAt:])}
}

// CDB returns the CDB of f.
func (f *Fence) CDB() (c CDB) {
	c[0], c[1] = byte(OpFence), byte(f.Action&0x1f)
	binary.BigEndian.PutUint32(c[FenceLengthAt:], f.Length)
	return c
}

// Lengths of the parameter list of FENCE, in bytes, and the version of its
// form.
const (
	FenceHeaderLen = 24
	FenceEntryLen  = 12
	fenceVersion   = 1
)

// Where the fields of the parameter list of FENCE start, for field pointers.
const (
	fenceVersionAt uint16 = 0
	fenceCountAt   uint16 = 2
	fenceGroupAt   uint16 = 4
	FenceRunAt     uint16 = 12
)

// FenceList is the parameter list of FENCE (docs/fence.md).
type FenceList struct {
	Group uint64
	// Run names, for FENCE EARLIER RUNS, every instance of Group with a lower
	// run; else it is 0.
	Run uint64
	// Entries name, for FENCE INSTANCES, instances of Group; else there are none.
	Entries []FenceEntry
}

// FenceEntry names an instance of the list's group.
type FenceEntry struct {
	Run   uint64
	Login uint32
}

// Append appends the list. It holds at most 65535 entries.
func (l *FenceList) Append(b []byte) []byte {
	b = append(b, fenceVersion, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.Entries)))
	b = binary.BigEndian.AppendUint64(b, l.Group)
	b = binary.BigEndian.AppendUint64(b, l.Run)
	b = append(b, 0, 0, 0, 0)
	for _, e := range l.Entries {
		b = binary.BigEndian.AppendUint64(b, e.Run)
		b = binary.BigEndian.AppendUint32(b, e.Login)
	}
	return b
}

// ParseFenceList reads the list of a FENCE command with service action a.
// PARAMETER LIST LENGTH ERROR ends one that is shorter than its header and
// entries, INVALID FIELD IN PARAMETER LIST one with a field that does not fit a.
// Bytes past the entries are not looked at.
func ParseFenceList(b []byte, a ServiceAction) (FenceList, *CheckCondition) {
	if len(b) < FenceHeaderLen {
		return FenceList{}, Check(IllegalRequest, ASCParameterListLength)
	}
	n := int(binary.BigEndian.Uint16(b[fenceCountAt:]))
	l := FenceList{Group: binary.BigEndian.Uint64(b[fenceGroupAt:]), Run: binary.BigEndian.Uint64(b[FenceRunAt:])}
	switch {
	case b[fenceVersionAt] != fenceVersion:
		return FenceList{}, InvalidParameter(fenceVersionAt, -1)
	case (a == SAFenceInstances) != (n > 0):
		return FenceList{}, InvalidParameter(fenceCountAt, -1)
	case l.Group == 0:
		return FenceList{}, InvalidParameter(fenceGroupAt, -1)
	case a == SAFenceInstances && l.Run != 0:
		return FenceList{}, InvalidParameter(FenceRunAt, -1)
	case len(b) < FenceHeaderLen+n*FenceEntryLen:
		return FenceList{}, Check(IllegalRequest, ASCParameterListLength)
	}
	for i := range n {
		e := b[FenceEntryAt(i):]
		l.Entries = append(l.Entries, FenceEntry{binary.BigEndian.Uint64(e), binary.BigEndian.Uint32(e[8:])})
	}
	return l, nil
}

// FenceEntryAt returns where entry i starts in the parameter list, for field
// pointers.
func FenceEntryAt(i int) int { return FenceHeaderLen + i*FenceEntryLen }

// Names reports whether l, the list of a FENCE command of either service
// action, names i, and where in the list it does so.
func (l *FenceList) Names(i san.Instance) (at uint16, ok bool) {
	if i.Group != l.Group || i.IsZero() {
		return 0, false
	}
	if i.Run < l.Run {
		return FenceRunAt, true
	}
	for n, e := range l.Entries {
		if e.Run == i.Run && e.Login == i.Login {
			return uint16(min(FenceEntryAt(n), 0xffff)), true
		}
	}
	return 0, false
}
