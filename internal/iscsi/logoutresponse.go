package iscsi

// LogoutResult is the answer to a Logout Request (RFC 7143 §11.15.1).
type LogoutResult uint8

// The results.
const (
	LogoutDone        LogoutResult = 0
	LogoutNoCID       LogoutResult = 1
	LogoutNoRecovery  LogoutResult = 2 // connection recovery is not supported
	LogoutCleanupFail LogoutResult = 3
)

// LogoutResponse is a Logout Response PDU (RFC 7143 §11.15).
type LogoutResponse struct {
	Result      LogoutResult
	ITT         ITT
	StatSN      StatSN
	ExpCmdSN    CmdSN
	MaxCmdSN    CmdSN
	Time2Wait   uint16 // seconds
	Time2Retain uint16 // seconds
}

// ParseLogoutResponse reads a Logout Response PDU.
func ParseLogoutResponse(h *BHS) (LogoutResponse, error) {
	if err := h.expect(OpLogoutResponse); err != nil {
		return LogoutResponse{}, err
	}
	return LogoutResponse{
		Result:      LogoutResult(h[2]),
		ITT:         h.ITT(),
		StatSN:      StatSN(h.u32(24)),
		ExpCmdSN:    CmdSN(h.u32(28)),
		MaxCmdSN:    CmdSN(h.u32(32)),
		Time2Wait:   h.u16(40),
		Time2Retain: h.u16(42),
	}, nil
}

// Put writes the PDU's header.
func (r *LogoutResponse) Put(h *BHS) {
	h.start(OpLogoutResponse, 0)
	h[1] = finalBit
	h[2] = byte(r.Result)
	h.put32(16, uint32(r.ITT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
	h.put16(40, r.Time2Wait)
	h.put16(42, r.Time2Retain)
}
