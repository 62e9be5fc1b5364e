package world

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Fabric is the network between the nodes: a switch that can lose and delay
// what goes from one address to another, each direction by itself.
type Fabric struct {
	mu    sync.RWMutex // guards what follows
	ports map[netip.Addr]port
	lanes map[lane]*Lane
	nodes []*Node

	wg sync.WaitGroup
}

// port is where packets to an address go.
type port interface {
	Write(packet []byte) (int, error)
}

// lane is a direction between two addresses.
type lane struct{ from, to netip.Addr }

// Lane is what the fabric does to the packets of a direction.
type Lane struct {
	Cut   bool          // they are lost
	Delay time.Duration // they come so much later
}

// NewFabric returns a fabric without nodes.
func NewFabric() *Fabric {
	return &Fabric{ports: map[netip.Addr]port{}, lanes: map[lane]*Lane{}}
}

// Set makes l the rule for all packets from one of from to one of to.
func (f *Fabric) Set(from, to []netip.Addr, l Lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range from {
		for _, b := range to {
			if l == (Lane{}) {
				delete(f.lanes, lane{a, b})
			} else {
				f.lanes[lane{a, b}] = &l
			}
		}
	}
}

// Heal removes all rules.
func (f *Fabric) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.lanes)
}

// plug begins to carry packets from and to n.
func (f *Fabric) plug(n *Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range n.Addrs {
		f.ports[a] = n.tun
	}
	f.nodes = append(f.nodes, n)
	f.wg.Go(func() { f.carry(n) })
}

// carry forwards what n sends until its card is gone.
func (f *Fabric) carry(n *Node) {
	s := newSender()
	defer s.stop()
	b := make([]byte, 1<<16)
	for {
		k, err := n.tun.Read(b)
		if err != nil {
			return
		}
		f.forward(s, b[:k])
	}
}

// forward sends one packet on its way. packet is the caller's again afterwards.
func (f *Fabric) forward(s *sender, packet []byte) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return // the kernel also speaks IPv6 to itself
	}
	from, _ := netip.AddrFromSlice(packet[12:16])
	to, _ := netip.AddrFromSlice(packet[16:20])
	f.mu.RLock()
	p, l := f.ports[to], f.lanes[lane{from, to}]
	f.mu.RUnlock()
	switch {
	case p == nil || l != nil && l.Cut:
	case l == nil && s.idle(lane{from, to}):
		_, _ = p.Write(packet) // what a card does not take is lost, as on any network
	case l == nil:
		s.later(lane{from, to}, p, packet, 0)
	default:
		s.later(lane{from, to}, p, packet, l.Delay)
	}
}

// Close ends the fabric and all of its nodes, with their processes.
func (f *Fabric) Close() {
	f.mu.Lock()
	nodes := slices.Clone(f.nodes)
	f.mu.Unlock()
	for _, n := range nodes {
		n.close()
	}
	f.wg.Wait()
}

// mostQueued bounds what is under way late from one node, in bytes.
const mostQueued = 32 << 20

// sender holds the late packets of a node, in order for each direction.
type sender struct {
	mu      sync.Mutex // guards what follows
	queues  map[lane]*queue
	bytes   int
	stopped bool
	timers  sync.WaitGroup
}

type queue struct{ packets []packet }

type packet struct {
	data []byte
	to   port
	due  time.Time
}

func newSender() *sender { return &sender{queues: map[lane]*queue{}} }

// idle reports whether nothing is under way late in a direction, so that a
// packet overtakes none.
func (s *sender) idle(l lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queues[l] == nil
}

func (s *sender) later(l lane, p port, data []byte, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.bytes+len(data) > mostQueued {
		return
	}
	s.bytes += len(data)
	q := s.queues[l]
	if q == nil {
		q = &queue{}
		s.queues[l] = q
		s.timers.Go(func() { s.deliver(l, q) })
	}
	q.packets = append(q.packets, packet{slices.Clone(data), p, time.Now().Add(delay)})
}

// deliver sends the packets of a direction when they are due, until there are
// none.
func (s *sender) deliver(l lane, q *queue) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		s.mu.Lock()
		if len(q.packets) == 0 || s.stopped {
			delete(s.queues, l)
			s.mu.Unlock()
			return
		}
		p := q.packets[0]
		q.packets = q.packets[1:]
		s.bytes -= len(p.data)
		s.mu.Unlock()
		t.Reset(time.Until(p.due))
		<-t.C
		_, _ = p.to.Write(p.data) // lost where the card does not take it
	}
}

// stop drops what is under way and waits.
func (s *sender) stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.timers.Wait()
}
