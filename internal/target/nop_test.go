package target

import (
	"bytes"
	"testing"
	"time"

	"sango/internal/iscsi"
)

// A ping comes back with its data, cut to what the initiator takes; a numbered
// one takes its turn.
func TestPingAnswered(t *testing.T) {
	s := start(t)
	i := connect(t, s, iscsi.Pair{Key: iscsi.KeyMaxRecvSegment, Value: "512"})
	for _, immediate := range []bool{true, false} {
		data := pattern(2000)
		n := iscsi.NopOut{Immediate: immediate, ITT: 0x55, TTT: iscsi.NoTTT, CmdSN: i.cmdSN, DataLen: len(data)}
		if !immediate {
			i.cmdSN++
		}
		var h iscsi.BHS
		n.Put(&h)
		i.send(&h, data)
		rh, back := i.recv()
		if r, err := iscsi.ParseNopIn(&rh); err != nil || r.ITT != 0x55 || !bytes.Equal(back, data[:512]) {
			t.Errorf("answer %+v with %d bytes, %v", r, len(back), err)
		}
	}
	i.ready()
	if i.max != i.exp+127 {
		t.Errorf("the window is [%d, %d]", i.exp, i.max)
	}
}

// A peer that answers pings stays; one that does not, even though it sends
// commands, is reset and its session is gone.
func TestSilentPeerIsReset(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) {
		c.NopInterval, c.NopTimeout = time.Millisecond, 500*time.Millisecond
	})
	good := connect(t, s)
	bad := dial(t, s)
	if st := bad.login(isid(2), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() { // the good one answers while it waits
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				good.ready()
			}
		}
	}()
	pings := 0
	for _, h := range bad.closed() {
		if n, err := iscsi.ParseNopIn(&h); err == nil && n.TTT != iscsi.NoTTT && n.ITT == iscsi.NoITT {
			pings++
		}
	}
	close(stop)
	<-stopped
	if pings != 1 {
		t.Errorf("%d pings were sent, want one at a time", pings)
	}
	good.ready()
}

// A peer that stops reading does not stall others, and is dropped when the
// answers that it asked for pile up.
func TestPeerThatDoesNotRead(t *testing.T) {
	s := start(t)
	i, other := connect(t, s), dial(t, s)
	if st := other.login(isid(2), names(hostName, targetName)...); st != iscsi.LoginSuccess {
		t.Fatal(st)
	}
	i.ready()
	for n := range 100 { // more than the sockets hold
		i.command(command{cdb: read10(n, 2048), read: true, expected: 1 << 20})
	}
	other.ready()
	data := make([]byte, 65536)
	n := iscsi.NopOut{Immediate: true, ITT: 0x55, TTT: iscsi.NoTTT, CmdSN: i.cmdSN, DataLen: len(data)}
	var h iscsi.BHS
	n.Put(&h)
	pdu := i.wire(&h, data)
	for range 100_000 {
		if _, err := i.nc.Write(pdu); err != nil {
			other.ready()
			return
		}
	}
	t.Error("the connection is still open")
}

// A command that is too old when its turn comes is not executed, and its
// connection is reset (DESIGN R4 b).
func TestOldCommandIsNotExecuted(t *testing.T) {
	s := start(t)
	strict := *s
	strict.Server, strict.addr = another(t, s, Config{MaxAge: time.Nanosecond}, s.dir)
	i := connect(t, &strict)
	i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: pattern(512)})
	for _, h := range i.closed() {
		t.Errorf("a %v PDU came", h.Opcode())
	}
	j := connect(t, s)
	j.ready()
	j.check(0, make([]byte, 512))
}
