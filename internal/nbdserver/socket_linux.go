package nbdserver

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/turns"
	"sango/internal/vecio"
)

// sendBuffer is how many bytes a unix socket takes, as far as the system allows,
// until the client reads them. With the usual 208 KiB a client of a few large
// reads would get them in pieces, and both sides wait for each other.
const sendBuffer = 2 << 20

// rawSocket moves vectors of bytes without an allocation, and can read and write
// without waiting.
type rawSocket struct {
	raw  syscall.RawConn
	turn *turn

	// The function is made once, so that a call allocates nothing.
	readFn   func(fd uintptr) bool
	readVec  []unix.Iovec
	readWait bool
	readN    int
	pollFd   [1]unix.PollFd
	readErr  error

	out *vecio.Writer
}

// newRawSocket returns the socket of a unix or TCP connection, nil for another.
func newRawSocket(nc net.Conn, t *turn) socket {
	switch nc.(type) {
	case *net.UnixConn, *net.TCPConn:
	default:
		return nil
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil
	}
	s := &rawSocket{raw: raw, turn: t, out: vecio.NewWriter(raw)}
	s.readFn = s.readOnce
	return s
}

func (s *rawSocket) read(dst [][]byte, wait bool) (int, error) {
	s.readVec, _ = vecio.Append(s.readVec[:0], dst)
	s.readN, s.readErr, s.readWait = 0, nil, wait
	err := s.raw.Read(s.readFn)
	if err == nil {
		err = s.readErr
	}
	clear(s.readVec)
	return s.readN, err
}

// readOnce is one attempt; false makes the runtime wait for readiness.
func (s *rawSocket) readOnce(fd uintptr) bool {
	n, errno := vecio.Read(fd, s.readVec)
	if errno == unix.EAGAIN && s.readWait && s.turn.spins() && s.spin(fd) {
		n, errno = vecio.Read(fd, s.readVec)
	}
	switch {
	case errno == unix.EAGAIN:
		return !s.readWait
	case errno != 0:
		s.readErr = os.NewSyscallError("readv", errno)
	case n == 0:
		s.readErr = io.EOF
	}
	s.readN = n
	return true
}

// spin polls the socket for a while and reports whether something is there to
// read. To ask is cheaper than to try, and takes no lock that the sender wants.
func (s *rawSocket) spin(fd uintptr) bool {
	for start := time.Now(); time.Since(start) < turns.SpinTime; {
		s.pollFd[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		if n, err := unix.Poll(s.pollFd[:], 0); n > 0 || err != nil {
			s.turn.Spun(true)
			return true
		}
	}
	s.turn.Spun(false)
	return false
}

func (s *rawSocket) write(src [][]byte, wait bool) (int, error) { return s.out.Write(src, wait) }
