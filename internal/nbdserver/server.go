package nbdserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/turns"
)

// Options say how a Server behaves. The zero value of each field means its
// default.
type Options struct {
	// TLS offers NBD_OPT_STARTTLS with these certificates; nil: no TLS.
	TLS *tls.Config
	// RequireTLS refuses everything but STARTTLS before TLS.
	RequireTLS bool
	// MaxConns is how many connections are served at a time, those of ServeConn
	// not counted; further ones are closed at once. Default 128.
	MaxConns int
	// MaxRequest is the longest read or write in bytes, a power of two from
	// 64 KiB to 64 MiB. Default 32 MiB, which clients assume that do not ask.
	MaxRequest int
	// Depth is how many requests of one connection are under way together.
	// Default 128.
	Depth int
	// ConnMemory is how many bytes of data the requests of one connection hold,
	// at least MaxRequest; it is taken as the data comes. All connections together
	// hold at most MaxConns times as much. Default 64 MiB.
	ConnMemory int64
	// HandshakeTimeout ends a connection that has not chosen its export until
	// then, TLS included. Default 15 s.
	HandshakeTimeout time.Duration
	// StallTimeout ends a connection whose client stops in the middle of a
	// request, or does not take its replies. Idle clients may stay. Default 60 s;
	// negative: never.
	StallTimeout time.Duration
	// Logger gets one line for each connection that ends by an error. Default:
	// slog.Default().
	Logger *slog.Logger
}

const (
	defaultMaxRequest = 32 << 20
	minMaxRequest     = 64 << 10
	maxMaxRequest     = 64 << 20
	maxDepth          = 4096
)

// settle puts defaults in, and moves what is out of range into it.
func (o *Options) settle() {
	if o.MaxConns <= 0 {
		o.MaxConns = 128
	}
	if o.MaxRequest == 0 {
		o.MaxRequest = defaultMaxRequest
	}
	size := minMaxRequest
	for size*2 <= min(o.MaxRequest, maxMaxRequest) {
		size *= 2
	}
	o.MaxRequest = size
	if o.Depth <= 0 {
		o.Depth = 128
	}
	o.Depth = min(o.Depth, maxDepth)
	if o.ConnMemory == 0 {
		o.ConnMemory = 64 << 20
	}
	o.ConnMemory = max(o.ConnMemory, int64(o.MaxRequest))
	if o.HandshakeTimeout <= 0 {
		o.HandshakeTimeout = 15 * time.Second
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.TLS != nil && o.TLS.MinVersion == 0 {
		o.TLS = o.TLS.Clone()
		o.TLS.MinVersion = tls.VersionTLS12
	}
}

// ErrClosed is returned by Serve and ServeConn after Close.
var ErrClosed = errors.New("nbdserver: server closed")

// Server serves exports. Its methods may be called from any goroutine.
type Server struct {
	opt    Options
	closed chan struct{} // closed by Close
	wg     sync.WaitGroup

	readers *turns.Readers
	serving atomic.Int32 // connections in the transmission phase

	mu        sync.Mutex // guards what follows
	closing   bool
	exports   map[string]*export
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	accepted  int // of conns: those of Serve
}

// New returns a server without exports. Options out of their range are moved
// into it.
func New(o Options) *Server {
	o.settle()
	return &Server{
		opt: o, closed: make(chan struct{}), readers: turns.NewReaders(runtime.GOMAXPROCS(0)),
		exports: map[string]*export{}, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{},
	}
}

// Serve accepts connections of l, a unix or TCP listener, until Close
// (ErrClosed) or an error that lasts. It closes l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if s.opt.RequireTLS && s.opt.TLS == nil {
		return errors.New("nbdserver: TLS is required, but there is no certificate: set one")
	}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for failures := 0; ; {
		nc, err := l.Accept()
		if err == nil {
			failures = 0
			s.accept(nc)
			continue
		}
		if s.isClosing() {
			return ErrClosed
		}
		// Short of file descriptors, say: that passes.
		if failures++; errors.Is(err, net.ErrClosed) || failures > 20 {
			return fmt.Errorf("nbdserver: %w", err)
		}
		s.opt.Logger.Warn("no NBD connection could be accepted", "address", l.Addr(), "err", err)
		if !s.pause(100 * time.Millisecond) {
			return ErrClosed
		}
	}
}

// pause waits for d, or returns false at Close.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closed:
		return false
	}
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// accept starts a goroutine for a new connection.
func (s *Server) accept(nc net.Conn) {
	if u, ok := nc.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(sendBuffer)
	}
	c := newConn(s, nc)
	s.mu.Lock()
	full := s.accepted >= s.opt.MaxConns
	if full || s.closing {
		s.mu.Unlock()
		if full {
			s.opt.Logger.Warn("an NBD connection was refused: too many", "peer", nc.RemoteAddr().String(), "limit", s.opt.MaxConns)
		}
		_ = nc.Close()
		return
	}
	s.accepted++
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		err := c.handshake()
		if err == nil && c.export != nil {
			err = c.transmit()
		}
		_ = c.nc.Close()
		if err != nil {
			s.opt.Logger.Warn("an NBD connection ended", "peer", nc.RemoteAddr().String(), "export", c.name, "err", err)
		}
		s.mu.Lock()
		s.accepted--
		s.forget(c)
		s.mu.Unlock()
	}()
}

// forget takes c out of the books. The caller holds s.mu.
func (s *Server) forget(c *conn) {
	delete(s.conns, c)
	if c.export != nil {
		delete(c.export.conns, c)
	}
	close(c.gone)
}

// ServeConn serves the transmission phase on nc, without a handshake and with
// simple replies, until the client disconnects (nil), Close or Remove (nil too)
// or something fails. It closes nc. It is for the kernel's NBD driver, whose
// netlink interface takes connected sockets together with the Size and Flags of
// Export. The peer is trusted: StallTimeout does not apply.
func (s *Server) ServeConn(nc net.Conn, export string) error {
	c := newConn(s, nc)
	c.stall = -1
	defer nc.Close()
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	if err := s.join(c, export); err != nil {
		s.mu.Unlock()
		return err
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	err := c.transmit()
	_ = nc.Close()
	s.mu.Lock()
	s.forget(c)
	s.mu.Unlock()
	return err
}

// Close ends the server: it closes the listeners, answers new requests with
// ESHUTDOWN, waits for those under way and closes the connections. When ctx ends
// before that, the connections are cut and its error is returned; requests that
// a device still holds end when the device ends them.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.closed)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	if err := shut(ctx, conns); err != nil {
		return err
	}
	s.wg.Wait()
	return nil
}

// shut ends connections as Close and Remove do.
func shut(ctx context.Context, conns []*conn) error {
	for _, c := range conns {
		c.shut()
	}
	for _, c := range conns {
		select {
		case <-c.gone:
		case <-ctx.Done():
			for _, c := range conns {
				c.cut()
			}
			return fmt.Errorf("nbdserver: not all connections have drained: %w", ctx.Err())
		}
	}
	return nil
}
