package nbd

import "testing"

func TestOptionReply(t *testing.T) {
	const wire = `0003e889045565a9 00000003 80000006 00000005`
	vector(t, wire, OptionReply{Option: OptList, Type: RepErrUnknown, Length: 5}, ParseOptionReply)
	truncated(t, wire, ParseOptionReply)
	refused(t, `0003e889045565aa 00000003 80000006 00000005`, ParseOptionReply)
}

func TestReplyTypes(t *testing.T) {
	if RepAck.IsError() || !RepErrUnsup.IsError() || RepErrTooBig != 0x80000009 {
		t.Error("the error bit is wrong")
	}
	if RepErrTLSReqd.String() != "ERR_TLS_REQD" || ReplyType(0x77).String() != "reply 0x77" {
		t.Error(RepErrTLSReqd, ReplyType(0x77))
	}
}
