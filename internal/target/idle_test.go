package target

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"sango/internal/bufpool"
	"sango/internal/iscsi"
)

// idleBound is what an idle session may hold of this process, in bytes: heap
// and stacks. The test's own end of it counts as well.
const idleBound = 32 << 10

// Sessions that were busy and are idle now hold little: no read buffer, no
// arena, no data.
func TestIdleSessionsHoldLittle(t *testing.T) {
	const sessions, depth = 200, 32
	s := start(t, func(c *Config, _ *directory) {
		c.NopInterval, c.SessionsPerHost = time.Hour, sessions
	})
	all := make([]*initiator, 0, sessions)
	before := held()
	for n := range sessions {
		i := dial(t, s)
		id := isid(byte(n))
		id[4] = byte(n >> 8)
		if st := i.login(id, names(hostName, targetName)...); st != iscsi.LoginSuccess {
			t.Fatal(st)
		}
		i.ready()
		newRound(i, command{cdb: read10(0, 8), read: true, expected: 4096}, depth, iscsi.BHSLen+4096).run(t)
		newRound(i, command{cdb: write10(0, 8), write: true, expected: 4096, data: make([]byte, 4096)}, depth, iscsi.BHSLen).run(t)
		all = append(all, i)
	}
	for _, i := range all { // the last thing of each is over when the next is answered
		i.ping()
	}
	per := (held() - before) / sessions
	t.Logf("%d bytes a session", per)
	if per > idleBound {
		t.Errorf("an idle session holds %d bytes, at most %d are expected", per, idleBound)
	}
	for _, i := range all {
		i.check(0, make([]byte, 4096))
	}
}

// held returns the bytes of heap and stacks in use. Pools are emptied before:
// what they hold belongs to no session.
func held() int64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A read that waits has no buffer; the one that comes back has one, and the
// arrival time is the same as of a read with one.
func TestReadBufWaitsWithoutABuffer(t *testing.T) {
	s, far := pair(t)
	var buf *bufpool.Buf
	_ = s.tcp.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := s.readBuf(&buf, inputSize); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || buf != nil {
		t.Fatalf("read of nothing: %d bytes, %v, buffer %v", n, err, buf)
	}
	empty := s.seenEmpty
	if _, err := far.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	for !readable(t, s) {
	}
	_ = s.tcp.SetReadDeadline(time.Time{})
	n, err := s.readBuf(&buf, 64)
	if n != 64 || err != nil || buf == nil || !s.arrival.Equal(empty) {
		t.Fatalf("first read: %d bytes, %v, arrival %v after the socket was seen empty", n, err, s.arrival.Sub(empty))
	}
	buf.Release()
	buf = nil
	if n, err := s.readBuf(&buf, inputSize); n != 36 || err != nil || buf == nil || !s.seenEmpty.After(empty) {
		t.Fatalf("second read: %d bytes, %v", n, err)
	}
	buf.Release()
	buf = nil
	far.Close()
	if _, err := s.readBuf(&buf, inputSize); !errors.Is(err, errHangUp) || buf != nil {
		t.Fatalf("at the end: %v, buffer %v", err, buf)
	}
	if len(s.readVec) != 0 || s.lent != nil {
		t.Error("the socket still knows a buffer")
	}
}
