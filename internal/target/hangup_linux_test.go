package target

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel still delivers of a connection that the peer has given up is
// not executed: the host may have sent it again elsewhere (DESIGN R4 a).
func TestBytesBeforeAHangUpAreNotExecuted(t *testing.T) {
	s := start(t, func(c *Config, _ *directory) { c.stale = time.Nanosecond })
	i := connect(t, s)
	i.ready()
	// The write and the end of the stream arrive in one segment.
	raw, err := i.nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	c := s.all(true)[0]
	i.command(command{cdb: write10(0, 1), write: true, expected: 512, data: pattern(512)})
	i.nc.Close()
	<-c.done
	j := connect(t, s)
	j.ready()
	j.check(0, make([]byte, 512))
}
