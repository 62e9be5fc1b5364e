package iscsi

// DataOut is a SCSI Data-Out PDU (RFC 7143 §11.7).
type DataOut struct {
	Final     bool // last PDU of this burst
	LUN       [8]byte
	ITT       ITT
	TTT       TTT // that of the R2T it answers, or NoTTT for unsolicited data
	ExpStatSN StatSN
	DataSN    DataSN
	Offset    uint32 // bytes from the start of the command's data
	DataLen   int
}

// ParseDataOut reads a SCSI Data-Out PDU. It refuses data that would end past
// 2^32−1.
func ParseDataOut(h *BHS) (DataOut, error) {
	if err := h.expect(OpDataOut); err != nil {
		return DataOut{}, err
	}
	d := DataOut{
		Final:     h.Final(),
		LUN:       h.lun(),
		ITT:       h.ITT(),
		TTT:       TTT(h.u32(20)),
		ExpStatSN: h.ExpStatSN(),
		DataSN:    DataSN(h.u32(36)),
		Offset:    h.u32(40),
		DataLen:   h.DataLen(),
	}
	if err := checkExtent(d.Offset, d.DataLen); err != nil {
		return DataOut{}, err
	}
	return d, nil
}

// Put writes the PDU's header.
func (d *DataOut) Put(h *BHS) {
	h.start(OpDataOut, d.DataLen)
	h.flag(1, finalBit, d.Final)
	h.putLUN(d.LUN)
	h.put32(16, uint32(d.ITT))
	h.put32(20, uint32(d.TTT))
	h.put32(28, uint32(d.ExpStatSN))
	h.put32(36, uint32(d.DataSN))
	h.put32(40, d.Offset)
}

// checkExtent refuses data whose end no 32-bit offset can name.
func checkExtent(off uint32, n int) error {
	if uint64(off)+uint64(n) > 0xffffffff {
		return protocolErrorf(RejectInvalidField, "%d bytes at offset %d end past 2^32-1", n, off)
	}
	return nil
}
