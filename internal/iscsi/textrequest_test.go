package iscsi

import "testing"

func TestTextRequest(t *testing.T) {
	vector(t, `44 80 0000 00 000010 0000000000000000 00000007 ffffffff
		00000001 00000002 00000000000000000000000000000000`,
		TextRequest{Immediate: true, Final: true, ITT: 7, TTT: NoTTT, CmdSN: 1, ExpStatSN: 2, DataLen: 16},
		ParseTextRequest, (*TextRequest).Put)
	vector(t, `04 40 0000 00 000010 0001000000000000 00000007 00000009
		00000001 00000002 00000000000000000000000000000000`,
		TextRequest{Continue: true, LUN: [8]byte{0, 1}, ITT: 7, TTT: 9, CmdSN: 1, ExpStatSN: 2, DataLen: 16},
		ParseTextRequest, (*TextRequest).Put)
}

func TestTextRequestRefused(t *testing.T) {
	const rest = " 00000001 00000002 00000000000000000000000000000000"
	refused(t, "04 80 0000 00 000010 0000000000000000 ffffffff ffffffff"+rest, RejectInvalidField, ParseTextRequest)
	refused(t, "04 c0 0000 00 000010 0000000000000000 00000007 ffffffff"+rest, RejectInvalidField, ParseTextRequest)
}
