package relay

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sango/internal/turns"
	"sango/internal/vecio"
)

// pipe moves bytes over a connection. Its read half belongs to the reader, its
// write half to the holder of the sending token; kill is anybody's.
type pipe interface {
	// read waits until there is something to read, and reads it into dst.
	read(dst [][]byte) (int, error)
	// poll is read that does not wait: 0, nil tells that nothing is there, or
	// that it can't be told.
	poll(dst [][]byte) (int, error)
	// write takes bytes from src. With wait it blocks until it has taken
	// something; without, it returns 0, nil when that would block.
	write(src [][]byte, wait bool) (int, error)
	// flush sends what write took, and reports whether all of it is on its way.
	flush(wait bool) (bool, error)
	// farewell has kill let go out what was sent, for once.
	farewell()
	// hungUp reports whether the peer is known to be gone, although bytes may
	// still be there to read.
	hungUp() bool
	// kill ends the connection abortively: nothing that was taken and not sent
	// goes out any more.
	kill()
}

// stallTime is how long a write may wait for a peer that reads nothing.
const stallTime = 5 * time.Second

// newPipe returns the best pipe for c, whose handshake is over if it has one.
func newPipe(c net.Conn) (pipe, error) {
	switch c := c.(type) {
	case *net.TCPConn:
		return newTCPPipe(c)
	case *sealed:
		return c.pipe, nil
	}
	return &plainPipe{conn: c}, nil
}

// tcpPipe is a TCP connection.
type tcpPipe struct {
	tcp *net.TCPConn
	raw syscall.RawConn
	in  *turns.VectorReader
	out *vecio.Writer
}

// newTCPPipe makes the end of c an abortive one, whatever ends it: of a process
// that is killed the kernel closes the connections, and would go on to send what
// is queued in them. A write would come to the owner that way long after its
// host has sent it again elsewhere (DESIGN R4).
func newTCPPipe(c *net.TCPConn) (*tcpPipe, error) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(c.SetNoDelay(true), c.SetLinger(0))
		vecio.Unpace(c, raw)
	}
	return &tcpPipe{tcp: c, raw: raw, in: turns.NewVectorReader(raw), out: vecio.NewWriter(raw)}, err
}

func (p *tcpPipe) read(dst [][]byte) (int, error) { return p.in.Read(dst) }
func (p *tcpPipe) poll(dst [][]byte) (int, error) { return p.in.Poll(dst) }

func (p *tcpPipe) write(src [][]byte, wait bool) (int, error) {
	if wait {
		_ = p.tcp.SetWriteDeadline(time.Now().Add(stallTime))
		defer p.tcp.SetWriteDeadline(time.Time{}) //nolint:errcheck // as above; one that has passed would end the next write that does not wait
	}
	n, err := p.out.Write(src, wait)
	return n, stalled(err)
}

// stalled says what a passed deadline means.
func stalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return err
}

func (p *tcpPipe) flush(bool) (bool, error) { return true, nil }
func (p *tcpPipe) hungUp() bool             { return turns.HungUp(p.raw) }
func (p *tcpPipe) kill()                    { _ = p.tcp.Close() }

// tlsPipe is TLS over TCP. Its records are made in memory, so that sending them
// need not block.
type tlsPipe struct {
	tls  *tls.Conn
	tcp  *tcpPipe
	part []byte // of a record: what is too short to be one of its own

	mu  sync.Mutex // guards out: the reader may answer a change of keys
	out []byte     // records that were made
	at  int        // out before this was sent
	vec [1][]byte
}

// The most plain text of one record, and how much is made into records at a
// time, in bytes.
const (
	recordMax = 16 << 10
	sealMax   = 256 << 10
)

// sealed is a TLS connection as newPipe takes it, and the connection below it
// that TLS sees.
type sealed struct {
	*net.TCPConn
	pipe *tlsPipe
	// direct: the handshake writes to the connection itself.
	direct bool
	// TLS reads piece by piece, and little more than a record: what came besides
	// is in ahead[r:w].
	ahead []byte
	r, w  int
	vec   [2][]byte
}

// aheadSize is how much is read ahead of TLS, in bytes.
const aheadSize = 256 << 10

