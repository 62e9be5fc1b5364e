package turns

import (
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/vecio"
)

// vectorsTime is how long a VectorReader goes on without a wait. Go's scheduler looks for
// sockets that became ready only when it has nothing else to run, or every 10 ms:
// so long would others wait for one that always finds something.
const vectorsTime = 200 * time.Microsecond

// VectorReader reads from a connection to vectors without an allocation. One
// goroutine at a time may use it.
type VectorReader struct {
	raw syscall.RawConn

	once  func(fd uintptr) bool // attempt, made once: a call allocates nothing
	poll  func(fd uintptr) bool // the same for peek
	vec   []unix.Iovec
	n     int
	err   error
	began time.Time // of its turn; zero: it waits
}

// NewVectorReader returns a VectorReader of a connection that does not block.
func NewVectorReader(raw syscall.RawConn) *VectorReader {
	r := &VectorReader{raw: raw}
	r.once, r.poll = r.attempt, r.peek
	return r
}

// Read waits until there is something to read, and reads it into dst by one
// readv(2). The end of the stream is io.EOF.
func (r *VectorReader) Read(dst [][]byte) (int, error) { return r.read(dst, r.once) }

// Poll is Read that does not wait: 0, nil tells that nothing is there, or that
// the turn is over.
func (r *VectorReader) Poll(dst [][]byte) (int, error) { return r.read(dst, r.poll) }

func (r *VectorReader) read(dst [][]byte, once func(fd uintptr) bool) (int, error) {
	r.vec, _ = vecio.Append(r.vec[:0], dst)
	r.n, r.err = 0, nil
	err := r.raw.Read(once)
	if err == nil {
		err = r.err
	}
	clear(r.vec)
	return r.n, err
}

// attempt is one system call; false makes the runtime wait for readiness.
func (r *VectorReader) attempt(fd uintptr) bool {
	switch now := time.Now(); {
	case r.began.IsZero():
		r.began = now
	case now.Sub(r.began) > vectorsTime && renew(fd):
		r.began = time.Time{}
		return false
	}
	if !r.take(fd) {
		r.began = time.Time{}
		return false
	}
	return true
}

// peek is one system call, if the turn is not over.
func (r *VectorReader) peek(fd uintptr) bool {
	if time.Since(r.began) <= vectorsTime {
		r.take(fd)
	}
	return true
}

// take reads, and reports whether there was something, be it the end.
func (r *VectorReader) take(fd uintptr) bool {
	n, errno := vecio.Read(fd, r.vec)
	switch {
	case errno == unix.EAGAIN:
		return false
	case errno != 0:
		r.err = os.NewSyscallError("readv", errno)
	case n == 0:
		r.err = io.EOF
	default:
		r.n = n
	}
	return true
}

// HungUp reports whether the connection is known to be broken or closed by the
// peer, although bytes may still be there to read: the kernel delivers them after
// a reset as well.
func HungUp(raw syscall.RawConn) bool {
	up := false
	err := raw.Control(func(fd uintptr) {
		p := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p[:], 0)
		up = err == nil && n > 0 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return up || err != nil
}
