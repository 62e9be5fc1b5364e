package model

import (
	"slices"
	"strings"
)

// decide does what the state of a volume asks for.
func (c *Coordinator) decide(v *volume) {
	if v.busy {
		return
	}
	if c.now < v.retry {
		c.again(v, v.retry)
		return
	}
	if _, ok := c.view.volumes[v.id]; !ok {
		c.deleted(v)
		return
	}
	switch o := v.rec; o.State {
	case Free:
		why := o.Reason
		if why == "" {
			why = ReasonNew
		}
		if to, ok := c.ordered(v); ok {
			c.give(v, Member{}, to, why)
			return
		}
		c.grant(v, Member{}, why)
	case Active:
		switch {
		case !c.view.gone(o.Owner):
			c.wish(v)
		case c.safe(o.Owner, v):
			c.grant(v, o.Owner, ReasonDead)
		}
	case Moving:
		c.decideMoving(v)
	}
}

// decideMoving looks after a move. Its two parties may both die.
func (c *Coordinator) decideMoving(v *volume) {
	o := v.rec
	released := o.Released
	if !released && c.view.gone(o.Owner) {
		if !c.safe(o.Owner, v) {
			return
		}
		released = true
	}
	switch lost := c.view.gone(o.To); {
	case lost && o.Released:
		// It may have the volume open, and its driver may have written to it.
		if c.set.has(fenceReceiver) && !c.safe(o.To, v) {
			return
		}
		c.grant(v, o.To, ReasonDead)
	case lost && released:
		c.grant(v, o.Owner, ReasonDead)
	case lost:
		// It was never told to open the volume, the owner is still at giving it
		// up: somebody else gets it, or the owner again.
		to, ok := c.place(v, o.Owner.Gateway)
		if !ok {
			to = o.Owner
		}
		o.To, o.Epoch, o.Reason, o.Asked = to, o.Epoch+1, ReasonDead, ""
		c.change(v, o)
	case released && !o.Released:
		o.Released = true
		c.change(v, o)
	}
}

// grant gives a volume that nobody can write any more to the best gateway.
func (c *Coordinator) grant(v *volume, from Member, why Reason) {
	if at := c.from + c.set.Gather; c.now < at && c.unused() && !c.witnessed(v) {
		c.again(v, at)
		return
	}
	to, ok := c.place(v, "")
	if !ok {
		return // the next gateway that comes has it decided on again
	}
	if at := c.mayOpen(v, to); c.now < at {
		c.again(v, at)
		return
	}
	c.give(v, from, to, why)
}

// give is grant to a certain one.
func (c *Coordinator) give(v *volume, from, to Member, why Reason) {
	e := v.rec.Epoch
	if c.set.has(raiseEpoch) || e == 0 {
		e++
	}
	c.change(v, OwnerRecord{
		Volume: v.id, State: Moving, Owner: from, To: to, Epoch: e, Released: true, Reason: why, Failed: v.rec.Failed,
	})
}

// unused reports whether nobody that lives has a volume: the cluster starts.
func (c *Coordinator) unused() bool {
	return !slices.ContainsFunc(c.view.live(), func(m Member) bool { return c.load[m.Gateway].volumes > 0 })
}

// witnessed reports whether somebody who lives was there when v was served: so
// its owner is gone, and the cluster does not start.
func (c *Coordinator) witnessed(v *volume) bool {
	return v.rec.State == Active && slices.ContainsFunc(c.view.live(), func(m Member) bool {
		return c.view.gateways[m.Gateway].rev < c.view.owner(v.id).rev
	})
}

// change proposes a new record of ownership, guarded by the old one, by the one
// who is to own the volume being alive, and by the volume not being deleted.
func (c *Coordinator) change(v *volume, o OwnerRecord) {
	p := proposal{volume: v, planned: v.rec.State == Active && !o.Released}
	if v.rec.State == Free || v.rec.State == Active || v.rec.To != o.To {
		p.toward = o.To.Gateway
	}
	guards := []Guard{c.view.guard(GatewayRecord{ID: o.To.Gateway}.Key()), c.view.guard(VolumeRecord{ID: v.id}.Key())}
	if c.set.has(guardOwner) {
		guards = append(guards, c.view.guard(o.Key()))
	}
	c.propose(p, guards, []Record{o})
}

