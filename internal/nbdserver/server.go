package nbdserver

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"sango/internal/block"
	"sango/internal/nbd"
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
	// at least MaxRequest. Default 64 MiB.
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

// ExportOptions say how a device is exported.
type ExportOptions struct {
	Description string // for people; at most 4096 bytes of UTF-8
	ReadOnly    bool   // refuse changes, whatever the device allows
	Default     bool   // clients that name no export get this one
}

// Export is what a client is told of an export.
type Export struct {
	Name        string
	Description string
	Size        int64                 // bytes
	MinBlock    int                   // bytes: requests are multiples of it
	Preferred   int                   // bytes
	MaxRequest  int                   // bytes: the longest read or write
	Flags       nbd.TransmissionFlags // FlagSendDF is added where structured replies were negotiated
	Connections int                   // served now
}

// ErrClosed is returned by Serve and ServeConn after Close.
var ErrClosed = errors.New("nbdserver: server closed")

// Server serves exports. Its methods may be called from any goroutine.
type Server struct {
	opt Options
}

// New returns a server without exports. Options out of their range are moved into it.
func New(o Options) *Server { return &Server{opt: o} }

// Add exports dev under name: at most 4096 bytes of UTF-8 without NUL; "" is
// the default export. The server does not close dev.
func (s *Server) Add(name string, dev block.Device, o ExportOptions) error { return ErrClosed }

// Remove takes an export away: new requests of its clients are answered with
// ESHUTDOWN, those under way are waited for, then the connections are closed.
// When ctx ends before that, the connections are cut, and its error returned.
func (s *Server) Remove(ctx context.Context, name string) error { return ErrClosed }

// Export describes the export with this name.
func (s *Server) Export(name string) (Export, error) { return Export{}, ErrClosed }

// Exports describes all exports, in the order of their names.
func (s *Server) Exports() []Export { return nil }

// Resized tells the server that the device of an export has another size now.
// Requests within the new size are served from then on. NBD has no message for
// it: Resized returns how many connections were told another size; they see the
// new one when they connect again.
func (s *Server) Resized(name string) (stale int, err error) { return 0, ErrClosed }

// Serve accepts connections of l, a unix or TCP listener, until Close or an
// error that lasts. It closes l.
func (s *Server) Serve(l net.Listener) error { return ErrClosed }

// ServeConn serves the transmission phase on conn, without a handshake and with
// simple replies, until the client disconnects (nil) or something fails. It
// closes conn. It is for the kernel's NBD driver, whose netlink interface takes
// connected sockets together with the Size and Flags of Export.
func (s *Server) ServeConn(conn net.Conn, export string) error { return ErrClosed }

// Close ends the server: it closes the listeners, answers new requests with
// ESHUTDOWN, waits for those under way and closes the connections. When ctx ends
// before that, the connections are cut and its error is returned; requests that
// a device still holds end when the device ends them.
func (s *Server) Close(ctx context.Context) error { return nil }
