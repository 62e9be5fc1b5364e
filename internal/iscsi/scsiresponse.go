package iscsi

// Response is the iSCSI service response of a SCSI Response PDU (RFC 7143
// §11.4.3).
type Response uint8

// The service responses. After TargetFailure there is no SCSI status.
const (
	CommandCompleted Response = 0x00
	TargetFailure    Response = 0x01
)

// SCSIResponse is a SCSI Response PDU (RFC 7143 §11.4). Its data segment is
// empty, or a two-byte length and that many bytes of sense data.
type SCSIResponse struct {
	Response     Response
	Status       uint8 // SCSI status
	DataLen      int
	ITT          ITT
	SNACKTag     uint32
	StatSN       StatSN
	ExpCmdSN     CmdSN
	MaxCmdSN     CmdSN
	ExpDataSN    DataSN // number of Data-In and R2T PDUs that the command got
	BidiResidual Residual
	Residual     Residual
}

// ParseSCSIResponse reads a SCSI Response PDU.
func ParseSCSIResponse(h *BHS) (SCSIResponse, error) {
	if err := h.expect(OpSCSIResponse); err != nil {
		return SCSIResponse{}, err
	}
	bidi, err := parseResidual(h[1], bidiOverflowBit, bidiUnderflowBit, h.u32(40))
	if err != nil {
		return SCSIResponse{}, err
	}
	res, err := parseResidual(h[1], overflowBit, underflowBit, h.u32(44))
	if err != nil {
		return SCSIResponse{}, err
	}
	return SCSIResponse{
		Response:     Response(h[2]),
		Status:       h[3],
		DataLen:      h.DataLen(),
		ITT:          h.ITT(),
		SNACKTag:     h.u32(20),
		StatSN:       StatSN(h.u32(24)),
		ExpCmdSN:     CmdSN(h.u32(28)),
		MaxCmdSN:     CmdSN(h.u32(32)),
		ExpDataSN:    DataSN(h.u32(36)),
		BidiResidual: bidi,
		Residual:     res,
	}, nil
}

// Put writes the PDU's header.
func (r *SCSIResponse) Put(h *BHS) {
	h.start(OpSCSIResponse, r.DataLen)
	h[1] = finalBit
	h[2] = byte(r.Response)
	h[3] = r.Status
	h.put32(16, uint32(r.ITT))
	h.put32(20, r.SNACKTag)
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
	h.put32(36, uint32(r.ExpDataSN))
	r.BidiResidual.put(h, bidiOverflowBit, bidiUnderflowBit, 40)
	r.Residual.put(h, overflowBit, underflowBit, 44)
}

// AppendSense appends the data segment that carries sense (RFC 7143 §11.4.7),
// without padding, to b. Empty sense gives an empty segment.
func AppendSense(b, sense []byte) []byte {
	if len(sense) == 0 {
		return b
	}
	n := min(len(sense), 0xffff)
	b = append(b, byte(n>>8), byte(n))
	return append(b, sense[:n]...)
}

// ParseSense returns the sense data in the data segment of a SCSI Response;
// it aliases b.
func ParseSense(b []byte) ([]byte, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 2 {
		return nil, protocolErrorf(RejectInvalidField, "a SCSI Response has a data segment of 1 byte")
	}
	n := int(b[0])<<8 | int(b[1])
	if n > len(b)-2 {
		return nil, protocolErrorf(RejectInvalidField, "sense length %d in a data segment of %d bytes", n, len(b))
	}
	return b[2 : 2+n], nil
}
