package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"sango/internal/certs"
	"sango/internal/cluster/model"
	"sango/internal/relay/wire"
	"sango/internal/san"
)

// inbound is a link that another gateway opened: the owner's half.
type inbound struct {
	node   *Node
	member model.Member
	line   uint16
	conn   *conn
	wg     sync.WaitGroup // goroutines of it; they are added with the lock held

	mu      sync.Mutex // guards all that follows, remotes and tasks
	remotes []*remote  // by handle
	tasks   []*task    // by tag
	out     int        // of them
	bytes   int64      // their cost
	manages int        // outstanding requests
	fences  int
	tells   map[uint32]tell
	lastID  uint32
	beaten  time.Time
}

// inboundKey names a link; there is one of a name.
type inboundKey struct {
	member model.Member
	line   uint16
}

// tell is something that a front has not acknowledged.
type tell struct {
	to    *remote
	acked func()
}

// maxShaking bounds the connections whose peer has not said who it is.
const maxShaking = 64

// Serve takes calls of other gateways until l or the node is closed.
func (n *Node) Serve(l net.Listener) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errClosed
	}
	n.listeners[l] = true
	n.wg.Add(1)
	n.mu.Unlock()
	defer n.wg.Done()
	for {
		raw, err := l.Accept()
		if err != nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			delete(n.listeners, l)
			if n.closed {
				return nil
			}
			return fmt.Errorf("relay: accept: %w", err)
		}
		n.accept(raw)
	}
}

// accept serves one connection by a goroutine.
func (n *Node) accept(raw net.Conn) {
	n.mu.Lock()
	ok := !n.closed && n.shaking < maxShaking
	if ok {
		n.shaking++
		n.wg.Add(1)
	}
	n.mu.Unlock()
	if !ok {
		_ = raw.Close()
		return
	}
	go func() {
		defer n.wg.Done()
		in, err := n.welcome(raw)
		n.mu.Lock()
		n.shaking--
		n.mu.Unlock()
		if err != nil {
			_ = raw.Close()
			n.refused(raw.RemoteAddr(), err)
			return
		}
		in.run()
	}()
}

// refused tells of a caller that was not let in: of certificates that do not fit
// as a warning, once a minute.
func (n *Node) refused(from net.Addr, err error) {
	if certs.Refusal(err.Error()) {
		n.mu.Lock()
		again := time.Since(n.warned) >= warnAgain
		if again {
			n.warned = time.Now()
		}
		n.mu.Unlock()
		if again {
			n.log.Warn("a gateway was refused because of certificates; look at those of the machine that calls, and at the authorities that are trusted here", "from", from, "err", err)
		}
		return
	}
	n.log.Info("a link of a gateway was refused", "from", from, "err", err)
}

// welcome takes the Hello of a connection.
func (n *Node) welcome(raw net.Conn) (*inbound, error) {
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Handshake)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-n.quit:
			cancel()
		case <-stop:
		}
	}()
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer unwatch()
	p, err := n.accepted(ctx, raw)
	if err != nil {
		return nil, err
	}
	in := &inbound{node: n, tells: map[uint32]tell{}}
	in.conn = newConn(p, &in.mu)
	err = in.conn.next(func(h wire.Header, body []byte) error {
		if h.Type != wire.TypeHello {
			return wire.Errorf("a %v for a Hello", h.Type)
		}
		hello, err := wire.ParseHello(body)
		if err != nil {
			return err
		}
		w, err := n.judge(&hello)
		if err != nil {
			return err
		}
		in.member, in.line = fromWire(hello.From), hello.Line
		if !unwatch() {
			return context.Cause(ctx)
		}
		if err := n.enlist(in); err != nil {
			return err
		}
		in.mu.Lock()
		in.conn.version = w.Version
		in.conn.post(w)
		in.mu.Unlock()
		return nil
	})
	if err != nil {
		if r := (*refusedError)(nil); errors.As(err, &r) {
			in.conn.refuse(r)
		}
		in.conn.end(err)
		in.conn.drain()
		return nil, err
	}
	return in, nil
}

// refuse tells the peer why it is not served.
func (c *conn) refuse(r *refusedError) {
	f := wire.Refused{Reason: r.Reason, Text: r.Text}
	b := f.Append(nil)
	for len(b) > 0 {
		n, err := c.pipe.write([][]byte{b}, true)
		if err != nil {
			return
		}
		b = b[n:]
	}
	_, _ = c.pipe.flush(true)
	c.pipe.farewell()
}

// judge decides about a Hello.
func (n *Node) judge(h *wire.Hello) (*wire.Welcome, error) {
	from, self := fromWire(h.From), n.cfg.Self
	v, agreed := wire.Agree(h.Min, h.Max)
	no := func(r wire.Reason, format string, a ...any) error { return &refusedError{r, fmt.Sprintf(format, a...)} }
	switch {
	case h.Cluster != n.cfg.Cluster:
		return nil, no(wire.ReasonCluster, "this is a gateway of cluster %v", n.cfg.Cluster)
	case !agreed:
		return nil, no(wire.ReasonVersion, "versions %d to %d of the relay protocol are spoken here; %d to %d were offered: upgrade the older gateway to a version that speaks one of each", wire.MinVersion, wire.MaxVersion, h.Min, h.Max)
	case fromWire(h.To) != self:
		return nil, no(wire.ReasonGone, "this is %v, not %v", self, fromWire(h.To))
	case h.Line >= maxLinks:
		return nil, no(wire.ReasonBusy, "at most %d links are taken", maxLinks)
	}
	switch alive, over := n.cfg.Owner.Known(from); {
	case over:
		return nil, no(wire.ReasonGone, "%v is over", from)
	case !alive:
		return nil, no(wire.ReasonUnknown, "%v is not a member yet", from)
	}
	return &wire.Welcome{
		Version: v, MaxAge: uint32(n.cfg.MaxAge / time.Millisecond), Stamp: n.stamp(),
		Commands: uint32(n.cfg.Commands), Bytes: uint64(n.cfg.Bytes), Nexuses: uint32(n.cfg.Nexuses),
	}, nil
}

