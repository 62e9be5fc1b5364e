package scsi

import "encoding/binary"

// Third-party copy descriptor types of VPD page 8Fh (SPC-4 table 564).
const (
	copySupportedCommands uint16 = 0x0001
	copyParameterData     uint16 = 0x0004
	copyDescriptors       uint16 = 0x0008
	copyCSCDIDs           uint16 = 0x000c
	copyGeneral           uint16 = 0x8001
)

// CopyCommand names an operation code with the service actions of it that a
// copy manager supports (SPC-4 §7.8.17.5).
type CopyCommand struct {
	Op      OpCode
	Actions []ServiceAction // each below 32
}

// ThirdPartyCopy is VPD page 8Fh (SPC-4 §7.8.17).
type ThirdPartyCopy struct {
	Commands []CopyCommand
	// Limits of the parameter list of EXTENDED COPY (SPC-4 §7.8.17.9).
	MaxTargets, MaxSegments uint16
	MaxListLength           uint32   // of all descriptors, in bytes
	MaxInline               uint32   // bytes of inline data
	Descriptors             []uint8  // type codes of target and segment descriptors
	TargetIDs               []uint16 // CSCD identifiers beyond those of descriptors, such as FFFFh
	// General copy operations (SPC-4 §7.8.17.12).
	MaxConcurrent      uint32 // copies, with or without list identifier
	MaxIdentified      uint32 // of those with one
	MaxSegmentLength   uint32 // bytes in a segment; 0: no limit
	SegmentGranularity uint8  // log2 of bytes
	InlineGranularity  uint8  // log2 of bytes; 0: no inline data
}

// Append appends the page.
func (t *ThirdPartyCopy) Append(b []byte, peripheral byte) []byte {
	start := len(b)
	be := binary.BigEndian
	b = beginVPD(b, peripheral, VPDThirdParty)

	b, at := beginCopyDescriptor(b, copySupportedCommands)
	b = append(b, 0)
	for _, c := range t.Commands {
		b = append(b, byte(c.Op), byte(len(c.Actions)))
		for _, a := range c.Actions {
			b = append(b, byte(a))
		}
	}
	b[at+4] = byte(len(b) - at - 5)
	b = endCopyDescriptor(b, at)

	b, at = beginCopyDescriptor(b, copyParameterData)
	b = append(b, 0, 0, 0, 0)
	b = be.AppendUint16(b, t.MaxTargets)
	b = be.AppendUint16(b, t.MaxSegments)
	b = be.AppendUint32(b, t.MaxListLength)
	b = be.AppendUint32(b, t.MaxInline)
	b = append(b, make([]byte, 12)...)
	b = endCopyDescriptor(b, at)

	b, at = beginCopyDescriptor(b, copyDescriptors)
	b = append(b, byte(len(t.Descriptors)))
	b = append(b, t.Descriptors...)
	b = endCopyDescriptor(b, at)

	b, at = beginCopyDescriptor(b, copyCSCDIDs)
	b = be.AppendUint16(b, uint16(2*len(t.TargetIDs)))
	for _, id := range t.TargetIDs {
		b = be.AppendUint16(b, id)
	}
	b = endCopyDescriptor(b, at)

	b, at = beginCopyDescriptor(b, copyGeneral)
	b = be.AppendUint32(b, t.MaxConcurrent)
	b = be.AppendUint32(b, t.MaxIdentified)
	b = be.AppendUint32(b, t.MaxSegmentLength)
	b = append(b, t.SegmentGranularity, t.InlineGranularity)
	b = append(b, make([]byte, 18)...)
	b = endCopyDescriptor(b, at)

	return endVPD(b, start)
}

func beginCopyDescriptor(b []byte, kind uint16) ([]byte, int) {
	return append(b, byte(kind>>8), byte(kind), 0, 0), len(b)
}

// endCopyDescriptor pads the descriptor that starts at at to a multiple of
// four bytes and sets its length.
func endCopyDescriptor(b []byte, at int) []byte {
	for (len(b)-at)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at-4))
	return b
}
