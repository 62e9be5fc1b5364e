package iscsi

import "testing"

func TestR2T(t *testing.T) {
	vector(t, `31 80 0000 00 000000 0001000000000000 00000007 00000008
		00000001 00000002 00000003 00000004 00010000 00040000`,
		R2T{LUN: [8]byte{0, 1}, ITT: 7, TTT: 8, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, R2TSN: 4, Offset: 65536, Desired: 262144},
		ParseR2T, (*R2T).Put)
}

func TestR2TRefused(t *testing.T) {
	const head = "31 80 0000 00 000000 0001000000000000 00000007 "
	const sns = " 00000001 00000002 00000003 00000004 "
	for name, wire := range map[string]string{
		"reserved tag": head + "ffffffff" + sns + "00000000 00000200",
		"no data":      head + "00000001" + sns + "00000000 00000000",
		"past the end": head + "00000001" + sns + "fffffe00 00000200",
	} {
		t.Run(name, func(t *testing.T) { refused(t, wire, RejectInvalidField, ParseR2T) })
	}
}
