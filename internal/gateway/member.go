package gateway

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"sango/internal/certs"
	"sango/internal/cluster"
	"sango/internal/cluster/model"
	"sango/internal/lun"
	"sango/internal/relay"
	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// member is a gateway's part in a cluster: what the runtime of package cluster
// decides is put into effect here (cluster.Driver), on units, relays and
// sessions.
type member struct {
	n       *Node
	store   cluster.Store
	runtime *cluster.Runtime
	id      san.UUID // of the cluster
	tls     *certs.Kept
	relayed net.Listener  // for links of other gateways
	managed net.Listener  // for their management
	left    chan struct{} // closed when the runtime has ended
	reads   chan struct{} // has one when gateways may read other versions of the metadata
	hosts   hosts

	mu       sync.Mutex // guards what follows; a unit's is taken under it
	self     model.Member
	node     *relay.Node // of this life; nil: between two
	inlet    *inlet      // of node
	gateways []model.GatewayRecord
	reach    map[model.Member]string             // where live ones take tasks, as they registered last
	ports    map[model.Member]func(san.TPG) bool // those of live ones, the same way
	owed     bool                                // a sweep is, when all that live have registered
	draining []model.GatewayID
	owners   map[san.UUID]model.OwnerRecord
	prefers  map[san.UUID]model.GatewayID // which gateway a volume should have, if any
	slots    map[san.UUID]*slot
}

var _ cluster.Driver = (*member)(nil)

// newMember prepares a gateway for its cluster, so that it can be registered.
func newMember(ctx context.Context, n *Node) (_ *member, err error) {
	m := &member{n: n, left: make(chan struct{}), reads: make(chan struct{}, 1), owners: map[san.UUID]model.OwnerRecord{}, prefers: map[san.UUID]model.GatewayID{}, slots: map[san.UUID]*slot{}}
	if m.tls, err = n.cfg.Cluster.keep(n.cfg.Log); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if m.relayed, err = lc.Listen(ctx, "tcp", n.cfg.Cluster.Relay); err != nil {
		return nil, relayErr("listen", n.cfg.Cluster.Relay, err)
	}
	if m.managed, err = lc.Listen(ctx, "tcp", n.cfg.Cluster.Manage); err != nil {
		m.relayed.Close()
		return nil, relayErr("manage", n.cfg.Cluster.Manage, err)
	}
	return m, nil
}

// relayErr is the error of an address for other gateways that can't be listened
// on.
func relayErr(setting, addr string, err error) error {
	what, advice := portalProblem(addr, err)
	return san.Errorf(san.ErrRefused, "relay: %s %s: %s; %s", setting, addr, what, advice)
}

// reached returns where the other gateways reach this one.
func (m *member) reached() (relay, manage string) {
	k := &m.n.cfg.Cluster
	if relay = k.AdvertiseRelay; relay == "" {
		relay = m.relayed.Addr().String()
	}
	if manage = k.AdvertiseManage; manage == "" {
		manage = m.managed.Addr().String()
	}
	return relay, manage
}

// open makes the runtime. The gateway is registered.
func (m *member) open(ctx context.Context) (err error) {
	if m.id, err = m.n.meta.Identity(ctx); err != nil {
		return err
	}
	k := &m.n.cfg.Cluster
	if m.store, err = cluster.NewStore(ctx, m.n.meta, k.TTL); err != nil {
		return err
	}
	fences := cluster.Fences{Volume: m.fenceVolume}
	if len(k.Fence) > 0 {
		fences.Command = &cluster.Command{Args: k.Fence}
	}
	m.runtime, err = cluster.New(cluster.Options{
		Gateway: model.GatewayID(m.n.cfg.Name), Sole: true, Times: model.Config{TTL: model.Instant(k.TTL)},
		Store: m.store, Driver: m, Fencer: fences, Log: m.n.cfg.Log,
		Register: m.n.registerAgain,
		Reached:  func(ctx context.Context, rev model.Revision) bool { return m.n.view.waitGateways(ctx, int64(rev)) },
	})
	m.n.server.Suspend() // until there is a right to serve
	return err
}

