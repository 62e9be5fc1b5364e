package iscsi

// R2T is a Ready To Transfer PDU (RFC 7143 §11.8): the target asks for
// Desired bytes of a command's data from Offset on.
type R2T struct {
	LUN      [8]byte
	ITT      ITT
	TTT      TTT
	StatSN   StatSN // the next one, not consumed
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
	R2TSN    DataSN
	Offset   uint32 // bytes
	Desired  uint32 // bytes, 1 to MaxBurstLength
}

// ParseR2T reads a Ready To Transfer PDU. It refuses one that asks for
// nothing (RFC 7143 §11.8.4) or past 2^32−1, and the reserved tag.
func ParseR2T(h *BHS) (R2T, error) {
	if err := h.expect(OpR2T); err != nil {
		return R2T{}, err
	}
	r := R2T{
		LUN:      h.lun(),
		ITT:      h.ITT(),
		TTT:      TTT(h.u32(20)),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
		R2TSN:    DataSN(h.u32(36)),
		Offset:   h.u32(40),
		Desired:  h.u32(44),
	}
	switch {
	case r.TTT == NoTTT:
		return R2T{}, protocolErrorf(RejectInvalidField, "an R2T has the reserved transfer tag")
	case r.Desired == 0:
		return R2T{}, protocolErrorf(RejectInvalidField, "an R2T asks for no data")
	case uint64(r.Offset)+uint64(r.Desired) > 0xffffffff:
		return R2T{}, protocolErrorf(RejectInvalidField, "an R2T asks for %d bytes at offset %d, past 2^32-1", r.Desired, r.Offset)
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *R2T) Put(h *BHS) {
	h.start(OpR2T, 0)
	h[1] = finalBit
	h.putLUN(r.LUN)
	h.put32(16, uint32(r.ITT))
	h.put32(20, uint32(r.TTT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
	h.put32(36, uint32(r.R2TSN))
	h.put32(40, r.Offset)
	h.put32(44, r.Desired)
}
