package iscsi

// LogoutReason says what a Logout Request wants (RFC 7143 §11.14.1).
type LogoutReason uint8

// The reasons.
const (
	LogoutSession    LogoutReason = 0 // close the session
	LogoutConnection LogoutReason = 1 // close connection CID
	LogoutRecovery   LogoutReason = 2 // remove connection CID for recovery
)

// LogoutRequest is a Logout Request PDU (RFC 7143 §11.14).
type LogoutRequest struct {
	Immediate bool
	Reason    LogoutReason
	ITT       ITT
	CID       uint16 // with LogoutConnection and LogoutRecovery
	CmdSN     CmdSN
	ExpStatSN StatSN
	DataLen   int // must be 0
}

// ParseLogoutRequest reads a Logout Request PDU. It refuses the reserved task
// tag, reserved reasons and a data segment.
func ParseLogoutRequest(h *BHS) (LogoutRequest, error) {
	if err := h.expect(OpLogoutRequest); err != nil {
		return LogoutRequest{}, err
	}
	r := LogoutRequest{
		Immediate: h.Immediate(),
		Reason:    LogoutReason(h[1] & 0x7f),
		ITT:       h.ITT(),
		CID:       h.u16(20),
		CmdSN:     h.CmdSN(),
		ExpStatSN: h.ExpStatSN(),
		DataLen:   h.DataLen(),
	}
	switch {
	case r.ITT == NoITT:
		return LogoutRequest{}, protocolErrorf(RejectInvalidField, "a Logout Request has the reserved task tag")
	case r.Reason > LogoutRecovery:
		return LogoutRequest{}, protocolErrorf(RejectInvalidField, "logout reason %d is reserved", r.Reason)
	case r.DataLen != 0:
		return LogoutRequest{}, protocolErrorf(RejectInvalidField, "a Logout Request has a data segment of %d bytes", r.DataLen)
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *LogoutRequest) Put(h *BHS) {
	h.start(OpLogoutRequest, r.DataLen)
	h.flag(0, immediateBit, r.Immediate)
	h[1] = finalBit | byte(r.Reason)&0x7f
	h.put32(16, uint32(r.ITT))
	h.put16(20, r.CID)
	h.put32(24, uint32(r.CmdSN))
	h.put32(28, uint32(r.ExpStatSN))
}
