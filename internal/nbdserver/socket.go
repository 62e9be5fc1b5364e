package nbdserver

import (
	"bufio"
	"crypto/tls"
	"net"
)

// socket moves the bytes of the transmission phase. Its read half belongs to
// the reader, its write half to the holder of output.mu. Deadlines are those of
// the connection.
type socket interface {
	// read reads into dst. Where nothing is there it waits, or returns 0 and nil
	// without wait. The end of the stream is io.EOF.
	read(dst [][]byte, wait bool) (int, error)
	// write writes from src, which is not empty, and returns when something was
	// taken; without wait it may return 0 and nil.
	write(src [][]byte, wait bool) (int, error)
}

// newSocket returns the best socket for nc.
func newSocket(nc net.Conn, t *turn) socket {
	if s := newRawSocket(nc, t); s != nil {
		return s
	}
	p := &plainSocket{nc: nc}
	if _, ok := nc.(*tls.Conn); ok {
		p.w = bufio.NewWriterSize(nc, inputSize)
	}
	return p
}

// plainSocket serves any connection with what net.Conn has.
type plainSocket struct {
	nc net.Conn
	w  *bufio.Writer // for TLS, which makes a record of each write
}

func (s *plainSocket) read(dst [][]byte, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	return s.nc.Read(dst[0])
}

func (s *plainSocket) write(src [][]byte, wait bool) (int, error) {
	switch {
	case !wait:
		return 0, nil
	case s.w == nil:
		return s.nc.Write(src[0])
	}
	n, err := s.w.Write(src[0])
	if err == nil && len(src) == 1 {
		err = s.w.Flush()
	}
	return n, err
}
