package iscsi

import "testing"

func TestLoginResponse(t *testing.T) {
	vector(t, `23 87 00 00 00 000123 00023d000001 0009 00000007 00000000
		00000001 00000002 00000003 0000 0000 0000000000000000`,
		LoginResponse{Transit: true, Current: Operational, Next: FullFeature, ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, TSIH: 9, ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, DataLen: 0x123},
		ParseLoginResponse, (*LoginResponse).Put)
	vector(t, `23 04 00 00 00 000000 00023d000001 0000 00000007 00000000
		00000001 00000002 00000003 0201 0000 0000000000000000`,
		LoginResponse{Current: Operational, ISID: [6]byte{0, 2, 0x3d, 0, 0, 1}, ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, Status: LoginAuthFailed},
		ParseLoginResponse, (*LoginResponse).Put)
}

func TestLoginStatus(t *testing.T) {
	if c, d := LoginAuthFailed.Class(), LoginAuthFailed.Detail(); c != 2 || d != 1 {
		t.Errorf("class %d detail %d", c, d)
	}
	for _, s := range []LoginStatus{
		LoginSuccess, LoginMovedTemporarily, LoginMovedForGood, LoginInitiatorError, LoginAuthFailed, LoginForbidden,
		LoginNotFound, LoginTargetRemoved, LoginBadVersion, LoginTooManyConns, LoginMissingParameter, LoginCantInclude, LoginBadSessionType,
		LoginNoSession, LoginInvalidRequest, LoginTargetError, LoginUnavailable, LoginOutOfResources,
	} {
		if n := s.String(); len(n) > 5 && n[:6] == "login " {
			t.Errorf("status %04x has no name", uint16(s))
		}
	}
	if got := LoginStatus(0x0400).String(); got != "login status 0400h" {
		t.Error(got)
	}
}
