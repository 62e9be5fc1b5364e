package initiator

import (
	"errors"
	"io"
	"net"
)

// socket moves bytes over a connection.
type socket interface {
	// read waits until there is something to read, and reads it into dst. The
	// end of the stream is ErrHangUp. eager says that something is to come soon.
	read(dst [][]byte, eager bool) (int, error)
	// write writes from src. With wait it blocks until the connection has taken
	// something; without, it returns 0, nil when that would block.
	write(src [][]byte, wait bool) (int, error)
	// share has the reader share the processors with those of other sessions,
	// from now on or no more. The reader calls it.
	share(on bool)
}

// newSocket returns the best socket for c.
func newSocket(c net.Conn) socket {
	if s := newTCPSocket(c); s != nil {
		return s
	}
	return &plainSocket{c}
}

// plainSocket serves any connection with what net.Conn has.
type plainSocket struct{ conn net.Conn }

func (s *plainSocket) read(dst [][]byte, _ bool) (int, error) {
	for _, p := range dst {
		if len(p) == 0 {
			continue
		}
		for {
			n, err := s.conn.Read(p)
			if errors.Is(err, io.EOF) {
				err = ErrHangUp
			}
			if n > 0 {
				return n, nil
			}
			if err != nil {
				return 0, err
			}
		}
	}
	return 0, io.ErrNoProgress
}

func (s *plainSocket) share(bool) {}

func (s *plainSocket) write(src [][]byte, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	for _, p := range src {
		if len(p) > 0 {
			return s.conn.Write(p)
		}
	}
	return 0, nil
}

// armAbort makes the end of c an abortive one, whatever ends it: of a process
// that is killed the kernel closes the connections, and would go on to send
// what is queued in them, for minutes where the network is gone for a while. A
// write would come to the target that way long after the next process has sent
// it again.
func armAbort(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
}

// closeGently closes c when everything was said that had to be.
func closeGently(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(-1)
	}
	_ = c.Close()
}

// closeAbortively closes c so that nothing unsent is sent any more, where c
// can do that.
func closeAbortively(c net.Conn) {
	armAbort(c)
	_ = c.Close()
}
