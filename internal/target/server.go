package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sango/internal/iscsi"
	"sango/internal/san"
	"sango/internal/turns"
)

// Server serves iSCSI on any number of portals. Its methods may be called from
// any goroutine.
type Server struct {
	cfg        Config
	dir        Directory
	log        *slog.Logger
	challenger *iscsi.Challenger
	reg        *registry
	memory     budget
	readers    *turns.Readers
	closing    chan struct{} // closed by Close
	running    sync.WaitGroup
	noise      rate.Sometimes // keeps peers from flooding the log

	mu        sync.Mutex // guards the fields below
	closed    bool
	listeners map[net.Listener]bool
	conns     map[*conn]bool     // true: the login is over
	logins    int                // connections that log in, and discovery sessions, which may have proved nothing
	perAddr   map[netip.Addr]int // logins by address
	changed   chan struct{}      // closed and replaced when a connection is gone
	totals    Totals
}

// refusalReserve is the number of connections past Config.Connections that
// are accepted to be told, with a login status, that there are too many.
const refusalReserve = 32

// New returns a server that serves what d knows.
func New(cfg Config, d Directory) (*Server, error) {
	cfg, err := cfg.Complete()
	if err != nil {
		return nil, err
	}
	return &Server{
		cfg: cfg, dir: d, log: cfg.Logger, challenger: iscsi.NewChallenger(),
		reg: newRegistry(cfg.SessionsPerHost, cfg.HostMemory), memory: budget{limit: cfg.Memory},
		closing: make(chan struct{}), readers: newReaders(),
		noise:     rate.Sometimes{First: 16, Interval: time.Second},
		listeners: make(map[net.Listener]bool), conns: make(map[*conn]bool),
		perAddr: make(map[netip.Addr]int), changed: make(chan struct{}),
	}, nil
}

// Serve accepts connections from l, a TCP listener, as the portal whose portal
// group tag is tpg, until Close; then it returns nil. It closes l.
func (s *Server) Serve(l net.Listener, tpg san.TPG) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = true
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	defer func() {
		l.Close()
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			select {
			case <-s.closing:
				return nil
			default:
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("portal %v: %w", l.Addr(), err)
			}
			// Out of file handles, or a connection that is gone already: go on.
			s.noise.Do(func() {
				s.log.Warn("a connection could not be accepted; raise the limit of open files if this goes on", "portal", l.Addr().String(), "err", err)
			})
			select {
			case <-time.After(acceptPause):
			case <-s.closing:
				return nil
			}
			continue
		}
		tcp, ok := nc.(*net.TCPConn)
		if !ok {
			nc.Close()
			return fmt.Errorf("portal %v: connections are %T, only TCP is served", l.Addr(), nc)
		}
		s.start(tcp, tpg)
	}
}

// acceptPause is the time between attempts to accept after a failure.
const acceptPause = 100 * time.Millisecond

// start makes a connection of tcp, or refuses it.
func (s *Server) start(tcp *net.TCPConn, tpg san.TPG) {
	peer, err := netip.ParseAddrPort(tcp.RemoteAddr().String())
	if err != nil { // it is gone
		tcp.Close()
		return
	}
	peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port())
	sock, err := newSocket(tcp, s.readers)
	if err != nil {
		s.log.Debug("a connection was lost at once", "peer", peer.String(), "err", err)
		tcp.Close()
		return
	}
	c := newConn(s, sock, tpg, peer)
	s.mu.Lock()
	full := s.closed || len(s.conns) >= s.cfg.Connections+refusalReserve ||
		s.logins >= s.cfg.Logins || s.perAddr[peer.Addr()] >= s.cfg.LoginsPerAddress
	if !full {
		if len(s.conns) >= s.cfg.Connections {
			c.refusal = iscsi.LoginOutOfResources
		}
		s.conns[c] = false
		s.logins++
		s.perAddr[peer.Addr()]++
		s.totals.Connections++
		s.running.Add(1)
	} else {
		s.totals.Refused++
	}
	s.mu.Unlock()
	if full {
		s.noise.Do(func() {
			s.log.Warn("a connection was refused: there are too many of them, or too many that do not log in", "peer", peer.String())
		})
		sock.reset()
		return
	}
	go func() {
		defer s.running.Done()
		c.run()
	}()
}

// established notes that c has finished its login.
func (s *Server) established(c *conn, user string) {
	c.mu.Lock()
	c.info = c.describe()
	c.info.User = user
	info := c.info
	c.mu.Unlock()
	s.mu.Lock()
	s.conns[c] = true
	if !c.identity.Discovery {
		s.loginOver(c)
	}
	s.totals.Logins++
	s.mu.Unlock()
	c.log.Info("session opened", "tsih", c.tsih, "isid", info.ISID, "host", info.Host, "user", user, "discovery", info.Discovery)
}

// loginOver counts c out of those that log in, with s.mu held.
func (s *Server) loginOver(c *conn) {
	s.logins--
	a := c.peer.Addr()
	if s.perAddr[a]--; s.perAddr[a] == 0 {
		delete(s.perAddr, a)
	}
}

