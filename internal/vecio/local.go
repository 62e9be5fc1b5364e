package vecio

import (
	"net"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unpace takes the pacing off a connection that was accepted, where both ends
// are this machine. The congestion control BBR, which machines are set to for
// the sake of networks, sends by a timer, and takes the time at which the other
// program reads for that of a network: between two programs it costs more than
// to move the data. Reno sends at once; each kernel has it, for everybody.
func Unpace(c *net.TCPConn, raw syscall.RawConn) {
	if far, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		unpace(raw, far.IP)
	}
}

// DialUnpaced is a Control of a net.Dialer that does what Unpace does before
// the connection is made: one that BBR has begun keeps the timer, if not its
// rate, whatever comes after.
func DialUnpaced(_, address string, raw syscall.RawConn) error {
	if host, _, err := net.SplitHostPort(address); err == nil {
		unpace(raw, net.ParseIP(host))
	}
	return nil
}

// unpace changes nothing where the kernel refuses: that is slower, no more. It
// looks at the addresses of this machine last, which takes the longest.
func unpace(raw syscall.RawConn, far net.IP) {
	_ = raw.Control(func(fd uintptr) {
		name, err := unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err == nil && strings.HasPrefix(name, "bbr") && own(far) {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}
	})
}

// own reports whether ip is an address of this machine.
func own(ip net.IP) bool {
	if ip.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(all, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip)
	})
}
