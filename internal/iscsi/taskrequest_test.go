package iscsi

import "testing"

func TestTaskRequest(t *testing.T) {
	vector(t, `42 81 0000 00 000000 0001000000000000 00000007 00000006
		00000001 00000002 00000003 00000004 0000000000000000`,
		TaskRequest{Immediate: true, Function: AbortTask, LUN: [8]byte{0, 1}, ITT: 7, RefTag: 6, CmdSN: 1, ExpStatSN: 2, RefCmdSN: 3, ExpDataSN: 4},
		ParseTaskRequest, (*TaskRequest).Put)
}

func TestTaskRequestRefused(t *testing.T) {
	refused(t, `42 81 0000 00 000000 0001000000000000 ffffffff 00000006
		00000001 00000002 00000003 00000004 0000000000000000`, RejectInvalidField, ParseTaskRequest)
	refused(t, `42 81 0000 00 000001 0001000000000000 00000007 00000006
		00000001 00000002 00000003 00000004 0000000000000000`, RejectInvalidField, ParseTaskRequest)
}

func TestTaskFunctionNames(t *testing.T) {
	for f := AbortTask; f <= TaskReassign; f++ {
		if s := f.String(); s[0] == 0x74 {
			t.Errorf("function %d has no name", f)
		}
	}
	if got := TaskFunction(99).String(); got != "task management function 99" {
		t.Error(got)
	}
}
