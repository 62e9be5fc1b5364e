package harness

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to one address, and can do to them what networks do: cut them, refuse new ones, hold
// every byte back as a firewall that drops does, or delay it. What is held back arrives later, also when the one who
// sent it is gone by then: that is how a write becomes a ghost.
type Proxy struct {
	addr   string // where it listens
	target string

	mu      sync.Mutex // guards the fields below
	changed *sync.Cond // they, or a queue, have changed
	l       net.Listener
	links   map[*link]bool
	stalled bool
	lossy   bool // what was held back for a connection that ended is lost
	delay   time.Duration
	closed  bool
	total   int

	wg sync.WaitGroup
}

// link is one connection and its other half.
type link struct {
	p          *Proxy
	near, far  *net.TCPConn
	there, its flow // towards the target, and back
	cut        bool
}

// flow is one direction of a link.
type flow struct {
	queue []chunk
	bytes int
}

// chunk is what one read brought; the last one of a flow has err.
type chunk struct {
	data []byte
	due  time.Time
	err  error
}

// ended reports whether f holds the end of its connection.
func (f *flow) ended() bool { return len(f.queue) > 0 && f.queue[len(f.queue)-1].err != nil }

// mostHeld bounds what one direction of a link holds back, in bytes.
const mostHeld = 64 << 20

// NewProxy starts a proxy on a free port of loopback for connections to target (host:port).
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{addr: l.Addr().String(), target: target, l: l, links: map[*link]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.wg.Go(func() { p.accept(l) })
	return p, nil
}

// Addr returns the address on which the proxy listens.
func (p *Proxy) Addr() string { return p.addr }

// Connections returns how many connections there are, and how many there were in all.
func (p *Proxy) Connections() (now, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links), p.total
}

// Retarget makes later connections go to another address.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut resets every connection. New ones are served.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
	p.changed.Broadcast()
}

// Refuse resets every connection and refuses new ones, until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	if p.l != nil {
		_ = p.l.Close() // it only listens
		p.l = nil
	}
	p.mu.Unlock()
	p.Cut()
}

// Accept ends Refuse.
func (p *Proxy) Accept() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.l != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.l = l
	p.wg.Go(func() { p.accept(l) })
	return nil
}

// Stall holds back everything that comes, also on new connections, until Resume. Nobody is told: to both ends the
// other one is silent. What was held back is delivered then in any case.
func (p *Proxy) Stall() { p.set(func() { p.stalled, p.lossy = true, false }) }

// Silence is Stall as a firewall does it that drops packets: what was held back is delivered only where both ends are
// still there, since nobody else would have sent it again.
func (p *Proxy) Silence() { p.set(func() { p.stalled, p.lossy = true, true }) }

// Resume ends Stall and Silence.
func (p *Proxy) Resume() {
	p.set(func() {
		p.stalled = false
		for k := range p.links {
			if p.lossy && (k.there.ended() || k.its.ended()) {
				k.reset()
			}
		}
	})
}

// Delay makes every byte that comes from now on arrive so much later.
func (p *Proxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.changed.Broadcast()
}

// Close resets everything and returns when all of the proxy has ended.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.wg.Wait()
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.wg.Go(func() { p.serve(c.(*net.TCPConn)) })
	}
}

func (p *Proxy) serve(near *net.TCPConn) {
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	c, err := net.DialTimeout("tcp", target, 10*time.Second)
	if err != nil {
		abort(near)
		return
	}
	k := &link{p: p, near: near, far: c.(*net.TCPConn)}
	p.mu.Lock()
	if p.l == nil || p.closed {
		k.reset()
		p.mu.Unlock()
		return
	}
	p.links[k] = true
	p.total++
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { k.fill(&k.there, k.near) })
	wg.Go(func() { k.fill(&k.its, k.far) })
	wg.Go(func() { k.drain(&k.there, k.far) })
	wg.Go(func() { k.drain(&k.its, k.near) })
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	k.reset()
	delete(p.links, k)
}

// reset ends both connections abortively. The caller holds mu.
func (k *link) reset() {
	k.cut = true
	abort(k.near)
	abort(k.far)
}

// abort closes c with a reset.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0) // a connection that is gone already needs none
	_ = c.Close()
}

// fill reads from c into f until it ends.
func (k *link) fill(f *flow, c *net.TCPConn) {
	for {
		b := make([]byte, 64<<10)
		n, err := c.Read(b)
		p := k.p
		p.mu.Lock()
		f.queue = append(f.queue, chunk{data: b[:n], due: time.Now().Add(p.delay), err: err})
		f.bytes += n
		p.changed.Broadcast()
		for f.bytes > mostHeld && !k.cut {
			p.changed.Wait()
		}
		done := k.cut || err != nil
		p.mu.Unlock()
		if done {
			return
		}
	}
}

// drain writes what f holds to c, each chunk when it is due.
func (k *link) drain(f *flow, c *net.TCPConn) {
	p := k.p
	for {
		p.mu.Lock()
		for !k.cut && (len(f.queue) == 0 || p.stalled || p.early(f.queue[0].due)) {
			p.changed.Wait()
		}
		if k.cut {
			p.mu.Unlock()
			return
		}
		first := f.queue[0]
		f.queue = f.queue[1:]
		f.bytes -= len(first.data)
		p.changed.Broadcast()
		p.mu.Unlock()
		if len(first.data) > 0 {
			if _, err := c.Write(first.data); err != nil {
				first.err = err
			}
		}
		switch {
		case first.err == nil:
		case errors.Is(first.err, io.EOF):
			_ = c.CloseWrite() // the other direction tells if it is gone
			return
		default:
			p.mu.Lock()
			k.reset()
			p.changed.Broadcast()
			p.mu.Unlock()
			return
		}
	}
}

// early reports whether due is yet to come, and sees to it that whoever waits looks again then. The caller holds mu.
func (p *Proxy) early(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return false
	}
	time.AfterFunc(d, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	})
	return true
}
