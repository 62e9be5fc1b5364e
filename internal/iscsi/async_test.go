package iscsi

import "testing"

func TestAsync(t *testing.T) {
	vector(t, `32 80 0000 00 000000 0000000000000000 ffffffff 00000000
		00000001 00000002 00000003 01 00 0004 0005 0006 00000000`,
		Async{StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Event: AsyncLogout, Param1: 4, Param2: 5, Param3: 6},
		ParseAsync, (*Async).Put)
	vector(t, `32 80 0000 00 000012 0001000000000000 ffffffff 00000000
		00000001 00000002 00000003 ff 07 0000 0000 0000 00000000`,
		Async{LUN: [8]byte{0, 1}, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Event: AsyncVendor, VCode: 7, DataLen: 18},
		ParseAsync, (*Async).Put)
}

func TestAsyncReservedEvent(t *testing.T) {
	refused(t, `32 80 0000 00 000000 0000000000000000 ffffffff 00000000
		00000001 00000002 00000003 06 00 0004 0005 0006 00000000`, RejectInvalidField, ParseAsync)
}

func TestAsyncEventNames(t *testing.T) {
	for _, e := range []AsyncEvent{AsyncSCSI, AsyncLogout, AsyncDrop, AsyncDropSession, AsyncRenegotiate, AsyncFastAbort, AsyncVendor} {
		if s := e.String(); s[:2] == "as" {
			t.Errorf("event %d has no name", e)
		}
	}
	if got := AsyncEvent(6).String(); got != "async event 6" {
		t.Error(got)
	}
}
