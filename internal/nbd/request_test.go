package nbd

import "testing"

func TestRequest(t *testing.T) {
	const wire = `25609513 0001 0006 1112131415161718 0000010000000200 80000000`
	want := Request{Flags: CmdFlagFUA, Cmd: CmdWriteZeroes, Cookie: 0x1112131415161718, Offset: 1<<40 + 512, Length: 1 << 31}
	vector(t, wire, want, ParseRequest)
	truncated(t, wire, ParseRequest)
	refused(t, `25609514 0001 0006 1112131415161718 0000010000000200 80000000`, ParseRequest)
	b := make([]byte, 0, RequestLen)
	if n := testing.AllocsPerRun(10, func() { _, _ = ParseRequest(want.Append(b)) }); n != 0 {
		t.Errorf("%v allocations for a round trip", n)
	}
}

func TestCmdNames(t *testing.T) {
	if CmdBlockStatus.String() != "BLOCK_STATUS" || Cmd(77).String() != "command 77" {
		t.Error(CmdBlockStatus, Cmd(77))
	}
}
