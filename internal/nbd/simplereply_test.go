package nbd

import "testing"

func TestSimpleReply(t *testing.T) {
	const wire = `67446698 0000001c 1112131415161718`
	vector(t, wire, SimpleReply{Err: ENOSPC, Cookie: 0x1112131415161718}, ParseSimpleReply)
	truncated(t, wire, ParseSimpleReply)
	refused(t, `67446699 0000001c 1112131415161718`, ParseSimpleReply)
}

func TestErrno(t *testing.T) {
	if EINVAL.Error() != "invalid argument" || Errno(3).Error() != "error 3" {
		t.Error(EINVAL, Errno(3))
	}
}
