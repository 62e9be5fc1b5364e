package iscsi

import "fmt"

// AsyncEvent is the kind of an Asynchronous Message (RFC 7143 §11.9.1).
type AsyncEvent uint8

// The events.
const (
	AsyncSCSI         AsyncEvent = 0   // a SCSI event, sense data in the data segment
	AsyncLogout       AsyncEvent = 1   // log out within Param3 seconds
	AsyncDrop         AsyncEvent = 2   // the target will drop, or has dropped, connection Param1
	AsyncDropSession  AsyncEvent = 3   // the target will drop all connections of the session
	AsyncRenegotiate  AsyncEvent = 4   // negotiate parameters within Param3 seconds
	AsyncFastAbort    AsyncEvent = 5   // all active tasks of the LUN are being terminated (FastAbort)
	AsyncVendor       AsyncEvent = 255 // vendor-specific, VCode says which
	asyncLastStandard            = AsyncFastAbort
)

// String returns a short name.
func (e AsyncEvent) String() string {
	switch e {
	case AsyncSCSI:
		return "SCSI event"
	case AsyncLogout:
		return "logout request"
	case AsyncDrop:
		return "connection drop"
	case AsyncDropSession:
		return "session drop"
	case AsyncRenegotiate:
		return "negotiation request"
	case AsyncFastAbort:
		return "tasks terminated"
	case AsyncVendor:
		return "vendor event"
	}
	return fmt.Sprintf("async event %d", uint8(e))
}

// Async is an Asynchronous Message PDU (RFC 7143 §11.9).
type Async struct {
	LUN      [8]byte // AsyncSCSI and AsyncFastAbort only
	StatSN   StatSN
	ExpCmdSN CmdSN
	MaxCmdSN CmdSN
	Event    AsyncEvent
	VCode    uint8
	Param1   uint16 // AsyncDrop: the connection's CID
	Param2   uint16 // AsyncDrop, AsyncDropSession: Time2Wait, seconds
	Param3   uint16 // AsyncLogout, AsyncRenegotiate: time to act, seconds; AsyncDrop*: Time2Retain
	DataLen  int
}

// ParseAsync reads an Asynchronous Message PDU. It refuses reserved events.
func ParseAsync(h *BHS) (Async, error) {
	if err := h.expect(OpAsync); err != nil {
		return Async{}, err
	}
	a := Async{
		LUN:      h.lun(),
		StatSN:   StatSN(h.u32(24)),
		ExpCmdSN: CmdSN(h.u32(28)),
		MaxCmdSN: CmdSN(h.u32(32)),
		Event:    AsyncEvent(h[36]),
		VCode:    h[37],
		Param1:   h.u16(38),
		Param2:   h.u16(40),
		Param3:   h.u16(42),
		DataLen:  h.DataLen(),
	}
	if a.Event > asyncLastStandard && a.Event != AsyncVendor {
		return Async{}, protocolErrorf(RejectInvalidField, "%v is reserved", a.Event)
	}
	return a, nil
}

// Put writes the PDU's header.
func (a *Async) Put(h *BHS) {
	h.start(OpAsync, a.DataLen)
	h[1] = finalBit
	h.putLUN(a.LUN)
	h.put32(16, uint32(NoITT))
	h.put32(24, uint32(a.StatSN))
	h.put32(28, uint32(a.ExpCmdSN))
	h.put32(32, uint32(a.MaxCmdSN))
	h[36] = byte(a.Event)
	h[37] = a.VCode
	h.put16(38, a.Param1)
	h.put16(40, a.Param2)
	h.put16(42, a.Param3)
}
