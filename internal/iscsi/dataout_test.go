package iscsi

import "testing"

func TestDataOut(t *testing.T) {
	vector(t, `05 80 0000 00 002000 0001000000000000 00000007 00000008
		00000000 00000002 00000000 00000003 00004000 00000000`,
		DataOut{Final: true, LUN: [8]byte{0, 1}, ITT: 7, TTT: 8, ExpStatSN: 2, DataSN: 3, Offset: 0x4000, DataLen: 8192},
		ParseDataOut, (*DataOut).Put)
	vector(t, `05 00 0000 00 000001 0000000000000000 00000007 ffffffff
		00000000 00000002 00000000 00000000 fffffffe 00000000`,
		DataOut{ITT: 7, TTT: NoTTT, ExpStatSN: 2, Offset: 0xfffffffe, DataLen: 1},
		ParseDataOut, (*DataOut).Put)
}

func TestDataOutPastTheEnd(t *testing.T) {
	refused(t, `05 00 0000 00 000001 0000000000000000 00000007 ffffffff
		00000000 00000002 00000000 00000000 ffffffff 00000000`, RejectInvalidField, ParseDataOut)
}
