package relay

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/san"
)

// Node is the relay of one gateway: front towards the owners of volumes that it
// serves to its hosts, owner towards the fronts of others.
type Node struct {
	cfg   Config
	log   *slog.Logger
	began time.Time
	quit  chan struct{}
	wg    sync.WaitGroup // every goroutine but those of connections, which theirs wait for

	mu        sync.Mutex // guards the fields below; taken before all others
	closed    bool
	peers     map[model.Member]*peer
	unsynced  map[*Volume]bool
	listeners map[net.Listener]bool
	inbounds  map[inboundKey]*inbound
	shaking   int       // connections before their Hello was taken
	warned    time.Time // of certificates that do not fit

	graves  graves
	nexuses registry
	fences  fences
}

// New returns a node that calls nobody yet.
func New(cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, began: time.Now(), quit: make(chan struct{}),
		peers: map[model.Member]*peer{}, unsynced: map[*Volume]bool{}, listeners: map[net.Listener]bool{},
		inbounds: map[inboundKey]*inbound{},
	}
	n.nexuses.all = map[nexusKey]*remote{}
	n.fences.all = map[*fencing]bool{}
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		n.run()
	}()
	return n, nil
}

// peer returns the peer of that name.
func (n *Node) peer(m model.Member) *peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[m]
	if p == nil {
		p = newPeer(n, m)
		n.peers[m] = p
	}
	return p
}

// SetPeers tells who the other live members of the view are. Who is missing is
// over: links to it end, and nothing that it forwarded is executed any more.
func (n *Node) SetPeers(all []Peer) {
	live := map[model.Member]bool{}
	for _, a := range all {
		live[a.Member] = true
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	var gone []*peer
	for m, p := range n.peers {
		if !live[m] {
			gone = append(gone, p)
		}
	}
	var over []*inbound
	for _, in := range n.inbounds {
		p := n.peers[in.member]
		if !live[in.member] && p != nil && p.known() {
			over = append(over, in)
		}
	}
	n.mu.Unlock()
	for _, in := range over {
		in.conn.end(errPeerGone)
	}
	for _, p := range gone {
		p.unlist()
	}
	for _, a := range all {
		n.peer(a.Member).list(a.Addr)
	}
	n.mu.Lock()
	for m, p := range n.peers {
		if !live[m] && p.known() && p.idle() {
			delete(n.peers, m)
		}
	}
	n.mu.Unlock()
	n.settleFences()
}

// known reports whether p is or was a member.
func (p *peer) known() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quit != nil
}

// idle reports whether nobody has anything to do with p.
func (p *peer) idle() bool {
	for _, l := range p.lines {
		l.mu.Lock()
		busy := len(l.lanes) > len(l.free) || l.limbo.n > 0 || l.conn != nil
		l.mu.Unlock()
		if busy {
			return false
		}
	}
	return true
}

// Volume returns the way to a volume for as long as the member owns it under
// that epoch. The caller ends it with Over.
func (n *Node) Volume(volume san.UUID, e san.Epoch, owner model.Member) *Volume {
	return &Volume{peer: n.peer(owner), id: volume, epoch: e, lanes: map[laneKey]*lane{}}
}

// sync has the owner told that all nexuses of v are attached, as soon as they
// are.
func (n *Node) sync(v *Volume) {
	if v.sync() {
		return
	}
	n.mu.Lock()
	n.unsynced[v] = true
	n.mu.Unlock()
}

// tickTime is the time between two looks at what has waited.
const tickTime = 100 * time.Millisecond

// run is the clock of the node.
func (n *Node) run() {
	t := time.NewTicker(tickTime)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-n.quit:
			return
		case <-t.C:
		}
		now := time.Now()
		n.tick(now, stoodStill(last, now))
		last = now
	}
}

// stoodStill returns how long the process did so between two ticks: it has heard
// nobody meanwhile, and that is nobody's fault. What came is read first.
func stoodStill(last, now time.Time) time.Duration {
	if gap := now.Sub(last); gap > 4*tickTime {
		return gap
	}
	return 0
}

func (n *Node) tick(now time.Time, excused time.Duration) {
	n.mu.Lock()
	peers := make([]*peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	ins := make([]*inbound, 0, len(n.inbounds))
	for _, in := range n.inbounds {
		ins = append(ins, in)
	}
	volumes := make([]*Volume, 0, len(n.unsynced))
	for v := range n.unsynced {
		volumes = append(volumes, v)
	}
	n.mu.Unlock()
	for _, p := range peers {
		for _, l := range p.lines {
			l.mu.Lock()
			c := l.conn
			l.mu.Unlock()
			if c != nil {
				c.silence(now, excused, n.cfg.Dead)
			}
			l.tick(now)
		}
		p.tick(now, excused)
	}
	for _, in := range ins {
		in.conn.silence(now, excused, n.cfg.Dead)
		in.tick(now)
	}
	for _, v := range volumes {
		if v.sync() {
			n.mu.Lock()
			delete(n.unsynced, v)
			n.mu.Unlock()
		}
	}
	n.graves.tick(now)
}

// silence ends c when nothing was heard for that long. While the reader is at what
// came before, nobody knows what the peer has said.
func (c *conn) silence(now time.Time, excused, most time.Duration) {
	c.heard.Add(int64(excused))
	if at, took := int64(now.Sub(c.began)), c.took.Load(); took > 0 && time.Duration(at-took) > tickTime {
		c.heard.Store(max(at, c.heard.Load()))
	}
	if now.Sub(c.lastHeard()) > most {
		c.end(errSilent)
	}
}

// lastHeard returns when the last frame was complete.
func (c *conn) lastHeard() time.Time { return c.began.Add(time.Duration(c.heard.Load())) }

// stamp is the time of this gateway's clock as it goes into heartbeats: in
// microseconds, from 1 on.
func (n *Node) stamp() uint64 { return uint64(time.Since(n.began)/time.Microsecond) + 1 }

// Close ends all links, and waits until nothing of them is left: tasks of other
// gateways have ended, those that were forwarded are handed back.
func (n *Node) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	close(n.quit)
	var ls []net.Listener
	for l := range n.listeners {
		ls = append(ls, l)
	}
	var peers []*peer
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	var ins []*inbound
	for _, in := range n.inbounds {
		ins = append(ins, in)
	}
	n.mu.Unlock()
	for _, l := range ls {
		_ = l.Close()
	}
	for _, p := range peers {
		p.unlist()
	}
	for _, in := range ins {
		in.conn.end(errEnded)
	}
	n.wg.Wait()
	for _, p := range peers {
		for _, l := range p.lines {
			l.abandon()
		}
	}
	n.endFences()
}

// ended reports whether n was closed.
func (n *Node) ended() bool {
	select {
	case <-n.quit:
		return true
	default:
		return false
	}
}

// abandon hands back what is left when the node has ended.
func (l *line) abandon() {
	l.mu.Lock()
	defer l.unlock()
	for _, ln := range l.lanes {
		if ln == nil {
			continue
		}
		l.endLimbo(ln)
		l.giveBack(ln)
		for _, m := range ln.manages {
			l.endManage(m, lun.TMFMoved)
		}
	}
}

// errClosed is returned by Serve when the node has ended.
var errClosed = errors.New("relay: the node is closed")
