package target

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/bufpool"
	"sango/internal/turns"
	"sango/internal/vecio"
)

// socket is one TCP connection and all the system calls that are made on it.
// Its read half belongs to the connection's reader, its write half to the
// holder of the sending token; the rest may be called from any goroutine.
type socket struct {
	tcp *net.TCPConn
	raw syscall.RawConn

	// Read half. The functions are made once, so that a call allocates nothing.
	readFn    func(fd uintptr) bool
	readVec   []unix.Iovec
	lent      **bufpool.Buf // of readBuf, nil in read
	lentSize  int
	readWant  int
	readN     int
	readErr   error
	seenEmpty time.Time // last moment before which nothing came that is still there to read
	marked    time.Time // when unread was counted
	unread    int       // bytes that were there then, and are still
	arrival   time.Time // of the bytes of the last read: seenEmpty before it
	turn      turn
	dry       func() // unless nil, called once before a read that finds nothing waits

	// Write half.
	out *vecio.Writer
}

func newSocket(c *net.TCPConn, readers *turns.Readers) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("connection from %v: %w", c.RemoteAddr(), err)
	}
	s := &socket{tcp: c, raw: raw, seenEmpty: time.Now(), out: vecio.NewWriter(raw)}
	s.turn.Turn = readers.Turn()
	s.readFn = s.readOnce
	vecio.Unpace(c, raw)
	// A peer that vanished while nothing is under way on a discovery session
	// is noticed by the kernel; normal sessions are pinged.
	keep := net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}
	if err := errors.Join(c.SetNoDelay(true), c.SetKeepAliveConfig(keep)); err != nil {
		return nil, fmt.Errorf("connection from %v: %w", c.RemoteAddr(), err)
	}
	return s, nil
}

// read waits until there is something to read or the read deadline passes
// (os.ErrDeadlineExceeded), and reads it into dst. The end of the stream is
// errHangUp. Afterwards arrival is the arrival time of the bytes read.
func (s *socket) read(dst [][]byte) (int, error) {
	s.readVec, s.readWant = vecio.Append(s.readVec[:0], dst)
	s.readN, s.readErr = 0, nil
	err := s.raw.Read(s.readFn)
	if err == nil {
		err = s.readErr
	}
	clear(s.readVec)
	return s.readN, err
}

// readBuf is read into *buf, a buffer of size bytes that is released before
// the wait, if there is one, and taken from the pool again after it. It is nil
// when nothing was read.
func (s *socket) readBuf(buf **bufpool.Buf, size int) (int, error) {
	s.lent, s.lentSize = buf, size
	n, err := s.read(nil)
	s.lent = nil
	if n == 0 && *buf != nil {
		s.park(buf)
	}
	return n, err
}

// park releases the buffer of a readBuf.
func (s *socket) park(buf **bufpool.Buf) {
	clear(s.readVec)
	s.readVec, s.readWant = s.readVec[:0], 0
	(*buf).Release()
	*buf = nil
}

// unpark makes room for the next attempt of a readBuf.
func (s *socket) unpark(buf **bufpool.Buf) {
	if *buf == nil {
		*buf = bufpool.Get(s.lentSize)
	}
	var one [1][]byte
	one[0] = (*buf).B
	s.readVec, s.readWant = vecio.Append(s.readVec[:0], one[:])
}

var errHangUp = errors.New("the peer closed the connection")

// readOnce is one attempt; false makes the runtime wait for readiness. The
// clock is read before the system call, so that whatever is read later came
// after the moment that seenEmpty names.
func (s *socket) readOnce(fd uintptr) bool {
	if s.lent != nil {
		s.unpark(s.lent)
	}
	now := time.Now()
	if s.turn.begin(now); s.turn.over(fd, now) {
		s.dried()
		return s.wait(now)
	}
	s.mark(fd, now)
	n, errno := vecio.Read(fd, s.readVec)
	if errno == unix.EAGAIN {
		s.dried()
		n, errno, now = s.spin(fd, now)
	}
	switch {
	case errno == unix.EAGAIN:
		return s.wait(now)
	case errno != 0:
		s.readErr = os.NewSyscallError("readv", errno)
		return true
	case n == 0:
		s.readErr = errHangUp
		return true
	}
	s.readN, s.arrival = n, s.seenEmpty
	if s.took(n); n < s.readWant {
		s.seenEmpty, s.unread = now, 0 // it took all there was
	}
	return true
}

// dried does what was left for when there is nothing to read.
func (s *socket) dried() {
	if s.dry != nil {
		s.dry()
		s.dry = nil
	}
}

// markTime is how old seenEmpty gets before bytes are counted.
const markTime = 10 * time.Millisecond

// mark counts what is there to read if the socket has not been empty for long:
// it never is under a load that the target is the slower end of, and what comes
// then is not old for that. What is left when as many bytes were read came
// after the count.
func (s *socket) mark(fd uintptr, now time.Time) {
	if s.unread > 0 || now.Sub(s.seenEmpty) < markTime {
		return
	}
	if n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ); err == nil && n > 0 {
		s.marked, s.unread = now, n
	}
}

// took notes that n bytes were read.
func (s *socket) took(n int) {
	if s.unread == 0 {
		return
	}
	if s.unread = max(s.unread-n, 0); s.unread == 0 {
		s.seenEmpty = s.marked
	}
}

// wait makes the runtime wait.
func (s *socket) wait(now time.Time) bool {
	s.turn.end(now)
	if s.lent != nil {
		s.park(s.lent)
	}
	return false
}

// write writes from src. With wait it blocks until the socket has taken
// something; without, it returns 0, nil when the socket takes nothing.
func (s *socket) write(src [][]byte, wait bool) (int, error) { return s.out.Write(src, wait) }

// hungUp reports whether the connection is known to be broken or closed by
// the peer, although bytes may still be there to read: the kernel delivers
// them after a reset as well (DESIGN R4 a).
func (s *socket) hungUp() bool {
	up := false
	err := s.raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		up = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return up || err != nil
}

// unacked returns the number of written bytes that the peer's kernel has not
// acknowledged yet.
func (s *socket) unacked() int64 {
	n := 0
	if err := s.raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0
	}
	return int64(n)
}

// wake makes a read that waits, and every later one until the next deadline
// is set, return os.ErrDeadlineExceeded.
func (s *socket) wake() { _ = s.tcp.SetReadDeadline(time.Unix(1, 0)) }

// reset closes the connection abortively: what was not sent is thrown away,
// and the peer gets an RST.
func (s *socket) reset() {
	_ = s.tcp.SetLinger(0)
	_ = s.tcp.Close()
}

// close closes the connection in the orderly way.
func (s *socket) close() { _ = s.tcp.Close() }
