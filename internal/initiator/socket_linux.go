package initiator

import (
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVec is the longest I/O vector of one system call (IOV_MAX).
const maxVec = 1024

// tcpSocket moves vectors of bytes over TCP without an allocation, and can
// write without waiting. Its read half belongs to the reader, its write half
// to the holder of the sending token.
type tcpSocket struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	// The functions are made once, so that a call allocates nothing.
	readFn  func(fd uintptr) bool
	readVec []unix.Iovec
	readN   int
	readErr error

	writeFn   func(fd uintptr) bool
	writeVec  []unix.Iovec
	writeWait bool
	writeN    int
	writeErr  error
}

// newTCPSocket returns the socket of a connection over TCP, nil for another.
func newTCPSocket(c net.Conn) *tcpSocket {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	_ = tcp.SetNoDelay(true)
	s := &tcpSocket{tcp: tcp, raw: raw}
	s.readFn, s.writeFn = s.readOnce, s.writeOnce
	return s
}

func (s *tcpSocket) read(dst [][]byte) (int, error) {
	s.readVec = iovec(s.readVec[:0], dst)
	s.readN, s.readErr = 0, nil
	err := s.raw.Read(s.readFn)
	if err == nil {
		err = s.readErr
	}
	clear(s.readVec)
	return s.readN, err
}

// readOnce is one attempt; false makes the runtime wait for readiness.
func (s *tcpSocket) readOnce(fd uintptr) bool {
	n, errno := vectored(unix.SYS_READV, fd, s.readVec)
	switch {
	case errno == unix.EAGAIN:
		return false
	case errno != 0:
		s.readErr = os.NewSyscallError("readv", errno)
	case n == 0:
		s.readErr = ErrHangUp
	default:
		s.readN = n
	}
	return true
}

func (s *tcpSocket) write(src [][]byte, wait bool) (int, error) {
	s.writeVec = iovec(s.writeVec[:0], src)
	s.writeN, s.writeErr, s.writeWait = 0, nil, wait
	err := s.raw.Write(s.writeFn)
	if err == nil {
		err = s.writeErr
	}
	clear(s.writeVec)
	return s.writeN, err
}

func (s *tcpSocket) writeOnce(fd uintptr) bool {
	n, errno := vectored(unix.SYS_WRITEV, fd, s.writeVec)
	switch errno {
	case 0:
		s.writeN = n
	case unix.EAGAIN:
		return !s.writeWait
	default:
		s.writeErr = os.NewSyscallError("writev", errno)
	}
	return true
}

// iovec appends the non-empty slices of b to v, at most maxVec of them.
func iovec(v []unix.Iovec, b [][]byte) []unix.Iovec {
	for _, p := range b {
		if len(p) == 0 {
			continue
		}
		if len(v) == maxVec {
			break
		}
		e := unix.Iovec{Base: &p[0]}
		e.SetLen(len(p))
		v = append(v, e)
	}
	return v
}

// vectored is readv or writev. The wrappers of x/sys allocate a vector for
// each call; this one uses that of its caller.
func vectored(trap, fd uintptr, v []unix.Iovec) (int, syscall.Errno) {
	if len(v) == 0 {
		return 0, unix.EINVAL
	}
	for {
		n, _, errno := unix.Syscall(trap, fd, uintptr(unsafe.Pointer(&v[0])), uintptr(len(v)))
		switch errno {
		case 0:
			return int(n), 0
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}