// wish looks whether a volume whose owner is well should be elsewhere.
func (c *Coordinator) wish(v *volume) {
	o := v.rec
	if _, draining := c.view.drains[o.Owner.Gateway]; draining {
		if to, ok := c.place(v, o.Owner.Gateway); ok {
			c.move(v, to, ReasonDrain, "")
		}
		return
	}
	if a := v.asked; a != nil {
		v.asked = nil
		if to, ok := c.candidate(a.To); ok && !c.doubtful(to) && to != o.Owner && c.mayAsk(v, a.Asked) {
			v.askable, v.stay = c.now+c.set.AskEvery, c.now+c.set.Sticky
			c.move(v, to, ReasonAsked, a.Asked)
			return
		}
	}
	for _, id := range c.view.volumes[v.id].rec.Prefer {
		if id == o.Owner.Gateway {
			return
		}
		to, ok := c.candidate(id)
		if !ok || !c.members[to].well || c.doubtful(to) || v.rec.Failed == id {
			continue
		}
		if c.now < v.stay {
			c.again(v, v.stay)
			return
		}
		c.move(v, to, ReasonFailback, "")
		return
	}
}

// mayAsk reports whether v is moved because somebody asked. Hosts that do not
// agree would have it to and fro: where one wanted it, or the administrator, it
// stays for a while, whatever other hosts want.
func (c *Coordinator) mayAsk(v *volume, asked string) bool {
	if asked == Administrator {
		return true
	}
	if v.rec.Reason == ReasonAsked && c.now < v.stay && asker(asked) != asker(v.rec.Asked) {
		return false
	}
	return c.now >= v.askable
}

// asker returns the name of the initiator that asked, in the words that are
// usual (OwnerRecord.Asked), else all of them.
func asker(asked string) string {
	if f := strings.Fields(asked); len(f) == 3 {
		name, _, _ := strings.Cut(f[1], ",")
		return name
	}
	return asked
}

// move begins a planned move, or has it wait for others to end.
func (c *Coordinator) move(v *volume, to Member, why Reason, asked string) {
	under := c.moves
	for _, p := range c.pending {
		if p.planned {
			under++
		}
	}
	if under >= c.set.Moves {
		if asked == "" {
			c.blocked = append(c.blocked, v.id)
			c.again(v, c.now+5*c.set.Retry)
		}
		return
	}
	o := v.rec
	c.change(v, OwnerRecord{
		Volume: v.id, State: Moving, Owner: o.Owner, To: to, Epoch: o.Epoch + 1, Reason: why, Failed: o.Failed, Asked: asked,
	})
}

// candidate returns the member that a gateway is, if it may get volumes.
func (c *Coordinator) candidate(id GatewayID) (Member, bool) {
	g, ok := c.view.gateways[id]
	_, draining := c.view.drains[id]
	b := c.view.beats[id].rec
	leaving := b.Leaving && b.Incarnation == g.rec.Incarnation
	return g.rec.Member(), ok && g.rec.Life == Alive && !draining && !leaving
}

// place chooses who gets a volume: a preferred gateway if one is there, else
// the one with the fewest volumes (for one that is busy: with the least work),
// among those that nobody doubts, that have been alive for a while and could open
// it, if there are such. Not the one named but.
func (c *Coordinator) place(v *volume, but GatewayID) (Member, bool) {
	var best Member
	var least [5]int
	prefer := c.view.volumes[v.id].rec.Prefer
	for _, m := range c.view.live() {
		if _, ok := c.candidate(m.Gateway); !ok || m.Gateway == but {
			continue
		}
		var cost [5]int
		if c.doubtful(m) {
			cost[0] += 4
		}
		if v.rec.Failed == m.Gateway {
			cost[0] += 2
		}
		if c.now < c.member(m).since+2*c.set.TTL {
			cost[0]++
		}
		if cost[1] = v.reopen.on[m.Gateway]; m == v.had && v.reopen.tries > 0 && cost[1] == 0 {
			cost[1] = -1 // it could open it
		}
		if i := slices.Index(prefer, m.Gateway); i >= 0 {
			cost[2] = i - len(prefer)
		}
		l := c.load[m.Gateway]
		if cost[3], cost[4] = l.volumes, l.work; v.work > 0 {
			cost[3], cost[4] = l.work, l.volumes
		}
		if best.IsZero() || slices.Compare(cost[:], least[:]) < 0 {
			best, least = m, cost
		}
	}
	return best, !best.IsZero()
}
