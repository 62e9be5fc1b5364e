package iscsi

// DataIn is a SCSI Data-In PDU (RFC 7143 §11.7). With HasStatus it is the last
// one of its command and takes the place of the SCSI Response; Status, StatSN
// and Residual count only then.
type DataIn struct {
	Final     bool // last PDU of this sequence
	Ack       bool // A bit: asks for a DataACK SNACK (ErrorRecoveryLevel > 0)
	HasStatus bool // S bit
	Status    uint8
	LUN       [8]byte // with a TTT only
	ITT       ITT
	TTT       TTT // NoTTT unless Ack
	StatSN    StatSN
	ExpCmdSN  CmdSN
	MaxCmdSN  CmdSN
	DataSN    DataSN
	Offset    uint32 // bytes from the start of the command's data
	Residual  Residual
	DataLen   int
}

// ParseDataIn reads a SCSI Data-In PDU. It refuses a status without the F bit
// (RFC 7143 §11.7.3), and data that would end past 2^32−1.
func ParseDataIn(h *BHS) (DataIn, error) {
	if err := h.expect(OpDataIn); err != nil {
		return DataIn{}, err
	}
	d := DataIn{
		Final:     h.Final(),
		Ack:       h[1]&0x40 != 0,
		HasStatus: h[1]&0x01 != 0,
		LUN:       h.lun(),
		ITT:       h.ITT(),
		TTT:       TTT(h.u32(20)),
		ExpCmdSN:  CmdSN(h.u32(28)),
		MaxCmdSN:  CmdSN(h.u32(32)),
		DataSN:    DataSN(h.u32(36)),
		Offset:    h.u32(40),
		DataLen:   h.DataLen(),
	}
	if err := checkExtent(d.Offset, d.DataLen); err != nil {
		return DataIn{}, err
	}
	if !d.HasStatus {
		return d, nil
	}
	if !d.Final {
		return DataIn{}, protocolErrorf(RejectProtocol, "a Data-In PDU has status but not the F bit")
	}
	d.Status = h[3]
	d.StatSN = StatSN(h.u32(24))
	var err error
	if d.Residual, err = parseResidual(h[1], overflowBit, underflowBit, h.u32(44)); err != nil {
		return DataIn{}, err
	}
	return d, nil
}

// Put writes the PDU's header.
func (d *DataIn) Put(h *BHS) {
	h.start(OpDataIn, d.DataLen)
	h.flag(1, finalBit, d.Final)
	h.flag(1, 0x40, d.Ack)
	h.putLUN(d.LUN)
	h.put32(16, uint32(d.ITT))
	h.put32(20, uint32(d.TTT))
	h.put32(28, uint32(d.ExpCmdSN))
	h.put32(32, uint32(d.MaxCmdSN))
	h.put32(36, uint32(d.DataSN))
	h.put32(40, d.Offset)
	if d.HasStatus {
		h[1] |= 0x01
		h[3] = d.Status
		h.put32(24, uint32(d.StatSN))
		d.Residual.put(h, overflowBit, underflowBit, 44)
	}
}