// enlist makes in the link of its name: of an earlier one, and of earlier
// incarnations of its gateway, nothing more is taken.
func (n *Node) enlist(in *inbound) error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return &refusedError{wire.ReasonEnds, "the gateway ends"}
	}
	var old []*inbound
	for k, o := range n.inbounds {
		if k.member.Gateway != in.member.Gateway {
			continue
		}
		switch {
		case k.member.Incarnation > in.member.Incarnation:
			n.mu.Unlock()
			return &refusedError{wire.ReasonGone, fmt.Sprintf("%v is over, %v is here", in.member, k.member)}
		case k.member.Incarnation < in.member.Incarnation || k.line == in.line:
			old = append(old, o)
		}
	}
	n.inbounds[inboundKey{in.member, in.line}] = in
	n.mu.Unlock()
	for _, o := range old {
		o.conn.end(errReplaced)
	}
	return nil
}

// run serves the link to its end: when it returns, nothing that came over it
// can touch a medium.
func (in *inbound) run() {
	c, n := in.conn, in.node
	select {
	case <-n.quit: // and nobody saw it
		c.end(errEnded)
	default:
	}
	err := c.serve(in.handle)
	c.end(err) // what was read and not decoded is not executed any more
	in.mu.Lock()
	err = c.err
	var all []*remote
	for _, r := range in.remotes {
		if r != nil {
			all = append(all, r)
		}
	}
	in.mu.Unlock()
	level := slog.LevelDebug
	if broken := (*wire.Error)(nil); errors.As(err, &broken) {
		level = slog.LevelWarn
	}
	n.log.Log(context.Background(), level, "a link of a gateway has ended", "peer", in.member.String(), "line", in.line, "err", err)
	for _, r := range all {
		r.end()
	}
	c.drain()
	in.wg.Wait() // every add to it came before the end of its remote
	in.mu.Lock()
	for tag, t := range in.tasks {
		if t != nil { // it was still being gathered
			in.tasks[tag] = nil
			t.free()
		}
	}
	in.mu.Unlock()
	n.mu.Lock()
	if k := (inboundKey{in.member, in.line}); n.inbounds[k] == in {
		delete(n.inbounds, k)
	}
	n.mu.Unlock()
}

// tick sends heartbeats: the owner's are tokens.
func (in *inbound) tick(now time.Time) {
	in.mu.Lock()
	if now.Sub(in.beaten) >= in.node.cfg.Beat {
		in.beaten = now
		in.conn.post(&wire.Beat{Stamp: in.node.stamp(), As: in.conn.version})
	}
	in.conn.kickTimely()
}

// handle takes a frame of the front. The reader calls it.
func (in *inbound) handle(h wire.Header, body []byte) error {
	switch h.Type {
	case wire.TypeCommand:
		c, err := wire.ParseCommand(body)
		if err != nil {
			return err
		}
		return in.command(&c)
	case wire.TypeDataOut:
		d, err := wire.ParseData(body)
		if err != nil {
			return err
		}
		return in.dataOut(d.Tag)
	case wire.TypeCancel:
		c, err := wire.ParseCancel(body)
		if err != nil {
			return err
		}
		return in.cancel(c)
	case wire.TypeNexusOpen:
		o, err := wire.ParseNexusOpen(body)
		if err != nil {
			return err
		}
		return in.open(&o)
	case wire.TypeNexusClose:
		o, err := wire.ParseNexusClose(body)
		if err != nil {
			return err
		}
		return in.close(o.Handle)
	case wire.TypeManage:
		m, err := wire.ParseManage(body)
		if err != nil {
			return err
		}
		return in.manage(&m)
	case wire.TypeTold:
		t, err := wire.ParseTold(body)
		if err != nil {
			return err
		}
		return in.told(t.ID)
	case wire.TypeSynced:
		s, err := wire.ParseSynced(body)
		if err == nil {
			in.node.cfg.Synced(in.member, s.Volume, s.Epoch)
		}
		return err
	case wire.TypeFence:
		f, err := wire.ParseFence(body)
		if err != nil {
			return err
		}
		data := make([]byte, in.conn.in.unread)
		if len(data) > 0 {
			if err := in.conn.readData([][]byte{data}, len(data)); err != nil {
				return err
			}
		}
		return in.fence(&f, data)
	case wire.TypeBeat:
		_, err := wire.ParseBeat(body, in.conn.version)
		return err
	case wire.TypeHello, wire.TypeWelcome, wire.TypeRefused, wire.TypeNexusOpened, wire.TypeNexusClosed,
		wire.TypeDataIn, wire.TypeResponse, wire.TypeManaged, wire.TypeTell, wire.TypeFenced:
		return wire.Errorf("a %v from a front", h.Type)
	}
	return nil // of a later version, which may pass over it
}

// told takes the front's answer to Tell.
func (in *inbound) told(id uint32) error {
	in.mu.Lock()
	t, ok := in.tells[id]
	delete(in.tells, id)
	in.mu.Unlock()
	if ok { // else its nexus ended meanwhile
		t.acked()
	}
	return nil
}

// nexusKey names an I_T_L nexus at a volume.
type nexusKey struct {
	nexus  san.NexusID
	lun    san.LUN
	volume san.UUID
}

// registry holds the nexuses of other gateways: of each name the one that came
// last, which waits for the end of those before it.
type registry struct {
	mu  sync.Mutex // guards all; taken after an inbound's
	all map[nexusKey]*remote
}
