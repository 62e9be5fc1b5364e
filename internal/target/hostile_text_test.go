package target

import (
	"testing"

	"sango/internal/iscsi"
	"sango/internal/iscsi/iscsitest"
)

// Text without end is given up at a bound, in bytes and in requests; the
// session and the next exchange are none the worse for it.
func TestHostileTextWithoutEnd(t *testing.T) {
	s := besiege(t)
	c := s.login()
	for name, a := range map[string]struct {
		request iscsi.TextRequest
		text    []byte
		most    int // requests that may be taken
	}{
		"one long key":       {iscsi.TextRequest{Continue: true}, make([]byte, iscsi.LoginSegment), 2},
		"no end":             {iscsi.TextRequest{}, nil, 64},
		"no end, byte-wise":  {iscsi.TextRequest{Continue: true}, []byte("A"), 64},
		"new keys each time": {iscsi.TextRequest{}, nil, 64},
	} {
		t.Run(name, func(t *testing.T) {
			ttt, itt := iscsi.NoTTT, c.ITT()
			for n := 0; ; n++ {
				if n > a.most {
					t.Fatalf("%d requests were taken", n)
				}
				text := a.text
				if name == "new keys each time" {
					text = []byte("X-" + string(rune('a'+n/26)) + string(rune('a'+n%26)) + "=1\x00")
				}
				r := a.request
				r.ITT, r.TTT, r.CmdSN, r.ExpStatSN, r.DataLen = itt, ttt, c.NextCmdSN(), c.ExpStatSN, len(text)
				h := header(&r)
				if err := c.Send(&h, text); err != nil {
					t.Fatal(err)
				}
				p, err := c.Receive()
				for err == nil && p.ITT() == iscsi.NoITT && p.Opcode() == iscsi.OpNopIn {
					p, err = c.Receive()
				}
				if err != nil {
					t.Fatal(err)
				}
				if p.Opcode() == iscsi.OpReject {
					if q, err := iscsi.ParseReject(&p.BHS); err != nil || q.Reason != iscsi.RejectLongOperation {
						t.Errorf("rejected with %v, %v", q.Reason, err)
					}
					break
				}
				q, err := iscsi.ParseTextResponse(&p.BHS)
				if err != nil || q.Final {
					t.Fatalf("%+v, %v", q, err)
				}
				ttt = q.TTT
			}
			if k, err := c.Text(iscsi.Keys{{Key: iscsi.KeySendTargets}}); err != nil || len(k) != 0 {
				t.Errorf("%v, %v", k, err) // this initiator may see no target
			}
			usable(t, c)
		})
	}
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}

// A MaxRecvDataSegmentLength that shrinks in full feature phase holds for what
// is sent after it, and what may not be changed any more stays.
func TestHostileRenegotiation(t *testing.T) {
	s := besiege(t)
	c := s.login("MaxRecvDataSegmentLength", "262144")
	answers, err := c.Text(iscsi.Keys{
		{Key: iscsi.KeyMaxRecvSegment, Value: "512"},
		{Key: iscsi.KeyMaxBurst, Value: "512"},
		{Key: iscsi.KeyHeaderDigest, Value: iscsi.DigestCRC32C},
		{Key: iscsi.KeyInitialR2T, Value: iscsi.ValueNo},
		{Key: iscsi.KeyInitiatorName, Value: hostName},
		{Key: iscsi.KeySessionType, Value: iscsi.TypeDiscovery},
	})
	if err != nil || len(answers) != 5 {
		t.Fatalf("%v, %v", answers, err)
	}
	for _, a := range answers {
		if a.Value != iscsi.ValueReject {
			t.Errorf("%s=%s", a.Key, a.Value)
		}
	}
	c.Params.MaxRecv = 512 // Receive checks it
	usable(t, c)
	if _, err := c.Read(iscsitest.LUN0, 0, 64, 512); err == nil {
		t.Error("a read before the unit attention of LUN 0 was taken")
	}
	if _, err := c.Read(iscsitest.LUN0, 0, 64, 512); err != nil {
		t.Error(err)
	}
	for _, v := range []string{"0", "511", "16777216", "all"} {
		if a, err := c.Text(iscsi.Keys{{Key: iscsi.KeyMaxRecvSegment, Value: v}}); err != nil || len(a) != 1 || a[0].Value != iscsi.ValueReject {
			t.Errorf("MaxRecvDataSegmentLength=%s: %v, %v", v, a, err)
		}
	}
	usable(t, c)
	if err := c.Logout(); err != nil {
		t.Error(err)
	}
	s.settle(1)
	s.good.progress()
}
