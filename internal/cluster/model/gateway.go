package model

import (
	"maps"
	"slices"

	"sango/internal/san"
)

// phase is how far a gateway has come.
type phase uint8

const (
	starting phase = iota // waits for Start and the first snapshot
	joining               // its registration is under way
	joined                // serves, as far as it has the right
	leaving               // gives up what it owns
	fenced                // is over; closes what is open
	ended                 // after its last effect
)

// Gateway is one start of a gateway. When it has been fenced it asks to be
// made anew, and does nothing any more.
type Gateway struct {
	set  Config
	id   GatewayID
	sole bool
	now  Instant
	eff  []Effect
	view view

	phase   phase
	started bool
	me      Member
	born    Revision // of my record
	ids     uint64
	pending map[uint64]request
	retry   Instant // of the registration, or of the leave

	until    Instant // the right to serve ends
	right    bool    // as last told
	seq      uint64
	next     Instant // the next heartbeat is to be sent
	beating  bool
	suspects []Member

	volumes map[san.UUID]*local
	timed   map[san.UUID]*local // those with something due
}

// request is a transaction under way.
type request struct {
	what  requestKind
	sent  Instant
	vol   *local
	write bool      // of reservations: a host waits for it
	epoch san.Epoch // of reservations
	rev   Revision  // of the counter, for a registration
}

type requestKind uint8

const (
	reqRegister requestKind = iota + 1
	reqBeat
	reqOwner       // a volume's ownership
	reqReservation // a volume's reservations
	reqLeave
)

// NewGateway makes the machine of one start of a gateway. sole: the process
// holds what only one process of this gateway can hold, such as the lock of
// its directory, and nothing of an earlier one can still reach a medium that
// several gateways share.
func NewGateway(id GatewayID, sole bool, c Config) *Gateway {
	return &Gateway{
		set: c.withDefaults(), id: id, sole: sole, view: newView(), pending: map[uint64]request{},
		volumes: map[san.UUID]*local{}, timed: map[san.UUID]*local{},
	}
}

// Member returns who this start of the gateway is; nobody until Joined.
func (g *Gateway) Member() Member { return g.me }

// Step takes ev, which happened at now, and returns what is to be done.
func (g *Gateway) Step(now Instant, ev Event) []Effect {
	g.now = max(g.now, now)
	if g.phase != ended {
		g.take(ev)
	}
	switch g.phase {
	case starting, joining:
		g.register()
	case joined, leaving:
		g.checkRight()
		g.heartbeat()
		g.tickVolumes()
		if g.phase == leaving {
			g.leave()
		}
	case fenced:
		g.rejoin()
	}
	eff := g.eff
	g.eff = nil
	return eff
}

func (g *Gateway) take(ev Event) {
	switch ev := ev.(type) {
	case Snapshot:
		g.snapshot(ev)
	case Changed:
		for _, ch := range ev.Changes {
			g.changed(ch)
		}
	case Answered:
		g.answered(ev)
	case Start:
		g.started = true
	case Leave:
		if g.phase == joined {
			g.phase, g.next = leaving, g.now
			for _, l := range g.sorted() {
				g.look(l)
			}
		} else if g.phase < joined {
			g.left()
		}
	case PeerLost:
		if !slices.Contains(g.suspects, ev.Member) && !g.view.gone(ev.Member) && ev.Member != g.me {
			g.suspects = append(g.suspects, ev.Member)
			g.next = g.now
		}
	case PeerFound:
		if i := slices.Index(g.suspects, ev.Member); i >= 0 {
			g.suspects = slices.Delete(slices.Clone(g.suspects), i, i+1)
			g.next = g.now
		}
	default:
		g.takeVolume(ev)
	}
}

func (g *Gateway) do(e Effect) { g.eff = append(g.eff, e) }

// register asks to become a member. A registration whose outcome is unknown is
// given up, and another made: whether the member of the first exists or not,
// it serves nothing, and the second takes its place.
func (g *Gateway) register() {
	if !g.started || !g.view.synced || g.phase == joining || g.now < g.retry {
		return
	}
	old, there := g.view.gateways[g.id]
	if there && old.rec.Life == Removed {
		return // an administrator's word; the record goes when nobody needs it
	}
	inc := g.view.counter.rec.Last + 1
	if !g.set.has(freshName) {
		inc = old.rec.Incarnation + 1
	}
	rec := GatewayRecord{ID: g.id, Incarnation: inc, Life: Alive}
	g.phase, g.me = joining, rec.Member()
	counter, fence := CounterRecord{inc}, FenceRecord{g.id, inc - 1}
	guards, puts := []Guard{g.view.guard(rec.Key()), g.view.guard(counter.Key())}, []Record{rec, counter}
	if g.sole {
		guards, puts = append(guards, g.view.guard(fence.Key())), append(puts, fence)
	}
	g.propose(request{what: reqRegister, rev: g.view.counter.rev}, guards, puts...)
}

// propose asks for a transaction.
func (g *Gateway) propose(r request, guards []Guard, puts ...Record) {
	g.ids++
	r.sent = g.now
	g.pending[g.ids] = r
	g.do(Propose{g.ids, Txn{Guards: guards, Puts: puts}})
}

// alive is the guard that this member has not been declared dead.
func (g *Gateway) alive() Guard {
	return Guard{GatewayRecord{ID: g.id}.Key(), g.born}
}

