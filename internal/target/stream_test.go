package target

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sango/internal/iscsi"
)

const streamLen = 256 << 10

// beside is a session of another initiator port.
func beside(t *testing.T, s *setup, n byte) *initiator {
	t.Helper()
	i := dial(t, s)
	if st := i.login(isid(n), iscsi.Pair{Key: iscsi.KeyInitiatorName, Value: hostName}, iscsi.Pair{Key: iscsi.KeyTargetName, Value: targetName}); st != iscsi.LoginSuccess {
		t.Fatalf("login: %v", st)
	}
	i.ready()
	return i
}

// streams begins a write of streamLen bytes at block 0 and sends the first half
// of its data, which is written while the rest does not come.
func streams(t *testing.T, s *setup, i *initiator) (itt iscsi.ITT, r iscsi.R2T, data []byte) {
	t.Helper()
	data = pattern(streamLen)
	itt = i.command(command{cdb: write10(0, streamLen/512), write: true, expected: streamLen})
	r = i.r2t()
	i.data(itt, r.TTT, 0, 0, false, data[:streamLen/2])
	i.ping()
	other := beside(t, s, 2)
	other.check(0, data[:streamLen/2])
	other.check(streamLen/1024, make([]byte, 4096))
	return itt, r, data
}

// A host that sends half of its data keeps nobody from those blocks, and gets
// what it wrote.
func TestStreamStalls(t *testing.T) {
	s := start(t)
	i, other := connect(t, s), beside(t, s, 3)
	i.ready()
	itt, r, data := streams(t, s, i)
	later := bytes.Repeat([]byte{7}, 4096)
	other.command(command{cdb: write10(8, 8), write: true, expected: 4096, data: later})
	if o := other.outcome(); o.status != 0 {
		t.Fatalf("the other write ended with %+v", o)
	}
	copy(data[4096:], later)
	i.data(itt, r.TTT, 1, streamLen/2, true, data[streamLen/2:])
	if o := i.outcome(); o.itt != itt || o.status != 0 {
		t.Errorf("the write ended with %+v", o)
	}
	i.check(0, data)
}

// Data that is not what its digest says is never written, nor what follows.
func TestStreamDigestError(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyDataDigest, Value: iscsi.DigestCRC32C})
	i.ready()
	itt, r, data := streams(t, s, i)
	const half = streamLen / 2
	var h iscsi.BHS
	d := iscsi.DataOut{ITT: itt, TTT: r.TTT, DataSN: 1, Offset: half, DataLen: half / 2}
	d.Put(&h)
	b := i.wire(&h, data[half:half+half/2])
	b[len(b)-1] ^= 1
	if _, err := i.nc.Write(b); err != nil {
		t.Fatal(err)
	}
	if got := i.rejected(); got != iscsi.RejectDataDigest {
		t.Errorf("rejected for %v", got)
	}
	i.data(itt, r.TTT, 2, half+half/2, true, data[half+half/2:])
	if o := i.outcome(); o.itt != itt || o.key() != [3]byte{0xb, 0x47, 5} {
		t.Errorf("the write ended with %+v", o)
	}
	i.check(half/512, make([]byte, half))
}

// Nothing is written after the answer to an abort.
func TestStreamAborted(t *testing.T) {
	s := start(t)
	i := connect(t, s)
	i.ready()
	sn := i.cmdSN
	itt, r, data := streams(t, s, i)
	tmf := i.manage(iscsi.TaskRequest{Function: iscsi.AbortTask, RefTag: itt, RefCmdSN: sn})
	if got := i.managed(tmf); got != iscsi.TaskComplete {
		t.Errorf("answered %d", got)
	}
	i.data(itt, r.TTT, 1, streamLen/2, true, data[streamLen/2:])
	i.ping()
	i.check(streamLen/1024, make([]byte, streamLen/2))
}

// Data that waited for too long is not written, nor anything after the
// connection was ended.
func TestStreamTooOld(t *testing.T) {
	c := &conn{srv: &Server{cfg: Config{MaxAge: time.Second}}}
	c.in.pduArrival = time.Now().Add(-time.Minute)
	if err := c.stream(&task{}, streamLen); !errors.Is(err, errTooOld) {
		t.Errorf("old data: %v", err)
	}
	c.in.pduArrival = time.Now()
	c.ended.Store(true)
	if err := c.stream(&task{}, streamLen); !errors.Is(err, errEnded) {
		t.Errorf("after the end: %v", err)
	}
}
