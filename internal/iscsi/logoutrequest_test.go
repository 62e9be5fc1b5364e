package iscsi

import "testing"

func TestLogoutRequest(t *testing.T) {
	vector(t, `46 81 0000 00 000000 0000000000000000 00000007 0004 0000
		00000001 00000002 00000000000000000000000000000000`,
		LogoutRequest{Immediate: true, Reason: LogoutConnection, ITT: 7, CID: 4, CmdSN: 1, ExpStatSN: 2},
		ParseLogoutRequest, (*LogoutRequest).Put)
}

func TestLogoutRequestRefused(t *testing.T) {
	const rest = " 0004 0000 00000001 00000002 00000000000000000000000000000000"
	for name, head := range map[string]string{
		"reserved reason": "46 83 0000 00 000000 0000000000000000 00000007",
		"reserved tag":    "46 80 0000 00 000000 0000000000000000 ffffffff",
		"data":            "46 80 0000 00 000001 0000000000000000 00000007",
	} {
		t.Run(name, func(t *testing.T) { refused(t, head+rest, RejectInvalidField, ParseLogoutRequest) })
	}
}