// start begins to take part.
func (m *member) start() {
	m.n.running.Go(m.followDrain)
	m.n.running.Go(m.followWork)
	m.n.running.Go(m.followSchema)
	m.n.goes("relay", m.accept)
	m.n.goes("management for gateways", func() error { return m.n.api.ServePeers(m.manageListener()) })
	m.n.goes("cluster", func() error {
		defer close(m.left)
		if err := m.runtime.Run(m.n.run); err != nil && m.n.run.Err() == nil {
			return err
		}
		return nil
	})
}

// leave gives all volumes to other gateways.
func (m *member) leave(ctx context.Context) {
	if err := m.runtime.Leave(ctx); err != nil {
		m.n.cfg.Log.Warn("the gateway stops without having given up all volumes; others wait for its right to run out", "error", err)
	}
}

// close ends what others could reach.
func (m *member) close() {
	m.relayed.Close()
	m.managed.Close()
	m.mu.Lock()
	node := m.node
	m.node = nil
	m.mu.Unlock()
	if node != nil {
		node.Close()
	}
}

// relay returns the node of this life, nil between two.
func (m *member) relay() *relay.Node {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.node
}

// Joined implements cluster.Driver.
func (m *member) Joined(self model.Member) {
	log := m.n.cfg.Log
	c := relay.Config{
		Cluster: m.id, Self: self, TLS: m.tls, Owner: owner{m}, MaxAge: m.n.cfg.ISCSI.MaxAge, Logger: log,
		Fence:    func(f relay.Fence, done func()) { m.n.server.Fence(f.Initiator, f.List, done) },
		PeerLost: m.runtime.PeerLost, PeerFound: m.runtime.PeerFound, Synced: m.synced, Moved: m.moved,
	}
	node, err := relay.New(c)
	if err != nil { // of the configuration, which has been checked
		select {
		case m.n.failed <- err:
		default:
		}
		return
	}
	l := newInlet(m.relayed)
	m.mu.Lock()
	m.self, m.node, m.inlet = self, node, l
	m.setPeers()
	for _, s := range m.slots { // what was told before
		s.do(s.settle)
	}
	m.mu.Unlock()
	m.n.running.Go(func() {
		defer l.Close()
		if err := node.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) {
			log.Error("other gateways can't reach this one any more", "error", err)
		}
	})
}

// Fenced implements cluster.Driver: what this member relayed to others, and
// others to it, ends.
func (m *member) Fenced() {
	m.shut()
	m.mu.Lock()
	node := m.node
	m.node, m.self = nil, model.Member{}
	clear(m.owners) // the next member is told anew
	clear(m.prefers)
	for _, s := range m.slots {
		s.do(s.cutOff)
	}
	m.mu.Unlock()
	if node != nil {
		m.n.running.Go(node.Close)
	}
}

// setPeers tells the relay who there is. m.mu is held.
func (m *member) setPeers() {
	if m.node != nil {
		m.node.SetPeers(m.peers())
	}
}

// peers returns the other live members. The relay takes who is missing for over,
// and one that lives may be without its registration for a moment: it comes with
// another change of the metadata than its life. m.mu is held.
func (m *member) peers() (peers []relay.Peer) {
	reach := map[model.Member]string{}
	for _, g := range m.gateways {
		who := g.Member()
		if g.Life != model.Alive || who == m.self {
			continue
		}
		addr := m.n.view.relayOf(string(g.ID))
		if addr == "" {
			addr = m.reach[who]
		}
		if addr != "" { // else it comes with the registration
			reach[who] = addr
			peers = append(peers, relay.Peer{Member: who, Addr: addr})
		}
	}
	m.reach = reach
	return peers
}

// PublishGateways implements cluster.Driver.
func (m *member) PublishGateways(all []model.GatewayRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	died := map[model.GatewayID]func(san.TPG) bool{}
	for _, g := range m.gateways {
		if g.Life == model.Alive {
			died[g.ID] = m.portsOf(g.Member())
		}
	}
	for _, g := range all {
		if g.Life == model.Alive {
			delete(died, g.ID)
		}
	}
	m.gateways = all
	m.setPeers()
	m.regroup()
	for _, of := range died {
		m.sweep(of)
	}
	m.sweepOwed()
}

// registered has what gateways registered take effect.
func (m *member) registered() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.setPeers()
	m.regroup()
	m.sweepOwed()
}