func (g *Gateway) answered(a Answered) {
	r, ok := g.pending[a.ID]
	if !ok {
		return
	}
	delete(g.pending, a.ID)
	switch r.what {
	case reqRegister:
		if g.phase != joining {
			return
		}
		if a.Outcome != Committed {
			g.phase, g.me, g.retry = starting, Member{}, g.now+g.set.Retry
			if g.view.counter.rev != r.rev { // another one was first, as is known already
				g.retry = g.now
			}
			return
		}
		g.phase, g.born, g.next = joined, a.Rev, g.now
		g.do(Joined{g.me})
		for _, l := range g.sorted() { // what was granted before the answer came
			g.look(l)
		}
	case reqBeat:
		g.beaten(r, a.Outcome)
	case reqOwner:
		g.ownerAnswered(r.vol, a)
	case reqReservation:
		g.reservationAnswered(r.vol, r, a)
	case reqLeave:
		switch {
		case a.Outcome == Committed && g.phase == leaving:
			g.left()
		case a.Outcome != Committed:
			g.retry = g.now + g.set.Retry
		}
	}
}

// fence ends this member: it has been declared dead, or another took its place.
func (g *Gateway) fence() {
	if !g.set.has(staysFenced) {
		g.phase, g.retry, g.right = starting, g.now, false // as if nothing had been
		return
	}
	g.phase, g.right = fenced, false
	g.do(Fenced{})
	for _, l := range g.sorted() {
		g.abandon(l)
	}
}

// rejoin has the process start anew when nothing is open any more.
func (g *Gateway) rejoin() {
	for _, l := range g.volumes {
		if l.step != idle {
			return
		}
	}
	g.phase = ended
	g.do(Rejoin{})
}

// leave ends the member when it owns nothing any more.
func (g *Gateway) leave() {
	if g.now < g.retry {
		return
	}
	for _, l := range g.volumes {
		if l.step != idle || l.rec.Owner == g.me && l.rec.State != Free && !l.rec.Released || l.rec.To == g.me {
			return
		}
	}
	for _, r := range g.pending {
		if r.what != reqBeat {
			return
		}
	}
	rec := g.view.gateways[g.id].rec
	if rec.Member() != g.me {
		return
	}
	rec.Life, rec.Why = Dead, ReasonLeft
	fence := FenceRecord{g.id, g.me.Incarnation}
	g.propose(request{what: reqLeave}, []Guard{g.alive(), g.view.guard(fence.Key())}, rec, fence)
}

func (g *Gateway) snapshot(s Snapshot) {
	known := g.view.volumes
	g.view = newView()
	for _, ch := range s.Changes {
		g.view.apply(ch)
	}
	g.view.rev, g.view.synced = max(s.Rev, g.view.rev), true
	g.do(PublishGateways{})
	for _, id := range slices.SortedFunc(maps.Keys(g.view.volumes), compareIDs) {
		g.prefer(id, known[id].rec)
		delete(known, id)
	}
	for _, id := range slices.SortedFunc(maps.Keys(known), compareIDs) {
		g.prefer(id, known[id].rec)
	}
	for id := range g.view.owners {
		if g.volumes[id] == nil {
			g.volume(id).fresh = g.phase < joined
		}
	}
	g.checkMe()
	for _, l := range g.sorted() {
		g.observe(l)
		g.forget(l)
	}
}

// prefer tells who is to own a volume, where that is another than was known. The
// next member is told anew.
func (g *Gateway) prefer(id san.UUID, known VolumeRecord) {
	if now := g.view.volumes[id].rec.first(); now != known.first() && g.phase < fenced {
		g.do(Prefer{id, now})
	}
}

func (g *Gateway) changed(ch Change) {
	known := g.view.volumes[ch.Key.Volume].rec
	if !g.view.apply(ch) {
		return
	}
	switch ch.Key.Kind {
	case KindVolume:
		g.prefer(ch.Key.Volume, known)
	case KindGateway:
		g.do(PublishGateways{})
		if ch.Key.Gateway == g.id {
			g.checkMe()
		}
	case KindCounter:
		if g.phase == starting { // another one was first
			g.retry = g.now
		}
	case KindOwner:
		l := g.volume(ch.Key.Volume)
		g.observe(l)
		g.forget(l)
	}
}

// checkMe looks whether the view says that this member is over.
func (g *Gateway) checkMe() {
	if (g.phase != joined && g.phase != leaving) || g.view.rev < g.born || !g.view.gone(g.me) {
		return
	}
	if r := g.view.gateways[g.id].rec; r.Member() == g.me && r.Why == ReasonLeft {
		g.left() // the view is faster than the answer
		return
	}
	g.fence()
}

// left ends the machine of a gateway that has left.
func (g *Gateway) left() {
	g.phase = ended
	g.do(Left{})
}

// Wake tells when the machine wants a Tick, if it does.
func (g *Gateway) Wake() (Instant, bool) {
	w := never
	switch g.phase {
	case starting:
		if g.started && g.view.synced {
			w = g.retry
		}
	case joined, leaving:
		if !g.beating {
			w = g.next
		}
		if r := g.Right(); g.right {
			w = min(w, r)
		}
		for _, l := range g.timed {
			w = min(w, l.due())
		}
		if g.phase == leaving && g.now < g.retry {
			w = min(w, g.retry)
		}
	}
	return max(w, g.now+g.set.Retry/10), w != never
}
