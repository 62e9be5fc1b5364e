package iscsi

import "testing"

func TestLogoutResponse(t *testing.T) {
	vector(t, `26 80 01 00 00 000000 0000000000000000 00000007 00000000
		00000001 00000002 00000003 00000000 0005 0006 00000000`,
		LogoutResponse{Result: LogoutNoCID, ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Time2Wait: 5, Time2Retain: 6},
		ParseLogoutResponse, (*LogoutResponse).Put)
}
