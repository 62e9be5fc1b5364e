package iscsi

import "testing"

func TestLoginRequest(t *testing.T) {
	vector(t, `43 87 01 00 00 000123 00023d000001 0009 00000007 0004 0000
		00000001 00000002 00000000000000000000000000000000`,
		LoginRequest{Transit: true, Current: Operational, Next: FullFeature, VersionMax: 1, ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, TSIH: 9, ITT: 7, CID: 4, CmdSN: 1, ExpStatSN: 2, DataLen: 0x123},
		ParseLoginRequest, (*LoginRequest).Put)
	vector(t, `43 40 00 00 00 000123 00023d000001 0000 00000007 0000 0000
		00000001 00000000 00000000000000000000000000000000`,
		LoginRequest{Continue: true, Current: Security, ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, ITT: 7, CmdSN: 1, DataLen: 0x123},
		ParseLoginRequest, (*LoginRequest).Put)
}

func TestStageNames(t *testing.T) {
	for s, want := range map[Stage]string{
		Security: "SecurityNegotiation", Operational: "LoginOperationalNegotiation", FullFeature: "FullFeaturePhase", 2: "reserved stage 2",
	} {
		if s.String() != want {
			t.Errorf("stage %d: %v", s, s)
		}
	}
}
