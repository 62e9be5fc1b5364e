package iscsi

// TextRequest is a Text Request PDU (RFC 7143 §11.10). TTT is NoTTT when it
// starts a negotiation, else that of the response it goes on from.
type TextRequest struct {
	Immediate bool
	Final     bool
	Continue  bool // C bit: the text goes on in the next request
	LUN       [8]byte
	ITT       ITT
	TTT       TTT
	CmdSN     CmdSN
	ExpStatSN StatSN
	DataLen   int
}

// ParseTextRequest reads a Text Request PDU. It refuses the reserved task tag
// and F together with C (RFC 7143 §11.10.2).
func ParseTextRequest(h *BHS) (TextRequest, error) {
	if err := h.expect(OpTextRequest); err != nil {
		return TextRequest{}, err
	}
	r := TextRequest{
		Immediate: h.Immediate(),
		Final:     h.Final(),
		Continue:  h[1]&0x40 != 0,
		LUN:       h.lun(),
		ITT:       h.ITT(),
		TTT:       TTT(h.u32(20)),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		DataLen:   h.DataLen(),
	}
	switch {
	case r.ITT == NoITT:
		return TextRequest{}, protocolErrorf(RejectInvalidField, "a Text Request has the reserved task tag")
	case r.Final && r.Continue:
		return TextRequest{}, protocolErrorf(RejectInvalidField, "a Text Request has the F and the C bit")
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *TextRequest) Put(h *BHS) {
	h.start(OpTextRequest, r.DataLen)
	h.flag(0, immediateBit, r.Immediate)
	h.flag(1, finalBit, r.Final)
	h.flag(1, 0x40, r.Continue)
	h.putLUN(r.LUN)
	h.put32(16, uint32(r.ITT))
	h.put32(20, uint32(r.TTT))
	h.put32(24, uint32(r.CmdSN))
	h.put32(28, uint32(r.ExpStatSN))
}
