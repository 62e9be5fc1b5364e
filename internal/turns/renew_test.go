package turns

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever waits after renew gets what was there before, whether it was reported
// by then or not; a reset too.
func TestRenew(t *testing.T) {
	for name, send := range map[string]func(*net.TCPConn) error{
		"bytes": func(c *net.TCPConn) error { _, err := c.Write([]byte("x")); return err },
		"end":   func(c *net.TCPConn) error { return c.CloseWrite() },
		"reset": func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			for range 10 { // whether it was reported is a matter of luck
				near, far := tcpPair(t)
				raw, err := near.SyscallConn()
				if err != nil {
					t.Fatal(err)
				}
				if err := send(far); err != nil {
					t.Fatal(err)
				}
				awaitInput(raw)
				_ = near.SetReadDeadline(time.Now().Add(10 * time.Second))
				asked := false
				if err := raw.Read(func(fd uintptr) bool {
					if asked {
						return true
					}
					asked = true
					return !renew(fd)
				}); err != nil {
					t.Fatalf("it was not told: %v", err)
				}
			}
		})
	}
}

func TestRenewOfNoSocket(t *testing.T) {
	if renew(^uintptr(0)) {
		t.Error("it will be told of a file that is not there")
	}
}

// awaitInput returns when there is something to read, or the end.
func awaitInput(raw syscall.RawConn) {
	for there := false; !there; {
		_ = raw.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(p, -1)
			there = n == 1 && err == nil
		})
	}
}

// tcpPair returns both ends of a TCP connection.
func tcpPair(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return b.(*net.TCPConn), a.(*net.TCPConn)
}
