package model

import "slices"

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
		return
	}
	switch o := v.rec; o.State {
	case Free:
		why := o.Reason
		if why == "" {
			why = ReasonNew
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
	to, ok := c.place(v, "")
	if !ok {
		return // the next gateway that comes has it decided on again
	}
	if v.rec.Failed == to.Gateway && v.rec.State == Free {
		// Nobody else is there. Do not try at once what has just failed.
		if at := v.stay; c.now < at {
			c.again(v, at)
			return
		}
		v.stay = c.now + 5*c.set.Retry
	}
	e := v.rec.Epoch
	if c.set.has(raiseEpoch) || e == 0 {
		e++
	}
	c.change(v, OwnerRecord{
		Volume: v.id, State: Moving, Owner: from, To: to, Epoch: e, Released: true, Reason: why, Failed: v.rec.Failed,
	})
}

// change proposes a new record of ownership, guarded by the old one, and by the
// one who is to own the volume being alive.
func (c *Coordinator) change(v *volume, o OwnerRecord) {
	p := proposal{volume: v, planned: v.rec.State == Active && !o.Released}
	if v.rec.State == Free || v.rec.State == Active || v.rec.To != o.To {
		p.toward = o.To.Gateway
	}
	guards := []Guard{c.view.guard(GatewayRecord{ID: o.To.Gateway}.Key())}
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
		if to, ok := c.candidate(a.To); ok && to != o.Owner && c.now >= v.askable {
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
		if !ok || !c.members[to].well || v.rec.Failed == id {
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
// the one with the least load, among those that have been alive for a while
// and could open it last time, if there are such. Not the one named but.
func (c *Coordinator) place(v *volume, but GatewayID) (Member, bool) {
	var best Member
	var least [3]int
	prefer := c.view.volumes[v.id].rec.Prefer
	for _, m := range c.view.live() {
		if _, ok := c.candidate(m.Gateway); !ok || m.Gateway == but {
			continue
		}
		var cost [3]int
		if v.rec.Failed == m.Gateway {
			cost[0] += 2
		}
		if c.now < c.member(m).since+2*c.set.TTL {
			cost[0]++
		}
		if i := slices.Index(prefer, m.Gateway); i >= 0 {
			cost[1] = i - len(prefer)
		}
		cost[2] = c.load[m.Gateway]
		if best.IsZero() || slices.Compare(cost[:], least[:]) < 0 {
			best, least = m, cost
		}
	}
	return best, !best.IsZero()
}

// balance moves one volume from the most to the least loaded gateway, if that
// makes the difference smaller and nothing else is going on.
func (c *Coordinator) balance() {
	if c.set.Balance < 0 || c.now < c.balanced+c.set.Balance {
		return
	}
	c.balanced = c.now
	if c.moves > 0 || len(c.pending) > 0 || len(c.queue) > 0 || len(c.due) > 0 {
		return
	}
	var most, least Member
	total, n := 0, 0
	for _, m := range c.view.live() {
		if _, ok := c.candidate(m.Gateway); !ok {
			continue
		}
		total += c.load[m.Gateway]
		n++
		if most.IsZero() || c.load[m.Gateway] > c.load[most.Gateway] {
			most = m
		}
		if c.members[m].well && (least.IsZero() || c.load[m.Gateway] < c.load[least.Gateway]) {
			least = m
		}
	}
	if least.IsZero() || n == 0 {
		return
	}
	gap := c.load[most.Gateway] - c.load[least.Gateway]
	if gap*n*100 <= total*c.set.Slack {
		return
	}
	// The heaviest that makes the gap smaller: never one that swaps the two.
	var pick *volume
	for _, id := range c.order {
		v := c.volumes[id]
		fits := v.rec.State == Active && v.rec.Owner == most && !v.busy && 2*v.weight <= gap && c.now >= v.stay &&
			v.rec.Failed != least.Gateway && !slices.Contains(c.view.volumes[id].rec.Prefer, most.Gateway)
		if fits && (pick == nil || v.weight > pick.weight) {
			pick = v
		}
	}
	if pick != nil {
		pick.stay = c.now + c.set.Sticky
		c.move(pick, least, ReasonBalance, "")
	}
}
