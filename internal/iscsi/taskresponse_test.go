package iscsi

import "testing"

func TestTaskResponse(t *testing.T) {
	vector(t, `22 80 05 00 00 000000 0000000000000000 00000007 00000000
		00000001 00000002 00000003 00000000 0000000000000000`,
		TaskResponse{Result: TaskNotSupported, ITT: 7, StatSN: 1, ExpCmdSN: 2, MaxCmdSN: 3},
		ParseTaskResponse, (*TaskResponse).Put)
}
