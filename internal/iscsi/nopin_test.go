package iscsi

import "testing"

func TestNopIn(t *testing.T) {
	vector(t, `20 80 0000 00 000102 0001000000000000 11121314 ffffffff
		21222324 31323334 41424344 000000000000000000000000`,
		NopIn{LUN: [8]byte{0, 1}, ITT: 0x11121314, TTT: NoTTT, StatSN: 0x21222324, ExpCmdSN: 0x31323334, MaxCmdSN: 0x41424344, DataLen: 0x102},
		ParseNopIn, (*NopIn).Put)
}
