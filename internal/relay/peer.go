package relay

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sango/internal/certs"
	"sango/internal/cluster/model"
	"sango/internal/relay/wire"
)

// Peer is another member of the cluster.
type Peer struct {
	Member model.Member
	Addr   string // host:port of its relay
}

// peer is a member, and the lines to it.
type peer struct {
	node   *Node
	member model.Member
	tokens tokens
	lines  []*line
	over   atomic.Bool // it was a member, and is none any more

	mu     sync.Mutex // guards the fields below; the last one to be taken
	addr   string
	quit   chan struct{} // closed when it is not a member any more; nil: it is not known as one yet
	listed bool
	state  liveness
	heard  time.Time // last sign of life on a first line that is down by now
	first  *conn     // of the first line
}

// liveness is what was told of a peer last.
type liveness uint8

const (
	unknown liveness = iota
	found
	lost
)

func newPeer(n *Node, m model.Member) *peer {
	p := &peer{node: n, member: m}
	for i := range n.cfg.Links {
		p.lines = append(p.lines, newLine(p, i))
	}
	return p
}

// list makes p a member of the view.
func (p *peer) list(addr string) {
	p.mu.Lock()
	if p.listed || p.quit != nil {
		p.addr = addr
		p.mu.Unlock()
		return
	}
	p.listed, p.addr, p.quit, p.heard = true, addr, make(chan struct{}), time.Now()
	p.mu.Unlock()
	for i, l := range p.lines {
		l.mu.Lock()
		if i == 0 || len(l.lanes) > len(l.free) {
			p.node.begin(l)
		}
		l.mu.Unlock()
	}
}

// unlist ends all connections to p, which is over.
func (p *peer) unlist() {
	p.mu.Lock()
	if !p.listed {
		p.mu.Unlock()
		return
	}
	p.listed = false
	p.over.Store(true)
	close(p.quit)
	p.mu.Unlock()
	for _, l := range p.lines {
		l.mu.Lock()
		if l.conn != nil {
			l.conn.endLocked(errPeerGone)
		}
		for _, ln := range l.lanes {
			if ln != nil {
				l.giveBack(ln)
			}
		}
		l.unlock()
	}
}

// begin keeps l up from now on, if its peer is a member. With the lock of l
// held.
func (n *Node) begin(l *line) {
	p := l.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.begun || !p.listed {
		return
	}
	l.begun = true
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		l.run(p.quit)
	}()
}

// tell notes what is known of p now. With p.mu held.
func (p *peer) tell(s liveness) {
	if p.state == s || !p.listed {
		return
	}
	p.state = s
	switch s {
	case found:
		p.node.cfg.PeerFound(p.member)
	case lost:
		p.node.log.Warn("a gateway does not answer", "peer", p.member.String())
		p.node.cfg.PeerLost(p.member)
	}
}

// tick looks whether p was heard of late. excused is how long this process
// stood still.
func (p *peer) tick(now time.Time, excused time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.first; c != nil {
		p.heard = c.lastHeard()
	} else {
		p.heard = p.heard.Add(excused)
	}
	switch {
	case now.Sub(p.heard) > p.node.cfg.Silence:
		p.tell(lost)
	case p.first != nil:
		p.tell(found)
	}
}

// up and down note what becomes of the first line.
func (p *peer) up(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first = c
	p.tell(found)
}

func (p *peer) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = p.first.lastHeard()
	p.first = nil
}

// gone notes that there is no such process any more.
func (p *peer) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == nil {
		p.heard = time.Time{}
		p.tell(lost)
	}
}

// answered notes that p is there, though it takes no link: nobody is to suspect
// it for that.
func (p *peer) answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard = time.Now().Add(lastPause) // when it is asked again
	p.tell(found)
}

// The pauses before a line is called again: none after a connection that
// stood.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// warnAgain is when what stays wrong is told again.
const warnAgain = time.Minute

