package vecio

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Writer writes vectors to a connection without an allocation. One goroutine at
// a time may use it.
type Writer struct {
	raw syscall.RawConn

	once func(fd uintptr) bool // attempt, made once: a call allocates nothing
	vec  []unix.Iovec
	wait bool
	n    int
	err  error
}

// NewWriter returns a Writer to a connection that does not block.
func NewWriter(raw syscall.RawConn) *Writer {
	w := &Writer{raw: raw}
	w.once = w.attempt
	return w
}

// Write writes from src by one writev(2) that succeeds, and returns how many
// bytes that took. With wait it blocks until the connection takes something, or
// the write deadline passes (os.ErrDeadlineExceeded); without, it returns 0, nil
// when the connection takes nothing.
func (w *Writer) Write(src [][]byte, wait bool) (int, error) {
	w.vec, _ = Append(w.vec[:0], src)
	w.n, w.err, w.wait = 0, nil, wait
	err := w.raw.Write(w.once)
	if err == nil {
		err = w.err
	}
	clear(w.vec)
	return w.n, err
}

// attempt is one system call; false makes the runtime wait for readiness.
func (w *Writer) attempt(fd uintptr) bool {
	n, errno := Write(fd, w.vec)
	switch errno {
	case 0:
		w.n = n
	case unix.EAGAIN:
		return !w.wait
	default:
		w.err = os.NewSyscallError("writev", errno)
	}
	return true
}
