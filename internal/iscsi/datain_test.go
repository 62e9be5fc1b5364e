package iscsi

import "testing"

func TestDataIn(t *testing.T) {
	vector(t, `25 00 00 00 00 002000 0000000000000000 00000007 ffffffff
		00000000 00000002 00000003 00000004 00004000 00000000`,
		DataIn{ITT: 7, TTT: NoTTT, ExpCmdSN: 2, MaxCmdSN: 3, DataSN: 4, Offset: 0x4000, DataLen: 8192},
		ParseDataIn, (*DataIn).Put)
}

func TestDataInWithStatus(t *testing.T) {
	vector(t, `25 83 00 08 00 000200 0000000000000000 00000007 ffffffff
		00000001 00000002 00000003 00000004 00000000 00000e00`,
		DataIn{
			Final: true, HasStatus: true, Status: 8, ITT: 7, TTT: NoTTT, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataSN: 4,
			Residual: Residual{Underflow: true, Count: 3584}, DataLen: 512,
		},
		ParseDataIn, (*DataIn).Put)
	vector(t, `25 c0 00 00 00 000200 0001000000000000 00000007 00000009
		00000000 00000002 00000003 00000004 00000000 00000000`,
		DataIn{Final: true, Ack: true, LUN: [8]byte{0, 1}, ITT: 7, TTT: 9, ExpCmdSN: 2, MaxCmdSN: 3, DataSN: 4, DataLen: 512},
		ParseDataIn, (*DataIn).Put)
}

func TestDataInRefused(t *testing.T) {
	for name, c := range map[string]struct {
		first  string
		offset string
		reason RejectReason
	}{
		"status without F": {"25 01", "00000000", RejectProtocol},
		"both residuals":   {"25 87", "00000000", RejectInvalidField},
		"past the end":     {"25 80", "ffffff00", RejectInvalidField},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, c.first+" 0000 00 000200 0000000000000000 00000007 ffffffff 00000001 00000002 00000003 00000004"+c.offset+"00000000", c.reason, ParseDataIn)
		})
	}
}
