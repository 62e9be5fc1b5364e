package initiator

import (
	"net"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/turns"
	"sango/internal/vecio"
)

// readers are those of all sessions of the process.
var readers = turns.NewReaders(runtime.GOMAXPROCS(0))

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
	eager   bool // an answer is due soon: it pays to poll for it
	shares  bool // has turns
	turn    turns.Turn

	out *vecio.Writer
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
	s := &tcpSocket{tcp: tcp, raw: raw, turn: readers.Turn(), out: vecio.NewWriter(raw)}
	s.readFn = s.readOnce
	return s
}

func (s *tcpSocket) read(dst [][]byte, eager bool) (int, error) {
	s.readVec, _ = vecio.Append(s.readVec[:0], dst)
	s.readN, s.readErr, s.eager = 0, nil, eager
	err := s.raw.Read(s.readFn)
	if err == nil {
		err = s.readErr
	}
	clear(s.readVec)
	return s.readN, err
}

func (s *tcpSocket) share(on bool) {
	if s.shares = on; !on {
		s.turn.Wait()
	}
}

// readOnce is one attempt; false makes the runtime wait for readiness.
func (s *tcpSocket) readOnce(fd uintptr) bool {
	var now time.Time
	if s.shares {
		now = time.Now()
		if s.turn.Begin(now); s.turn.Over(fd, now, false) {
			s.turn.Wait()
			return false
		}
	}
	n, errno := vecio.Read(fd, s.readVec)
	if errno == unix.EAGAIN && s.shares && s.eager {
		n, errno, _, _ = s.turn.Spin(fd, s.readVec, now)
	}
	switch {
	case errno == unix.EAGAIN:
		s.turn.Wait()
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

func (s *tcpSocket) write(src [][]byte, wait bool) (int, error) { return s.out.Write(src, wait) }