// regroup tells all units, and their nexuses, what gateways there are. m.mu is
// held.
func (m *member) regroup() {
	for _, s := range m.slots {
		if m.tellGroups(s) {
			s.mapped.unit.AccessChanged(nil)
		}
	}
}

// sweep is the loss of the nexuses through ports for which of holds, which are
// gone. m.mu is held.
func (m *member) sweep(of func(san.TPG) bool) {
	for _, s := range m.slots {
		s.do(func() {
			if s.unit != nil && s.stage == serving {
				s.unit.Sweep(of)
			}
		})
	}
}

// synced implements relay.Config: a front has attached what it has.
func (m *member) synced(front model.Member, v san.UUID, e san.Epoch) {
	m.mu.Lock()
	of := m.portsOf(front)
	m.mu.Unlock()
	if s := m.found(v); s != nil {
		s.do(func() { s.synced(e, of) })
	}
}

// movedWait is how long the view may take to name another owner.
const movedWait = 500 * time.Millisecond

// moved implements relay.Config: the owner of a volume says that it is none.
func (m *member) moved(v san.UUID, e san.Epoch) {
	m.n.running.Go(func() { // a lock of the relay is held
		if s := m.found(v); s != nil {
			s.do(s.turnedAway)
		}
	})
	m.anewLater(v, e)
}

// anewLater has the relay to a volume made anew if the owner is none still.
func (m *member) anewLater(v san.UUID, e san.Epoch) {
	time.AfterFunc(movedWait, func() {
		if s := m.found(v); s != nil {
			s.do(func() { s.anew(e) })
		}
	})
}

// Publish implements cluster.Driver.
func (m *member) Publish(v san.UUID, o model.OwnerRecord) {
	m.mu.Lock()
	if o.Epoch == 0 { // it was deleted
		delete(m.owners, v)
	} else {
		m.owners[v] = o
	}
	s := m.slots[v]
	if s != nil {
		m.tellGroups(s)
	}
	m.mu.Unlock()
	if s != nil {
		s.do(func() {
			s.rec = o
			s.settle()
		})
	}
}

// Prefer implements cluster.Driver.
func (m *member) Prefer(v san.UUID, g model.GatewayID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.prefers[v] = g; g == "" {
		delete(m.prefers, v)
	}
	if s := m.slots[v]; s != nil {
		m.tellGroups(s)
	}
}

// tellGroups tells a unit the states of all target port groups, and reports
// whether they are others than before. Nexuses are told of another owner by
// Attend, when it serves. m.mu is held.
func (m *member) tellGroups(s *slot) (changed bool) {
	if s.mapped == nil {
		return false
	}
	o := m.owners[s.id]
	asked := o.State == model.Active && o.Reason == model.ReasonAsked && o.Asked != model.Administrator
	return m.n.view.setGroupsOf(s.mapped, model.Ports(o, m.gateways), m.prefers[s.id], asked)
}

// Attend implements cluster.Driver.
func (m *member) Attend(v san.UUID, asked string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.slots[v]; s != nil && s.mapped != nil {
		s.mapped.unit.AccessChanged(func(id san.NexusID) bool { return asked == m.asks(id) })
	}
}

// asks names a nexus that asked for a move.
func (m *member) asks(id san.NexusID) string {
	return m.n.cfg.Name + " " + id.Initiator.String() + " " + id.Target.String()
}

// fenceVolume has nothing of a member reach a volume any more.
func (m *member) fenceVolume(ctx context.Context, who model.Member, v san.UUID) error {
	return m.n.disks.fence(ctx, v, uint64(who.Incarnation))
}

// moveTime bounds a move that a host asked for: its command times out after a
// while.
const moveTime = 8 * time.Second

// setGroups implements lun.TargetOptions: a host asks for a volume to be served
// by the gateways that it names.
func (m *member) setGroups(n *lun.Nexus, u *lun.Unit, changes []alua.Change) error {
	for _, c := range changes {
		if c.State != alua.Optimized {
			continue // the others follow from that
		}
		to := m.n.view.groupName(c.ID)
		if to == "" {
			return san.Errorf(san.ErrNotFound, "there is no target port group %d", c.ID)
		}
		ctx, cancel := context.WithTimeout(m.n.run, moveTime)
		defer cancel()
		return m.runtime.Move(ctx, u.Volume().ID, model.GatewayID(to), m.asks(n.ID()))
	}
	return nil
}