// gone forgets c, of which nothing is left.
func (s *Server) gone(c *conn, err error) {
	s.reg.remove(c)
	s.mu.Lock()
	session := s.conns[c]
	if !session {
		s.totals.FailedLogins++
	}
	if !session || c.identity.Discovery {
		s.loginOver(c)
	}
	delete(s.conns, c)
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	switch {
	case session:
		c.log.Info("session closed", "tsih", c.tsih, "reason", err)
	case errors.Is(err, errSentOn):
		c.log.Info("a login was not taken", "reason", err)
	case errors.Is(err, errLoginFailed):
		s.noise.Do(func() { c.log.Warn("a login failed", "reason", err) })
	default: // port scans and health checks look like this
		c.log.Debug("connection closed before the end of its login", "reason", err)
	}
}

// Sessions returns what the sessions of the server are doing, in no
// particular order.
func (s *Server) Sessions() []SessionInfo {
	var out []SessionInfo
	for _, c := range s.all(true) {
		out = append(out, c.snapshot())
	}
	return out
}

// Totals returns what the server has counted since it began.
func (s *Server) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.totals
	t.Memory = s.memory.used.Load()
	return t
}

// all returns the connections, or only those whose login is over.
func (s *Server) all(sessions bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c, over := range s.conns {
		if over || !sessions {
			out = append(out, c)
		}
	}
	return out
}

// Drop ends the sessions for which match holds, after their initiators were
// told so, and returns when they are gone or ctx is done. reason is for the
// log. Logins under way are asked about too, since the Directory may have
// granted them what it would refuse now: match gets what is known of them,
// SessionInfo.Login set.
func (s *Server) Drop(ctx context.Context, match func(SessionInfo) bool, reason string) error {
	return s.Dismiss(match, reason)(ctx)
}

// Dismiss is Drop, and leaves the wait to its caller: gone returns when the
// sessions are gone or ctx is done.
func (s *Server) Dismiss(match func(SessionInfo) bool, reason string) (gone func(ctx context.Context) error) {
	var dropped []*conn
	for _, c := range s.all(false) {
		if i := c.snapshot(); i.Initiator != "" && match(i) {
			c.Drop(reason)
			dropped = append(dropped, c)
		}
	}
	return func(ctx context.Context) error {
		for _, c := range dropped {
			select {
			case <-c.done:
			case <-ctx.Done():
				return fmt.Errorf("session of %s: its tasks have not ended yet: %w", c.snapshot().Initiator, ctx.Err())
			}
		}
		return nil
	}
}

// Drain sends new sessions on to where the Directory says (Redirector; login
// status 0101h), or refuses them with login status 0301h. It asks the initiators
// to log out (asynchronous message 1), and drops those that did not within
// Config.DrainTime. It returns when none of these is left, or ctx is done. The
// portals stay open, and discovery is answered; Undrain takes sessions again.
func (s *Server) Drain(ctx context.Context) error {
	s.reg.refuse(draining, true)
	for _, c := range s.all(true) {
		if c.identity.Discovery {
			c.end(errShutdown, true)
		} else {
			c.askLogout(s.cfg.DrainTime)
		}
	}
	grace := time.NewTimer(s.cfg.DrainTime)
	defer grace.Stop()
	for {
		s.mu.Lock()
		changed := s.changed
		left := 0
		for c, over := range s.conns {
			if over && !c.identity.Discovery {
				left++
			}
		}
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-grace.C:
			for _, c := range s.all(true) {
				c.Drop("drained")
			}
		case <-ctx.Done():
			return fmt.Errorf("%d sessions are left: %w", left, ctx.Err())
		}
	}
}

// AskLogout asks the initiators of the sessions for which match holds to log out
// (asynchronous message 1), and returns how many there are. They may log in
// again, here too: those that another gateway sent here while it drained go back
// there. Nothing happens to one that stays.
func (s *Server) AskLogout(match func(SessionInfo) bool) (n int) {
	for _, c := range s.all(true) {
		if i := c.snapshot(); !i.Discovery && match(i) {
			c.askLogout(s.cfg.DrainTime)
			n++
		}
	}
	return n
}

// Undrain ends what Drain began.
func (s *Server) Undrain() { s.reg.refuse(draining, false) }

// errSuspended ends sessions that must not be answered any more.
var errSuspended = errors.New("this gateway has no right to serve now")

// Suspend resets all sessions, so that not even answers that are queued go
// out, and refuses new ones with login status 0301h until Resume: a gateway
// without the right to serve answers nobody (DESIGN R3). It does not wait for
// their tasks.
func (s *Server) Suspend() {
	s.reg.refuse(suspended, true)
	for _, c := range s.all(false) {
		c.end(errSuspended, false)
	}
}

// Resume ends what Suspend began.
func (s *Server) Resume() { s.reg.refuse(suspended, false) }

// Close closes the portals and resets all connections, and returns when none
// of their tasks can touch a medium any more.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
		for l := range s.listeners {
			l.Close()
		}
	}
	s.mu.Unlock()
	for _, c := range s.all(false) {
		c.end(errShutdown, false)
	}
	s.running.Wait()
	return nil
}
