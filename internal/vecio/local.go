package vecio

import (
	"net"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unpace takes the pacing off a connection whose both ends are this machine;
// others it leaves alone. The congestion control BBR, which machines are set to
// for the sake of networks, sends by a timer, and takes the time at which the
// other program reads for that of a network: between two programs it costs more
// than to move the data. Reno sends at once; each kernel has it, for everybody.
func Unpace(c *net.TCPConn, raw syscall.RawConn) {
	if !local(c.LocalAddr(), c.RemoteAddr()) {
		return
	}
	_ = raw.Control(func(fd uintptr) { // a kernel that refuses is slower, no more
		name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err == nil && strings.HasPrefix(name, "bbr") {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}
	})
}

// local reports whether both ends of a connection are on this machine.
func local(near, far net.Addr) bool {
	a, ok := near.(*net.TCPAddr)
	if !ok {
		return false
	}
	b, ok := far.(*net.TCPAddr)
	return ok && (b.IP.IsLoopback() || a.IP.Equal(b.IP))
}
