package iscsi

import "testing"

func TestReject(t *testing.T) {
	vector(t, `3f 80 09 00 00 000030 0000000000000000 ffffffff 00000000
		01020304 05060708 090a0b0c 0d0e0f10 0000000000000000`,
		Reject{Reason: RejectInvalidField, StatSN: 0x01020304, ExpCmdSN: 0x05060708, MaxCmdSN: 0x090a0b0c, DataSN: 0x0d0e0f10, DataLen: 48},
		ParseReject, (*Reject).Put)
}

func TestRejectReasonNames(t *testing.T) {
	for r := RejectDataDigest; r <= RejectWaitingForLogout; r++ {
		if s := r.String(); s == "" || s[0] == 0 || len(s) > 6 && s[:6] == "reject" {
			t.Errorf("reason %#x has no name", uint8(r))
		}
	}
	if got := RejectReason(1).String(); got != "reject reason 01h" {
		t.Error(got)
	}
}
