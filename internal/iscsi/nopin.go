package iscsi

// NopIn is a NOP-In PDU (RFC 7143 §11.19): an answer to a NOP-Out (ITT is its
// tag), or a ping (TTT set), or only news of the window (both tags reserved).
type NopIn struct {
	LUN      [8]byte // of the ping's TTT; zero when TTT is NoTTT
	ITT      ITT
	TTT      TTT
	StatSN   StatSN // with ITT NoITT: the next one, not consumed
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
	DataLen  int // bytes of ping data given back
}

// ParseNopIn reads a NOP-In PDU.
func ParseNopIn(h *BHS) (NopIn, error) {
	if err := h.expect(OpNopIn); err != nil {
		return NopIn{}, err
	}
	return NopIn{
		LUN:      h.lun(),
		ITT:      h.ITT(),
		TTT:      TTT(h.u32(20)),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
		DataLen:  h.DataLen(),
	}, nil
}

// Put writes the PDU's header.
func (n *NopIn) Put(h *BHS) {
	h.start(OpNopIn, n.DataLen)
	h[1] = finalBit
	h.putLUN(n.LUN)
	h.put32(16, uint32(n.ITT))
	h.put32(20, uint32(n.TTT))
	h.put32(24, uint32(n.StatSN))
	h.put32(28, uint32(n.ExpCmdSN))
	h.put32(32, uint32(n.MaxCmdSN))
}
