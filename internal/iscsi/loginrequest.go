package iscsi

import (
	"fmt"

	"sango/internal/san"
)

// Stage is a stage of the login phase (RFC 7143 §11.12.3).
type Stage uint8

// The stages. 2 is reserved.
const (
	Security    Stage = 0
	Operational Stage = 1
	FullFeature Stage = 3
)

// String returns the name of RFC 7143.
func (s Stage) String() string {
	switch s {
	case Security:
		return "SecurityNegotiation"
	case Operational:
		return "LoginOperationalNegotiation"
	case FullFeature:
		return "FullFeaturePhase"
	}
	return fmt.Sprintf("reserved stage %d", uint8(s))
}

// Version is the only version of the protocol there is (RFC 7143 §11.12.4).
const Version = 0x00

// LoginRequest is a Login Request PDU (RFC 7143 §11.12). Its data segment
// holds text keys.
type LoginRequest struct {
	Transit    bool // T bit: the initiator is ready to go on to Next
	Continue   bool // C bit: the text goes on in the next request
	Current    Stage
	Next       Stage // with Transit only
	VersionMax uint8
	VersionMin uint8
	ISID       san.ISID
	TSIH       uint16 // 0: a new session
	ITT        ITT
	CID        uint16
	CmdSN      CmdSN
	ExpStatSN  StatSN
	DataLen    int
}

// ParseLoginRequest reads a Login Request PDU. Whether its flags make sense is
// for Login to say, which answers with a login status and not with a Reject.
func ParseLoginRequest(h *BHS) (LoginRequest, error) {
	if err := h.expect(OpLoginRequest); err != nil {
		return LoginRequest{}, err
	}
	r := LoginRequest{
		Transit:    h[1]&0x80 != 0,
		Continue:   h[1]&0x40 != 0,
		Current:    Stage(h[1] >> 2 & 3),
		VersionMax: h[2],
		VersionMin: h[3],
		ISID:       san.ISID(h[8:14]),
		TSIH:       h.u16(14),
		ITT:        h.ITT(),
		CID:        h.u16(20),
		CmdSN:      h.CmdSN(),
		ExpStatSN:  h.ExpStatSN(),
		DataLen:    h.DataLen(),
	}
	if r.Transit {
		r.Next = Stage(h[1] & 3)
	}
	return r, nil
}

// Put writes the PDU's header, always immediate (RFC 7143 §11.12).
func (r *LoginRequest) Put(h *BHS) {
	h.start(OpLoginRequest, r.DataLen)
	h[0] |= immediateBit
	h[1] = stageBits(r.Transit, r.Continue, r.Current, r.Next)
	h[2], h[3] = r.VersionMax, r.VersionMin
	copy(h[8:], r.ISID[:])
	h.put16(14, r.TSIH)
	h.put32(16, uint32(r.ITT))
	h.put16(20, r.CID)
	h.put32(24, uint32(r.CmdSN))
	h.put32(28, uint32(r.ExpStatSN))
}

func stageBits(transit, cont bool, cur, next Stage) byte {
	b := byte(cur) & 3 << 2
	if transit {
		b |= 0x80 | byte(next)&3
	}
	if cont {
		b |= 0x40
	}
	return b
}
