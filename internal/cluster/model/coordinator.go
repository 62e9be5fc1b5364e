package model

import (
	"slices"

	"sango/internal/san"
)

// Coordinator decides for the cluster: who is dead, and who gets a volume. It
// follows the store all the time, and acts while it is elected. Two of them
// that both believe to be elected do no harm: what they propose is guarded by
// the term too, and all that makes a grant safe is in other guards.
type Coordinator struct {
	set  Config
	now  Instant
	eff  []Effect
	view view
	term Revision // 0: not elected
	from Instant  // since when
	ids  uint64   // the last number given to a transaction

	members map[Member]*member
	volumes map[san.UUID]*volume
	order   []san.UUID                     // of all volumes, so that equal histories decide alike
	load    map[GatewayID]load             // of the volumes that a gateway has or gets
	works   map[GatewayID]map[san.UUID]int // as gateways told last
	named   map[GatewayID]int              // records of ownership that name a gateway
	pending map[uint64]proposal            // transactions under way

	queue   []san.UUID           // volumes to be decided on
	due     map[san.UUID]Instant // when a volume is to be decided on again
	next    Instant              // the earliest of due
	blocked []san.UUID           // planned moves that wait for others to end
	moves   int                  // planned moves under way
	fences  int                  // of volumes, under way
	parked  []san.UUID           // volumes that wait for fences to end
	contact Instant              // when the store was last heard of

	suspected map[Member][]Guard // by whom, as the last heartbeats say
	balanced  Instant            // when balance was last looked at
}

// proposal is a transaction under way: about a volume, or about a gateway.
type proposal struct {
	volume  *volume
	gateway *member
	planned bool      // begins a planned move
	toward  GatewayID // who is to get the volume,
	work    int       // that much
	puts    []Record  // for streamFirst
}

// member is what the coordinator knows of a member beyond its record.
type member struct {
	name  Member
	heard Instant // when its last heartbeat was seen
	since Instant // when it was first seen alive
	vote  Instant // when its suspicions begin to count
	well  bool    // for Failback; volumes have been looked at since
	// whole: the operator's command, or a driver, has ended all of it.
	whole  bool
	fences map[san.UUID]fencing
	works  []int    // that it had when balance was looked at, at most looks times
	busy   bool     // a transaction about it is under way,
	await  Revision // or is committed, and not seen yet
	retry  Instant
}

// fencing is a fence of a member, from one volume or (zero id) as a whole.
type fencing struct {
	busy, done bool
	retry      Instant
}

// volume is what the coordinator knows of a volume beyond its records.
type volume struct {
	id      san.UUID
	queued  bool
	parked  bool
	busy    bool     // a transaction about it is under way,
	await   Revision // or is committed, and not seen yet
	retry   Instant  // no transaction before
	work    int      // as far as is known
	learned Instant  // what its gateway does not tell of has no work from then on
	stay    Instant  // no move for balance or failback before
	sticky  Instant  // how long it stayed after the last move for balance
	asked   *MoveAsked
	askable Instant // no move that a host asks for before
	reopen  reopening
	had     Member // who served it last

	// as counted:
	rec     OwnerRecord
	planned bool
}

// NewCoordinator makes a machine that is not elected and has seen nothing.
func NewCoordinator(c Config) *Coordinator {
	return &Coordinator{
		set: c.withDefaults(), view: newView(), members: map[Member]*member{}, volumes: map[san.UUID]*volume{},
		load: map[GatewayID]load{}, works: map[GatewayID]map[san.UUID]int{}, named: map[GatewayID]int{}, pending: map[uint64]proposal{}, due: map[san.UUID]Instant{}, next: never,
	}
}

// Step takes ev, which happened at now, and returns what is to be done.
func (c *Coordinator) Step(now Instant, ev Event) []Effect {
	c.now = max(c.now, now)
	c.take(ev)
	if c.term != 0 && c.view.synced {
		c.deaths()
		c.forget()
		c.work()
		c.balance()
	}
	eff := c.eff
	c.eff = nil
	return eff
}

func (c *Coordinator) take(ev Event) {
	switch ev := ev.(type) {
	case Snapshot:
		c.touch()
		c.snapshot(ev)
	case Changed:
		c.touch()
		for _, ch := range ev.Changes {
			c.changed(ch)
		}
	case Answered:
		c.answered(ev)
	case Elected:
		c.elected(ev.Term)
	case Deposed:
		c.term = 0
	case FenceEnded:
		c.fenceEnded(ev)
	case MoveAsked:
		if v := c.volumes[ev.Volume]; v != nil {
			v.asked = &ev
			c.enqueue(v)
		}
	case Weighed:
		c.weighed(ev)
	}
}

// touch notes that the store has been heard of. While it was silent no
// heartbeat could come: that is not held against those who send them.
func (c *Coordinator) touch() {
	if c.now-c.contact > c.set.TTL/2 && c.set.has(storeContact) {
		for _, m := range c.members {
			if !c.view.gone(m.name) {
				m.heard = c.now
			}
		}
	}
	c.contact = c.now
}

