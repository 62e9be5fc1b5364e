package iscsi

import (
	"encoding/binary"
	"fmt"
)

// BHSLen is the length of a basic header segment, in bytes.
const BHSLen = 48

// MaxDataSegment is the longest data segment that a header can announce, in
// bytes. What a peer may really send is its partner's
// MaxRecvDataSegmentLength.
const MaxDataSegment = 1<<24 - 1

// MaxAHS is the longest additional header that a header can announce, in
// bytes.
const MaxAHS = 255 * 4

// BHS is a basic header segment as it is on the wire (RFC 7143 §11.2.1).
type BHS [BHSLen]byte

// Opcode is the operation code of a PDU (RFC 7143 §11.2.1.2).
type Opcode uint8

// The opcodes of an initiator, and from OpNopIn on those of a target.
const (
	OpNopOut         Opcode = 0x00
	OpSCSICommand    Opcode = 0x01
	OpTaskRequest    Opcode = 0x02
	OpLoginRequest   Opcode = 0x03
	OpTextRequest    Opcode = 0x04
	OpDataOut        Opcode = 0x05
	OpLogoutRequest  Opcode = 0x06
	OpSNACK          Opcode = 0x10
	OpNopIn          Opcode = 0x20
	OpSCSIResponse   Opcode = 0x21
	OpTaskResponse   Opcode = 0x22
	OpLoginResponse  Opcode = 0x23
	OpTextResponse   Opcode = 0x24
	OpDataIn         Opcode = 0x25
	OpLogoutResponse Opcode = 0x26
	OpR2T            Opcode = 0x31
	OpAsync          Opcode = 0x32
	OpReject         Opcode = 0x3f
)

// String returns the name that RFC 7143 §11.1 gives the PDU.
func (o Opcode) String() string {
	switch o {
	case OpNopOut:
		return "NOP-Out"
	case OpSCSICommand:
		return "SCSI Command"
	case OpTaskRequest:
		return "Task Management Function Request"
	case OpLoginRequest:
		return "Login Request"
	case OpTextRequest:
		return "Text Request"
	case OpDataOut:
		return "SCSI Data-Out"
	case OpLogoutRequest:
		return "Logout Request"
	case OpSNACK:
		return "SNACK Request"
	case OpNopIn:
		return "NOP-In"
	case OpSCSIResponse:
		return "SCSI Response"
	case OpTaskResponse:
		return "Task Management Function Response"
	case OpLoginResponse:
		return "Login Response"
	case OpTextResponse:
		return "Text Response"
	case OpDataIn:
		return "SCSI Data-In"
	case OpLogoutResponse:
		return "Logout Response"
	case OpR2T:
		return "Ready To Transfer"
	case OpAsync:
		return "Asynchronous Message"
	case OpReject:
		return "Reject"
	}
	return fmt.Sprintf("opcode %02xh", uint8(o))
}

// Numbered reports whether a PDU of this opcode carries a CmdSN.
func (o Opcode) Numbered() bool {
	switch o {
	case OpNopOut, OpSCSICommand, OpTaskRequest, OpLoginRequest, OpTextRequest, OpLogoutRequest:
		return true
	}
	return false
}

// The bits of byte 0 and the flag of byte 1 that PDUs share.
const (
	immediateBit = 0x40
	finalBit     = 0x80
)

// Opcode returns the operation code.
func (h *BHS) Opcode() Opcode { return Opcode(h[0] & 0x3f) }

// Immediate reports whether the I bit marks the PDU for immediate delivery
// (RFC 7143 §11.2.1.1).
func (h *BHS) Immediate() bool { return h[0]&immediateBit != 0 }

// Final reports whether the F bit is set.
func (h *BHS) Final() bool { return h[1]&finalBit != 0 }

// AHSLen returns the length of all additional headers, in bytes: a multiple
// of 4, at most MaxAHS.
func (h *BHS) AHSLen() int { return int(h[4]) * 4 }

// DataLen returns the length of the data segment without padding, in bytes,
// at most MaxDataSegment.
func (h *BHS) DataLen() int { return int(h[5])<<16 | int(h[6])<<8 | int(h[7]) }

// ITT returns the initiator task tag.
func (h *BHS) ITT() ITT { return ITT(h.u32(16)) }

// CmdSN returns the command number; meaningful where Opcode.Numbered.
func (h *BHS) CmdSN() CmdSN { return CmdSN(h.u32(24)) }

// ExpStatSN returns the acknowledgement that every initiator PDU carries.
func (h *BHS) ExpStatSN() StatSN { return StatSN(h.u32(28)) }

// PutStatSN sets the status number of a target's PDU.
func (h *BHS) PutStatSN(s StatSN) { h.put32(24, uint32(s)) }

// PutWindow sets ExpCmdSN and MaxCmdSN of a target's PDU, so that a PDU that
// was encoded early goes out with the window of the moment.
func (h *BHS) PutWindow(exp, max CmdSN) {
	h.put32(28, uint32(exp))
	h.put32(32, uint32(max))
}

// Pad returns the number of padding bytes that follow n bytes of data.
func Pad(n int) int { return -n & 3 }

// start clears h and fills what all PDUs share. dataLen is cut to what the
// field can hold; senders respect MaxRecvDataSegmentLength, which is less.
func (h *BHS) start(op Opcode, dataLen int) {
	*h = BHS{0: byte(op)}
	h[5], h[6], h[7] = byte(dataLen>>16), byte(dataLen>>8), byte(dataLen)
}

func (h *BHS) lun() (l [8]byte)      { copy(l[:], h[8:]); return l }
func (h *BHS) putLUN(l [8]byte)      { copy(h[8:], l[:]) }
func (h *BHS) u32(i int) uint32      { return binary.BigEndian.Uint32(h[i:]) }
func (h *BHS) u16(i int) uint16      { return binary.BigEndian.Uint16(h[i:]) }
func (h *BHS) put32(i int, v uint32) { binary.BigEndian.PutUint32(h[i:], v) }
func (h *BHS) put16(i int, v uint16) { binary.BigEndian.PutUint16(h[i:], v) }

// flag sets bits of byte i when on.
func (h *BHS) flag(i int, bits byte, on bool) {
	if on {
		h[i] |= bits
	}
}

// expect returns an error unless h is of op.
func (h *BHS) expect(op Opcode) error {
	if h.Opcode() != op {
		return &ProtocolError{Reason: RejectProtocol, Text: fmt.Sprintf("a %v PDU where a %v was wanted", h.Opcode(), op)}
	}
	return nil
}