// run keeps l up until quit.
func (l *line) run(quit <-chan struct{}) {
	pause := time.Duration(0)
	said := ""
	var warned time.Time
	for {
		if pause > 0 {
			t := time.NewTimer(pause)
			select {
			case <-t.C:
			case <-quit:
				t.Stop()
				return
			}
		}
		select {
		case <-quit:
			return
		default:
		}
		began := time.Now()
		stood, err := l.connect(quit)
		r := (*refusedError)(nil)
		switch refused := errors.As(err, &r); {
		case stood || l.index > 0:
		case errors.Is(err, syscall.ECONNREFUSED), refused && r.Reason == wire.ReasonGone:
			l.peer.gone()
		case refused && r.Reason == wire.ReasonVersion:
			l.peer.answered()
		}
		switch {
		case err == nil:
		case l.index == 0 && certs.Refusal(err.Error()):
			if time.Since(warned) >= warnAgain {
				warned = time.Now()
				l.peer.node.log.Warn("a gateway can't be reached because of certificates; 'sango doctor --config FILE' looks at those of this one", "peer", l.peer.member.String(), "address", l.peer.where(), "err", err)
			}
		case err.Error() != said:
			said = err.Error()
			l.peer.node.log.Info("a link to a gateway is down", "peer", l.peer.member.String(), "line", l.index, "err", err)
		}
		if stood {
			said = ""
		}
		if stood && time.Since(began) > lastPause {
			pause = 0
			continue
		}
		pause = min(max(2*pause, firstPause), lastPause)
	}
}

// connect makes a connection and serves it to its end. stood tells that the
// owner welcomed it.
func (l *line) connect(quit <-chan struct{}) (stood bool, err error) {
	p, n := l.peer, l.peer.node
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Handshake)
	defer cancel()
	go func() {
		select {
		case <-quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	raw, err := n.cfg.Dial(ctx, p.where())
	if err != nil {
		return false, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() })
	c, w, err := l.shake(ctx, raw)
	if !unwatch() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return false, err
	}
	cancel()
	n.log.Info("a link to a gateway is up", "peer", p.member.String(), "line", l.index, "version", int(w.Version))
	p.tokens.add(w.Stamp, c.in.now)
	l.up(c, w)
	if l.index == 0 {
		p.up(c)
	}
	select {
	case <-quit: // and nobody saw the connection
		c.end(errPeerGone)
	default:
	}
	c.before = l.uncork
	err = c.serve(func(h wire.Header, body []byte) error { return l.handle(c, h, body) })
	l.uncork()
	c.end(err)
	c.mu.Lock()
	err = c.err
	c.mu.Unlock()
	c.drain()
	if l.index == 0 {
		p.down()
	}
	l.down()
	return true, err
}

// shake says Hello and waits for Welcome.
func (l *line) shake(ctx context.Context, raw net.Conn) (*conn, wire.Welcome, error) {
	n, p := l.peer.node, l.peer
	var w wire.Welcome
	pp, err := n.secure(ctx, raw, p)
	if err != nil {
		return nil, w, err
	}
	c := newConn(pp, &l.mu)
	c.unlock = l.unlock
	hello := wire.Hello{
		Min: wire.MinVersion, Max: wire.MaxVersion, Cluster: n.cfg.Cluster, Line: uint16(l.index),
		From: onWire(n.cfg.Self), To: onWire(p.member),
	}
	c.mu.Lock()
	c.post(&hello)
	c.kick()
	err = c.next(func(h wire.Header, body []byte) (err error) {
		switch h.Type {
		case wire.TypeWelcome:
			w, err = wire.ParseWelcome(body)
			if v, ok := wire.Agree(w.Version, w.Version); err == nil && !ok {
				err = wire.Errorf("it chose version %d", v)
			}
		case wire.TypeRefused:
			var f wire.Refused
			if f, err = wire.ParseRefused(body); err == nil {
				err = refusal(&f)
			}
		default:
			err = wire.Errorf("a %v for an answer to Hello", h.Type)
		}
		return err
	})
	if err != nil {
		c.end(err)
		c.drain()
		return nil, w, err
	}
	c.mu.Lock()
	c.version = w.Version
	c.mu.Unlock()
	return c, w, nil
}

// refusedError is what the peer said when it refused a link.
type refusedError struct {
	Reason wire.Reason
	Text   string
}

// Error implements error.
func (e *refusedError) Error() string { return "the gateway refused the link: " + e.Text }

func refusal(f *wire.Refused) error { return &refusedError{f.Reason, f.Text} }

func onWire(m model.Member) wire.Member {
	return wire.Member{Name: string(m.Gateway), Incarnation: uint64(m.Incarnation)}
}

func fromWire(m wire.Member) model.Member {
	return model.Member{Gateway: model.GatewayID(m.Name), Incarnation: model.Incarnation(m.Incarnation)}
}

// where returns the address of its relay.
func (p *peer) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addr
}