// newSealed prepares TLS over c; wrap is tls.Client or tls.Server.
func newSealed(c *net.TCPConn, cfg *tls.Config, wrap func(net.Conn, *tls.Config) *tls.Conn) (*sealed, error) {
	t, err := newTCPPipe(c)
	if err != nil {
		return nil, err
	}
	s := &sealed{TCPConn: c, direct: true, ahead: make([]byte, aheadSize)}
	s.pipe = &tlsPipe{tcp: t, part: make([]byte, 0, recordMax)}
	s.pipe.tls = wrap(s, cfg)
	return s, nil
}

// Read implements net.Conn, for TLS.
func (s *sealed) Read(b []byte) (int, error) {
	if s.r == s.w {
		s.r, s.w = 0, 0
		s.vec[0], s.vec[1] = b, s.ahead
		n, err := s.pipe.tcp.read(s.vec[:])
		s.vec[0] = nil
		s.w = max(n-len(b), 0)
		return min(n, len(b)), err
	}
	n := copy(b, s.ahead[s.r:s.w])
	s.r += n
	return n, nil
}

// Write implements net.Conn, for TLS.
func (s *sealed) Write(b []byte) (int, error) {
	if s.direct {
		return s.TCPConn.Write(b)
	}
	p := s.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	p.out = append(p.out, b...)
	return len(b), nil
}

// poll can't tell: TLS takes no for the end of the connection.
func (p *tlsPipe) poll([][]byte) (int, error) { return 0, nil }

func (p *tlsPipe) read(dst [][]byte) (n int, err error) {
	for _, b := range dst {
		if len(b) == 0 {
			continue
		}
		return p.tls.Read(b)
	}
	return 0, io.ErrNoProgress
}

func (p *tlsPipe) write(src [][]byte, wait bool) (n int, err error) {
	if sent, err := p.flush(wait); err != nil || !sent {
		return 0, err
	}
	for _, b := range src {
		if n >= sealMax {
			break
		}
		b = b[:min(len(b), sealMax-n)]
		n += len(b)
		for len(b) > 0 && err == nil {
			if len(p.part) == 0 && len(b) >= recordMax {
				whole := len(b) / recordMax * recordMax
				_, err = p.tls.Write(b[:whole])
				b = b[whole:]
				continue
			}
			m := min(len(b), recordMax-len(p.part))
			p.part = append(p.part, b[:m]...)
			if b = b[m:]; len(p.part) == recordMax {
				err = p.seal()
			}
		}
	}
	if err == nil {
		err = p.seal()
	}
	if err != nil {
		return 0, err
	}
	_, err = p.flush(false)
	return n, err
}

func (p *tlsPipe) seal() error {
	if len(p.part) == 0 {
		return nil
	}
	_, err := p.tls.Write(p.part)
	p.part = p.part[:0]
	return err
}

func (p *tlsPipe) flush(wait bool) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.at < len(p.out) {
		p.vec[0] = p.out[p.at:]
		n, err := p.tcp.write(p.vec[:], wait)
		p.vec[0] = nil
		if err != nil || n == 0 {
			return false, err
		}
		p.at += n
	}
	p.out, p.at = p.out[:0], 0
	return true, nil
}

func (p *tlsPipe) hungUp() bool { return p.tcp.hungUp() }
func (p *tlsPipe) kill()        { p.tcp.kill() }

// plainPipe serves any connection with what net.Conn has.
type plainPipe struct{ conn net.Conn }

func (p *plainPipe) poll([][]byte) (int, error) { return 0, nil }

func (p *plainPipe) read(dst [][]byte) (int, error) {
	for _, b := range dst {
		if len(b) > 0 {
			return p.conn.Read(b)
		}
	}
	return 0, io.ErrNoProgress
}

func (p *plainPipe) write(src [][]byte, wait bool) (int, error) {
	if !wait {
		return 0, nil
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(stallTime))
	for _, b := range src {
		if len(b) > 0 {
			n, err := p.conn.Write(b)
			return n, stalled(err)
		}
	}
	return 0, nil
}

func (p *plainPipe) flush(bool) (bool, error) { return true, nil }
func (p *plainPipe) hungUp() bool             { return false }
func (p *plainPipe) kill()                    { _ = p.conn.Close() }

func (p *tcpPipe) farewell()   { _ = p.tcp.SetLinger(-1) }
func (p *tlsPipe) farewell()   { p.tcp.farewell() }
func (p *plainPipe) farewell() {}
