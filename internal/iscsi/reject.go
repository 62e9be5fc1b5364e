package iscsi

import "fmt"

// RejectReason says why a PDU was rejected (RFC 7143 §11.17.1).
type RejectReason uint8

// The reject reasons.
const (
	RejectDataDigest       RejectReason = 0x02 // the PDU may be sent again
	RejectSNACK            RejectReason = 0x03
	RejectProtocol         RejectReason = 0x04 // e.g. a SNACK for a status that was acknowledged
	RejectNotSupported     RejectReason = 0x05 // command not supported
	RejectImmediate        RejectReason = 0x06 // too many immediate commands
	RejectTaskInProgress   RejectReason = 0x07
	RejectInvalidDataACK   RejectReason = 0x08
	RejectInvalidField     RejectReason = 0x09 // invalid PDU field
	RejectLongOperation    RejectReason = 0x0a // cannot generate a target transfer tag, out of resources
	RejectNegotiationReset RejectReason = 0x0b // deprecated by RFC 7143; never sent
	RejectWaitingForLogout RejectReason = 0x0c
)

// String returns the explanation of RFC 7143.
func (r RejectReason) String() string {
	switch r {
	case RejectDataDigest:
		return "data (payload) digest error"
	case RejectSNACK:
		return "SNACK reject"
	case RejectProtocol:
		return "protocol error"
	case RejectNotSupported:
		return "command not supported"
	case RejectImmediate:
		return "immediate command reject: too many immediate commands"
	case RejectTaskInProgress:
		return "task in progress"
	case RejectInvalidDataACK:
		return "invalid data ACK"
	case RejectInvalidField:
		return "invalid PDU field"
	case RejectLongOperation:
		return "long operation reject: out of resources"
	case RejectNegotiationReset:
		return "negotiation reset"
	case RejectWaitingForLogout:
		return "waiting for logout"
	}
	return fmt.Sprintf("reject reason %02xh", uint8(r))
}

// Reject is a Reject PDU (RFC 7143 §11.17). Its data segment is the rejected
// header, BHS and AHS without digest.
type Reject struct {
	Reason   RejectReason
	StatSN   StatSN
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
	DataSN   DataSN // DataSN or R2TSN; only with reason RejectProtocol of a SNACK
	DataLen  int    // bytes of header that follow
}

// ParseReject reads a Reject PDU.
func ParseReject(h *BHS) (Reject, error) {
	if err := h.expect(OpReject); err != nil {
		return Reject{}, err
	}
	return Reject{
		Reason:   RejectReason(h[2]),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
		DataSN:   DataSN(h.u32(36)),
		DataLen:  h.DataLen(),
	}, nil
}

// Put writes the PDU's header.
func (r *Reject) Put(h *BHS) {
	h.start(OpReject, r.DataLen)
	h[1] = finalBit
	h[2] = byte(r.Reason)
	h.put32(16, uint32(NoITT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
	h.put32(36, uint32(r.DataSN))
}
