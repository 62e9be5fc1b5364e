package iscsi

import (
	"fmt"

	"sango/internal/san"
)

// LoginStatus is class<<8 | detail of a Login Response (RFC 7143 §11.13.5).
type LoginStatus uint16

// The login statuses.
const (
	LoginSuccess          LoginStatus = 0x0000
	LoginMovedTemporarily LoginStatus = 0x0101
	LoginMovedForGood     LoginStatus = 0x0102
	LoginInitiatorError   LoginStatus = 0x0200
	LoginAuthFailed       LoginStatus = 0x0201
	LoginForbidden        LoginStatus = 0x0202
	LoginNotFound         LoginStatus = 0x0203
	LoginTargetRemoved    LoginStatus = 0x0204
	LoginBadVersion       LoginStatus = 0x0205
	LoginTooManyConns     LoginStatus = 0x0206
	LoginMissingParameter LoginStatus = 0x0207
	LoginCantInclude      LoginStatus = 0x0208 // cannot include the connection in the session
	LoginBadSessionType   LoginStatus = 0x0209
	LoginNoSession        LoginStatus = 0x020a
	LoginInvalidRequest   LoginStatus = 0x020b // invalid request type during login
	LoginTargetError      LoginStatus = 0x0300
	LoginUnavailable      LoginStatus = 0x0301
	LoginOutOfResources   LoginStatus = 0x0302
)

// Class returns the status class: 0 success, 1 redirection, 2 initiator
// error, 3 target error.
func (s LoginStatus) Class() uint8 { return uint8(s >> 8) }

// Detail returns the status detail.
func (s LoginStatus) Detail() uint8 { return uint8(s) }

// String returns the words of RFC 7143.
func (s LoginStatus) String() string {
	switch s {
	case LoginSuccess:
		return "success"
	case LoginMovedTemporarily:
		return "target moved temporarily"
	case LoginMovedForGood:
		return "target moved permanently"
	case LoginInitiatorError:
		return "initiator error"
	case LoginAuthFailed:
		return "authentication failure"
	case LoginForbidden:
		return "authorization failure"
	case LoginNotFound:
		return "not found"
	case LoginTargetRemoved:
		return "target removed"
	case LoginBadVersion:
		return "unsupported version"
	case LoginTooManyConns:
		return "too many connections"
	case LoginMissingParameter:
		return "missing parameter"
	case LoginCantInclude:
		return "can't include in session"
	case LoginBadSessionType:
		return "session type not supported"
	case LoginNoSession:
		return "session does not exist"
	case LoginInvalidRequest:
		return "invalid during login"
	case LoginTargetError:
		return "target error"
	case LoginUnavailable:
		return "service unavailable"
	case LoginOutOfResources:
		return "out of resources"
	}
	return fmt.Sprintf("login status %04xh", uint16(s))
}

// LoginResponse is a Login Response PDU (RFC 7143 §11.13). Its data segment
// holds text keys.
type LoginResponse struct {
	Transit       bool
	Continue      bool
	Current       Stage
	Next          Stage // with Transit only
	VersionMax    uint8
	VersionActive uint8
	ISID          san.ISID
	TSIH          uint16 // set by the response that ends the login phase
	ITT           ITT
	StatSN        StatSN
	ExpCmdSN      CmdSN
	MaxCmdSN      CmdSN
	Status        LoginStatus
	DataLen       int
}

// ParseLoginResponse reads a Login Response PDU.
func ParseLoginResponse(h *BHS) (LoginResponse, error) {
	if err := h.expect(OpLoginResponse); err != nil {
		return LoginResponse{}, err
	}
	r := LoginResponse{
		Transit:       h[1]&0x80 != 0,
		Continue:      h[1]&0x40 != 0,
		Current:       Stage(h[1] >> 2 & 3),
		VersionMax:    h[2],
		VersionActive: h[3],
		ISID:          san.ISID(h[8:14]),
		TSIH:          h.u16(14),
		ITT:           h.ITT(),
		StatSN:        StatSN(h.u32(24)),
		ExpCmdSN:      CmdSN(h.u32(28)),
		MaxCmdSN:      CmdSN(h.u32(32)),
		Status:        LoginStatus(h.u16(36)),
		DataLen:       h.DataLen(),
	}
	if r.Transit {
		r.Next = Stage(h[1] & 3)
	}
	return r, nil
}

// Put writes the PDU's header.
func (r *LoginResponse) Put(h *BHS) {
	h.start(OpLoginResponse, r.DataLen)
	h[1] = stageBits(r.Transit, r.Continue, r.Current, r.Next)
	h[2], h[3] = r.VersionMax, r.VersionActive
	copy(h[8:], r.ISID[:])
	h.put16(14, r.TSIH)
	h.put32(16, uint32(r.ITT))
	h.put32(24, uint32(r.StatSN))
	h.put32(28, uint32(r.ExpCmdSN))
	h.put32(32, uint32(r.MaxCmdSN))
	h.put16(36, uint16(r.Status))
}
