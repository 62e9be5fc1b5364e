package iscsi

// NopOut is a NOP-Out PDU (RFC 7143 §11.18). ITT is NoITT when no answer is
// wanted; TTT is that of the NOP-In it answers, or NoTTT.
type NopOut struct {
	Immediate bool
	LUN       [8]byte
	ITT       ITT
	TTT       TTT
	CmdSN     CmdSN
	ExpStatSN StatSN
	DataLen   int // bytes of ping data
}

// ParseNopOut reads a NOP-Out PDU. One without ITT must be immediate, since it
// takes no CmdSN.
func ParseNopOut(h *BHS) (NopOut, error) {
	if err := h.expect(OpNopOut); err != nil {
		return NopOut{}, err
	}
	n := NopOut{
		Immediate: h.Immediate(),
		LUN:       h.lun(),
		ITT:       h.ITT(),
		TTT:       TTT(h.u32(20)),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		DataLen:   h.DataLen(),
	}
	if n.ITT == NoITT && !n.Immediate {
		return NopOut{}, protocolErrorf(RejectProtocol, "a NOP-Out without task tag is not immediate")
	}
	return n, nil
}

// Put writes the PDU's header.
func (n *NopOut) Put(h *BHS) {
	h.start(OpNopOut, n.DataLen)
	h.flag(0, immediateBit, n.Immediate)
	h[1] = finalBit
	h.putLUN(n.LUN)
	h.put32(16, uint32(n.ITT))
	h.put32(20, uint32(n.TTT))
	h.put32(24, uint32(n.CmdSN))
	h.put32(28, uint32(n.ExpStatSN))
}