// elected begins a term. What this machine heard before does not count: every
// wait starts afresh, on its own clock.
func (c *Coordinator) elected(term Revision) {
	c.term = term
	c.from, c.balanced, c.contact = c.now, c.now, c.now
	for _, m := range c.members {
		if c.set.has(waitAfresh) {
			m.heard = c.now
		}
		m.since, m.well = c.now, false
		m.busy, m.await, m.retry = false, 0, 0
	}
	for id := range c.pending { // their guards have the old term
		c.drop(id)
	}
	for _, v := range c.volumes {
		v.busy, v.await, v.retry = false, 0, 0
	}
	c.enqueueAll()
}

// snapshot begins anew with what is told. Heartbeats may have been missed, of
// members that are gone since too: every wait starts afresh.
func (c *Coordinator) snapshot(s Snapshot) {
	old := c.view
	c.view = newView()
	clear(c.works) // is told again
	for _, ch := range s.Changes {
		c.view.apply(ch)
	}
	c.view.rev, c.view.synced = max(s.Rev, c.view.rev), true
	for id := range old.owners {
		c.reindex(id)
	}
	for id := range c.view.owners {
		c.reindex(id)
	}
	for id := range c.view.volumes {
		c.volume(id)
	}
	for _, g := range c.view.gateways {
		c.member(g.rec.Member())
	}
	for _, m := range c.members {
		if c.set.has(waitAfresh) {
			m.heard = c.now
		}
	}
	c.settle()
	c.enqueueAll()
}

// changed takes note of a change.
func (c *Coordinator) changed(ch Change) {
	if !c.view.apply(ch) {
		return
	}
	switch ch.Key.Kind {
	case KindGateway:
		if r, ok := ch.Record.(GatewayRecord); ok && c.members[r.Member()] == nil {
			c.member(r.Member()).vote = c.now + c.set.TTL
		}
		c.enqueueAll()
	case KindBeat:
		if r, ok := ch.Record.(BeatRecord); ok {
			c.member(Member{r.ID, r.Incarnation}).heard = c.now
		}
	case KindDrain, KindFence:
		c.enqueueAll()
	case KindVolume:
		c.enqueue(c.volume(ch.Key.Volume))
	case KindOwner:
		c.reindex(ch.Key.Volume)
		v := c.volume(ch.Key.Volume)
		if v.rec.State == Free && v.rec.Reason == ReasonFailed {
			c.failed(v)
		}
		c.enqueue(v)
	}
	c.settle()
}

// settle ends the waiting for one's own transactions to be seen.
func (c *Coordinator) settle() {
	for id, p := range c.pending {
		switch {
		case p.volume != nil && p.volume.await != 0 && p.volume.await <= c.view.rev:
			p.volume.busy, p.volume.await = false, 0
			c.drop(id)
			c.enqueue(p.volume)
		case p.gateway != nil && p.gateway.await != 0 && p.gateway.await <= c.view.rev:
			p.gateway.busy, p.gateway.await = false, 0
			c.drop(id)
		}
	}
}

// member returns what is known of m; it counts as heard of now when it is new.
func (c *Coordinator) member(m Member) *member {
	x := c.members[m]
	if x == nil {
		x = &member{name: m, heard: c.now, since: c.now, fences: map[san.UUID]fencing{}}
		if !c.set.has(waitAfresh) {
			x.heard = c.now - c.set.TTL
		}
		c.members[m] = x
	}
	return x
}

func (c *Coordinator) volume(id san.UUID) *volume {
	v := c.volumes[id]
	if v == nil {
		v = &volume{id: id}
		c.volumes[id] = v
		i, _ := slices.BinarySearchFunc(c.order, id, compareIDs)
		c.order = slices.Insert(c.order, i, id)
	}
	return v
}

func compareIDs(a, b san.UUID) int { return slices.Compare(a[:], b[:]) }

// reindex counts a volume as its record says now.
func (c *Coordinator) reindex(id san.UUID) {
	v := c.volume(id)
	c.uncount(v)
	old := v.rec
	v.rec = c.view.owner(id).rec
	c.count(v)
	if at := v.rec.at(); at != "" && at != old.at() {
		c.came(v)
	}
	for _, m := range []Member{v.rec.Owner, v.rec.To} {
		if !m.IsZero() {
			c.member(m)
		}
	}
}

func (c *Coordinator) count(v *volume) {
	if v.rec.State == Active {
		v.had = v.rec.Owner
	}
	c.tally(v, 1)
	v.planned = v.rec.State == Moving && !v.rec.Released && !c.view.gone(v.rec.Owner)
	if v.planned {
		c.moves++
	}
}

func (c *Coordinator) uncount(v *volume) {
	c.tally(v, -1)
	if v.planned {
		v.planned = false
		c.unblock()
	}
}

// unblock ends a planned move, so that another may begin.
func (c *Coordinator) unblock() {
	c.moves--
	for _, id := range c.blocked {
		if v := c.volumes[id]; v != nil {
			c.enqueue(v)
		}
	}
	c.blocked = nil
}

func (c *Coordinator) tally(v *volume, sign int) {
	if at := v.rec.at(); at != "" {
		c.burden(at, sign, v.work)
	}
	if v.rec.Owner.Gateway != "" {
		c.named[v.rec.Owner.Gateway] += sign
	}
	if v.rec.To.Gateway != "" {
		c.named[v.rec.To.Gateway] += sign
	}
}
