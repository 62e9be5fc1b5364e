package iscsi

// TextResponse is a Text Response PDU (RFC 7143 §11.11). TTT is NoTTT exactly
// when Final is set.
type TextResponse struct {
	Final    bool
	Continue bool // C bit: the text goes on in the next response
	LUN      [8]byte
	ITT      ITT
	TTT      TTT
	StatSN   StatSN
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
	DataLen  int
}

// ParseTextResponse reads a Text Response PDU. It refuses F together with C,
// and F together with a transfer tag (RFC 7143 §11.11.1 and §11.11.4).
func ParseTextResponse(h *BHS) (TextResponse, error) {
	if err := h.expect(OpTextResponse); err != nil {
		return TextResponse{}, err
	}
	r := TextResponse{
		Final:    h.Final(),
		Continue: h[1]&0x40 != 0,
		LUN:      h.lun(),
		ITT:      h.ITT(),
		TTT:      TTT(h.u32(20)),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
		DataLen:  h.DataLen(),
	}
	switch {
	case r.Final && r.Continue:
		return TextResponse{}, protocolErrorf(RejectInvalidField, "a Text Response has the F and the C bit")
	case r.Final && r.TTT != NoTTT:
		return TextResponse{}, protocolErrorf(RejectInvalidField, "a Text Response has the F bit and a transfer tag")
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *TextResponse) Put(h *BHS) {
	h.start(OpTextResponse, r.DataLen)
	h.flag(1, finalBit, r.Final)
	h.flag(1, 0x40, r.Continue)
	h.putLUN(r.LUN)
	h.put32(16, uint32(r.ITT))
	h.put32(20, uint32(r.TTT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
}
