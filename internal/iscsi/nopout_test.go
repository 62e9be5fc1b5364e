package iscsi

import "testing"

func TestNopOut(t *testing.T) {
	vector(t, `40 80 0000 00 000004 0001000000000000 11121314 21222324
		31323334 41424344 00000000000000000000000000000000`,
		NopOut{Immediate: true, LUN: [8]byte{0, 1}, ITT: 0x11121314, TTT: 0x21222324, CmdSN: 0x31323334, ExpStatSN: 0x41424344, DataLen: 4},
		ParseNopOut, (*NopOut).Put)
}

func TestNopOutWithoutTagMustBeImmediate(t *testing.T) {
	refused(t, `00 80 0000 00 000000 0000000000000000 ffffffff 00000001
		00000000 00000000 00000000000000000000000000000000`, RejectProtocol, ParseNopOut)
}
