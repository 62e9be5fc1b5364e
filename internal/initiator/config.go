package initiator

import (
	"context"
	"log/slog"
	"net"
	"time"

	"sango/internal/iscsi"
	"sango/internal/san"
)

// Defaults and bounds of a Config.
const (
	DefaultLoginTimeout  = 15 * time.Second
	DefaultPingInterval  = 5 * time.Second
	DefaultPingTimeout   = 5 * time.Second
	DefaultManageTimeout = 15 * time.Second
	DefaultQueueDepth    = 128
	MaxQueueDepth        = 4096
)

// Config says how to log in. Only Initiator and Portal, and Target for Login,
// have no default.
type Config struct {
	Initiator  san.InitiatorPort // name and ISID; see NewISID
	Alias      string            // InitiatorAlias, if not empty
	Target     string            // the target's iSCSI name
	Portal     string            // host:port; :3260 is added where it is missing
	CHAP       *san.CHAP         // nil: no authentication
	Algorithms []iscsi.CHAPAlgorithm
	Offers     *iscsi.Offers // nil: iscsi.DefaultOffers
	Instance   san.Instance  // zero: none is named

	// LoginTimeout is how long connecting and logging in may take in all.
	LoginTimeout time.Duration
	// PingInterval is how long a session may be silent before the target is
	// pinged with a NOP-Out, PingTimeout how long it may go on being silent
	// after that before the session ends with ErrNoAnswer. A negative interval
	// is no pings.
	PingInterval, PingTimeout time.Duration
	// ManageTimeout is how long a task management request may wait for its
	// answer before the session ends with ErrNoAnswer; 0: 15 s.
	ManageTimeout time.Duration
	// QueueDepth is how many commands may be with the target at a time; more
	// wait in the session, and what the target's command window does not let in
	// does so as well. At most MaxQueueDepth.
	QueueDepth int

	// Follow tells whether a login that the target sends on is to follow to portal,
	// host:port; nil: it is. What is not followed is a failed login.
	Follow func(portal string) bool
	// Dial connects to a portal; nil: a net.Dialer with TCP_NODELAY. The
	// connection may be any net.Conn.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Trace is called with each PDU that is sent or received, in their order on
	// the connection in each direction, from several goroutines. It must not
	// keep what it is given. It slows a session down: data is gathered for it.
	Trace func(Traced)
	// Logger gets what matters about the session; nil: nothing.
	Logger *slog.Logger
	// Lost is called once when a session that was logged in has ended, after
	// its last Done, with the reason, ErrClosed after Logout. It must not block.
	Lost func(*Session, error)
	// Event is called with each Asynchronous Message of the target; sense is
	// that of AsyncSCSI, and not to be kept. It must not block. What the
	// session itself has to do about it, it does by itself.
	Event func(s *Session, a iscsi.Async, sense []byte)
}

// Traced is one PDU as Config.Trace sees it.
type Traced struct {
	Sent          bool   // by the initiator
	PDU           []byte // as on the wire, with digests
	Local, Remote net.Addr
}
