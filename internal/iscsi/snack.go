package iscsi

// SNACKType says what a SNACK Request asks for (RFC 7143 §11.16.1).
type SNACKType uint8

// The types.
const (
	SNACKData   SNACKType = 0 // Data-In PDUs or R2Ts again
	SNACKStatus SNACKType = 1 // statuses again
	SNACKAck    SNACKType = 2 // DataACK
	SNACKRData  SNACKType = 3 // Data-In PDUs again, resegmented
)

// SNACK is a SNACK Request PDU (RFC 7143 §11.16). At ErrorRecoveryLevel 0,
// the only one that is served here, every SNACK is a protocol error.
type SNACK struct {
	Type      SNACKType
	LUN       [8]byte
	ITT       ITT
	TTT       TTT // TTT or SNACK tag
	ExpStatSN StatSN
	BegRun    uint32
	RunLength uint32
}

// ParseSNACK reads a SNACK Request PDU. It refuses reserved types.
func ParseSNACK(h *BHS) (SNACK, error) {
	if err := h.expect(OpSNACK); err != nil {
		return SNACK{}, err
	}
	s := SNACK{
		Type:      SNACKType(h[1] & 0x0f),
		LUN:       h.lun(),
		ITT:       h.ITT(),
		TTT:       TTT(h.u32(20)),
		ExpStatSN: h.ExpStatSN(),
		BegRun:    h.u32(40),
		RunLength: h.u32(44),
	}
	if s.Type > SNACKRData {
		return SNACK{}, protocolErrorf(RejectInvalidField, "SNACK type %d is reserved", s.Type)
	}
	return s, nil
}

// Put writes the PDU's header.
func (s *SNACK) Put(h *BHS) {
	h.start(OpSNACK, 0)
	h[1] = finalBit | byte(s.Type)&0x0f
	h.putLUN(s.LUN)
	h.put32(16, uint32(s.ITT))
	h.put32(20, uint32(s.TTT))
	h.put32(28, uint32(s.ExpStatSN))
	h.put32(40, s.BegRun)
	h.put32(44, s.RunLength)
}
