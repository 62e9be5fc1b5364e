package iscsi

// Attr is the task attribute of a SCSI Command PDU (RFC 7143 §11.3.1.1):
// 0 untagged, 1 simple, 2 ordered, 3 head of queue, 4 ACA.
type Attr uint8

const maxAttr Attr = 4

// SCSICommand is a SCSI Command PDU (RFC 7143 §11.3).
type SCSICommand struct {
	Immediate   bool
	Final       bool // no unsolicited Data-Out PDU follows
	Read        bool
	Write       bool
	Attr        Attr
	AHSLen      int // bytes, a multiple of 4
	DataLen     int // bytes of immediate data
	LUN         [8]byte
	ITT         ITT
	ExpectedLen uint32 // expected data transfer length, bytes
	CmdSN       CmdSN
	ExpStatSN   StatSN
	CDB         [16]byte
}

// ParseSCSICommand reads a SCSI Command PDU. It refuses the reserved task tag,
// reserved task attributes, a command that announces unsolicited data without
// being a write (RFC 7143 §11.3.1), and immediate data of a command that
// writes less. A command with both Read and Write set is left to the caller.
func ParseSCSICommand(h *BHS) (SCSICommand, error) {
	if err := h.expect(OpSCSICommand); err != nil {
		return SCSICommand{}, err
	}
	c := SCSICommand{
		Immediate:   h.Immediate(),
		Final:       h.Final(),
		Read:        h[1]&0x40 != 0,
		Write:       h[1]&0x20 != 0,
		Attr:        Attr(h[1] & 7),
		AHSLen:      h.AHSLen(),
		DataLen:     h.DataLen(),
		LUN:         h.lun(),
		ITT:         h.ITT(),
		ExpectedLen: h.u32(20),
		CmdSN:       h.CmdSN(),
		ExpStatSN:   h.ExpStatSN(),
		CDB:         [16]byte(h[32:48]),
	}
	switch {
	case c.ITT == NoITT:
		return SCSICommand{}, protocolErrorf(RejectInvalidField, "a SCSI command has the reserved task tag")
	case c.Attr > maxAttr:
		return SCSICommand{}, protocolErrorf(RejectInvalidField, "task attribute %d is reserved", c.Attr)
	case !c.Final && !c.Write:
		return SCSICommand{}, protocolErrorf(RejectProtocol, "a SCSI command has neither the F nor the W bit")
	case c.DataLen > 0 && !c.Write:
		return SCSICommand{}, protocolErrorf(RejectProtocol, "%d bytes of immediate data for a command without the W bit", c.DataLen)
	case int64(c.DataLen) > int64(c.ExpectedLen):
		return SCSICommand{}, protocolErrorf(RejectProtocol, "%d bytes of immediate data, but an expected data transfer length of %d", c.DataLen, c.ExpectedLen)
	}
	return c, nil
}

// Put writes the PDU's header.
func (c *SCSICommand) Put(h *BHS) {
	h.start(OpSCSICommand, c.DataLen)
	h.flag(0, immediateBit, c.Immediate)
	h[1] = byte(c.Attr) & 7
	h.flag(1, finalBit, c.Final)
	h.flag(1, 0x40, c.Read)
	h.flag(1, 0x20, c.Write)
	h[4] = byte(c.AHSLen / 4)
	h.putLUN(c.LUN)
	h.put32(16, uint32(c.ITT))
	h.put32(20, c.ExpectedLen)
	h.put32(24, uint32(c.CmdSN))
	h.put32(28, uint32(c.ExpStatSN))
	copy(h[32:], c.CDB[:])
}
