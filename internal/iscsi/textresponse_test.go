package iscsi

import "testing"

func TestTextResponse(t *testing.T) {
	vector(t, `24 80 0000 00 000010 0000000000000000 00000007 ffffffff
		00000001 00000002 00000003 000000000000000000000000`,
		TextResponse{Final: true, ITT: 7, TTT: NoTTT, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataLen: 16},
		ParseTextResponse, (*TextResponse).Put)
	vector(t, `24 40 0000 00 000010 0001000000000000 00000007 00000009
		00000001 00000002 00000003 000000000000000000000000`,
		TextResponse{Continue: true, LUN: [8]byte{0, 1}, ITT: 7, TTT: 9, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataLen: 16},
		ParseTextResponse, (*TextResponse).Put)
}

func TestTextResponseRefused(t *testing.T) {
	const rest = " 00000001 00000002 00000003 000000000000000000000000"
	refused(t, "24 c0 0000 00 000010 0000000000000000 00000007 ffffffff"+rest, RejectInvalidField, ParseTextResponse)
	refused(t, "24 80 0000 00 000010 0000000000000000 00000007 00000001"+rest, RejectInvalidField, ParseTextResponse)
}
