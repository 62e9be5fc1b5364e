package iscsi

import (
	"bytes"
	"testing"
)

func TestSCSIResponse(t *testing.T) {
	vector(t, `21 82 00 02 00 000014 0000000000000000 00000007 00000000
		00000001 00000002 00000003 00000004 00000000 00000200`,
		SCSIResponse{Status: 2, DataLen: 20, ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, ExpDataSN: 4, Residual: Residual{Underflow: true, Count: 512}},
		ParseSCSIResponse, (*SCSIResponse).Put)
	vector(t, `21 94 01 00 00 000000 0000000000000000 00000007 00000009
		00000001 00000002 00000003 00000004 00000005 00000006`,
		SCSIResponse{
			Response: TargetFailure, ITT: 7, SNACKTag: 9, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3, ExpDataSN: 4,
			BidiResidual: Residual{Overflow: true, Count: 5}, Residual: Residual{Overflow: true, Count: 6},
		},
		ParseSCSIResponse, (*SCSIResponse).Put)
}

func TestSCSIResponseRefusesBothResiduals(t *testing.T) {
	const rest = " 00 00 00 000000 0000000000000000 00000007 00000000 00000001 00000002 00000003 00000004 00000000 00000200"
	refused(t, "21 86"+rest, RejectInvalidField, ParseSCSIResponse)
	refused(t, "21 98"+rest, RejectInvalidField, ParseSCSIResponse)
}

func TestSense(t *testing.T) {
	sense := []byte{0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0}
	b := AppendSense(nil, sense)
	if want := append([]byte{0, 18}, sense...); !bytes.Equal(b, want) {
		t.Errorf("%x", b)
	}
	got, err := ParseSense(append(b, 0xee)) // vendor data may follow
	if err != nil || !bytes.Equal(got, sense) {
		t.Errorf("%x, %v", got, err)
	}
	for i := 1; i < len(b); i++ {
		if _, err := ParseSense(b[:i]); err == nil {
			t.Errorf("sense cut to %d bytes was taken", i)
		}
	}
	if got, err := ParseSense(AppendSense(nil, nil)); err != nil || len(got) != 0 {
		t.Errorf("empty: %x, %v", got, err)
	}
}
