package nbdserver

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// A client that gives a connection up may send what it had asked there again
// through another one, and then something newer: the kernel's driver does after
// its timeout, QEMU after a reconnect. Requests that it left behind in the
// socket must not be executed then, or a write would undo the newer one. The
// driver shuts the socket down before it sends anything again; what was read
// before can be in time only if the connection was not shut when it was read.

var errHungUp = errors.New("the client hung up: what it left is not executed")

// hangup tells whether the other side has shut the connection down, though
// there is something to read yet.
type hangup struct {
	epoll  int // −1: can't be told
	events [1]syscall.EpollEvent
	doubt  bool // something was read, or the reader has waited, since it was looked at
}

func newHangup(nc net.Conn) hangup {
	h := hangup{epoll: -1}
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	s, ok := nc.(syscall.Conn)
	if !ok {
		return h
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return h
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return h
	}
	err = raw.Control(func(peer uintptr) {
		e := syscall.EpollEvent{Events: syscall.EPOLLRDHUP}
		if syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(peer), &e) != nil {
			_ = syscall.Close(fd)
			fd = -1
		}
	})
	if err != nil && fd >= 0 {
		_ = syscall.Close(fd)
		fd = -1
	}
	h.epoll = fd
	return h
}

func (h *hangup) close() {
	if h.epoll >= 0 {
		_ = syscall.Close(h.epoll)
		h.epoll = -1
	}
}

// settle reports whether what was read may be executed.
func (h *hangup) settle() bool {
	if !h.doubt || h.epoll < 0 {
		return true
	}
	h.doubt = false
	for {
		n, err := syscall.EpollWait(h.epoll, h.events[:], 0)
		if err == nil || !errors.Is(err, syscall.EINTR) {
			return n <= 0
		}
	}
}
