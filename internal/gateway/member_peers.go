package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/pause"
	"sango/internal/relay"
	"sango/internal/san"
)

// manageListener returns what other gateways connect to for management, with
// proof of who they are.
func (m *member) manageListener() net.Listener {
	if m.tls == nil {
		return m.managed
	}
	return tls.NewListener(m.managed, relay.ServerTLS(m.tls))
}

// dial connects to the management of another gateway.
func (m *member) dial(ctx context.Context, gateway string) (net.Conn, error) {
	addr := m.n.view.manageOf(gateway)
	if addr == "" {
		return nil, san.Errorf(san.ErrUnavailable, "gateway %s has not told where it can be managed", gateway)
	}
	var d net.Dialer
	if m.tls == nil {
		return d.DialContext(ctx, "tcp", addr)
	}
	t := tls.Dialer{NetDialer: &d, Config: relay.ClientTLS(m.tls, gateway, addr)}
	return t.DialContext(ctx, "tcp", addr)
}

// accept takes the calls of other gateways.
func (m *member) accept() error {
	for {
		c, err := m.relayed.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		m.n.running.Go(func() { m.letIn(c) })
	}
}

// letIn hands a call to the relay, which may not be there yet: others know of a
// member as soon as it does itself.
func (m *member) letIn(c net.Conn) {
	for range letInTries {
		m.mu.Lock()
		to := m.inlet
		m.mu.Unlock()
		if to != nil {
			to.give(c)
			return
		}
		if !pause.For(m.n.run, letInAgain) {
			break
		}
	}
	c.Close()
}

const (
	letInTries = 50
	letInAgain = 20 * time.Millisecond
)

// owner answers the questions of the relay.
type owner struct{ m *member }

var _ relay.Owner = owner{}

// Known implements relay.Owner.
func (o owner) Known(who model.Member) (alive, over bool) {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	for _, g := range o.m.gateways {
		if g.ID == who.Gateway {
			same := g.Incarnation == who.Incarnation
			return same && g.Life == model.Alive, g.Incarnation > who.Incarnation || same && g.Life != model.Alive
		}
	}
	return false, false
}

// Port implements relay.Owner.
func (o owner) Port(g model.GatewayID, p san.TargetPort) bool {
	o.m.mu.Lock()
	defer o.m.mu.Unlock()
	for _, x := range o.m.gateways {
		if x.ID == g {
			return o.m.portsOf(x.Member())(p.TPG)
		}
	}
	return o.m.portsOf(model.Member{Gateway: g})(p.TPG)
}

// Unit implements relay.Owner.
func (o owner) Unit(v san.UUID) relay.Unit {
	if u := o.m.n.view.mapped(v); u != nil {
		return relay.For(u)
	}
	return nil
}

// inlet is a listener that is given its connections.
type inlet struct {
	net.Listener
	conns   chan net.Conn
	once    sync.Once
	closing chan struct{}
}

func newInlet(l net.Listener) *inlet {
	return &inlet{Listener: l, conns: make(chan net.Conn), closing: make(chan struct{})}
}

// give hands a connection over, or closes it.
func (l *inlet) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closing:
		c.Close()
	}
}

// Accept implements net.Listener.
func (l *inlet) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closing:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: the one behind it stays open.
func (l *inlet) Close() error {
	l.once.Do(func() { close(l.closing) })
	return nil
}
