package model

// deaths declares dead who is: no heartbeat for TTL on this clock, or suspected
// by most of the others.
func (c *Coordinator) deaths() {
	if c.set.TTL == 0 || c.now-c.contact > c.set.TTL/2 {
		return // the store is silent: nobody can be heard
	}
	live := c.view.live()
	for _, name := range live {
		m := c.member(name)
		if c.now >= m.heard+c.set.TTL {
			c.declare(m, ReasonSilent)
		}
		if !m.well && c.now >= m.since+c.set.Failback {
			m.well = true
			c.enqueueAll()
		}
	}
	c.suspicions(live)
}

// suspicions declares dead who does not answer a majority of the other live
// gateways, at least two of them. One at a time: who is dead has no vote any
// more, so that a split in halves ends with one of them alive.
func (c *Coordinator) suspicions(live []Member) {
	votes := map[Member][]Guard{} // the records of those who suspect it
	c.suspected = votes
	for _, name := range live {
		b := c.view.beats[name.Gateway].rec
		if b.Incarnation != name.Incarnation || c.now < c.member(name).vote && c.set.has(votesLater) {
			continue
		}
		for _, s := range b.Suspects {
			if s != name {
				votes[s] = append(votes[s], c.view.guard(GatewayRecord{ID: name.Gateway}.Key()))
			}
		}
	}
	if len(votes) == 0 {
		return
	}
	var worst *member
	for _, name := range live {
		m := c.member(name)
		if m.busy && c.set.has(oneDeathATime) {
			return
		}
		if n := len(votes[name]); n >= 2 && 2*n > len(live)-1 {
			if !c.set.has(oneDeathATime) {
				c.declare(m, ReasonSuspected)
			}
			if worst == nil || n > len(votes[worst.name]) {
				worst = m
			}
		}
	}
	if worst != nil {
		c.declare(worst, ReasonSuspected, votes[worst.name]...) // as long as they live
	}
}

// doubtful reports whether m may be about to be declared dead: what it is given
// now would move once more.
func (c *Coordinator) doubtful(m Member) bool {
	return c.set.TTL > 0 && c.now > c.member(m).heard+c.set.TTL/2 || len(c.suspected[m]) > 0
}

// declare proposes that m is dead. The guard of its last heartbeat makes that
// the last one ever: none can be committed after the death, none before it was
// missed. So m's right ends TTL after this machine saw that heartbeat.
func (c *Coordinator) declare(m *member, why Reason, voters ...Guard) {
	if m.busy || c.now < m.retry {
		return
	}
	g := c.view.gateways[m.name.Gateway]
	dead := g.rec
	dead.Life, dead.Why = Dead, why
	guards := append(voters, c.view.guard(dead.Key()))
	if c.set.has(guardBeat) {
		guards = append(guards, c.view.guard(BeatRecord{ID: dead.ID}.Key()))
	}
	c.propose(proposal{gateway: m}, guards, []Record{dead})
}

// forget deletes the records of removed gateways that no volume names any
// more, and what this machine remembers of members that nobody names.
func (c *Coordinator) forget() {
	for name, m := range c.members {
		if !c.view.gone(name) || m.busy || c.now < m.retry {
			continue
		}
		if c.record(m); m.busy {
			continue
		}
		g, there := c.view.gateways[name.Gateway]
		if c.named[name.Gateway] > 0 {
			continue
		}
		if !there || g.rec.Incarnation != name.Incarnation {
			if m.idle() {
				delete(c.members, name)
			}
			continue
		}
		if g.rec.Life == Removed {
			guards := []Guard{c.view.guard(g.rec.Key())}
			deletes := []Key{g.rec.Key()}
			for _, k := range []Key{BeatRecord{ID: name.Gateway}.Key(), DrainRecord{ID: name.Gateway}.Key(), FenceRecord{ID: name.Gateway}.Key()} {
				guards = append(guards, c.view.guard(k))
				deletes = append(deletes, k)
			}
			c.propose(proposal{gateway: m}, guards, nil, deletes...)
		}
	}
}

// idle reports whether no fence of m is under way.
func (m *member) idle() bool {
	for _, f := range m.fences {
		if f.busy {
			return false
		}
	}
	return true
}
