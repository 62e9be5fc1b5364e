package model

import (
	"slices"

	"sango/internal/san"
)

// enqueue has a volume decided on.
func (c *Coordinator) enqueue(v *volume) {
	if !v.queued {
		v.queued = true
		c.queue = append(c.queue, v.id)
	}
}

func (c *Coordinator) enqueueAll() {
	for _, id := range c.order {
		c.enqueue(c.volumes[id])
	}
}

// again has a volume decided on at an instant.
func (c *Coordinator) again(v *volume, at Instant) {
	if d, ok := c.due[v.id]; !ok || at < d {
		c.due[v.id] = at
	}
	c.next = min(c.next, at)
}

// ripe has the volumes decided on that are due.
func (c *Coordinator) ripe() {
	if c.now < c.next {
		return
	}
	var ids []san.UUID
	c.next = never
	for id, at := range c.due {
		if at <= c.now {
			ids = append(ids, id)
			delete(c.due, id)
		} else {
			c.next = min(c.next, at)
		}
	}
	slices.SortFunc(ids, compareIDs)
	for _, id := range ids {
		c.enqueue(c.volumes[id])
	}
}

// work decides on the volumes that wait for it, as far as there is room for
// transactions.
func (c *Coordinator) work() {
	c.ripe()
	for len(c.pending) < c.set.Window {
		if len(c.queue) == 0 && len(c.parked) > 0 && c.fences < c.set.Window {
			v := c.volumes[c.parked[0]]
			c.parked = c.parked[1:]
			v.parked = false
			c.enqueue(v)
		}
		if len(c.queue) == 0 {
			return
		}
		v := c.volumes[c.queue[0]] // what is queued is not forgotten
		c.queue = c.queue[1:]
		v.queued = false
		c.decide(v)
	}
}

// deleted forgets a volume that has no record any more, and nobody owns: nothing
// about it is under way.
func (c *Coordinator) deleted(v *volume) {
	if _, owned := c.view.owners[v.id]; owned || v.parked || v.queued {
		return // decided on again
	}
	delete(c.volumes, v.id)
	delete(c.due, v.id)
	if i, ok := slices.BinarySearchFunc(c.order, v.id, compareIDs); ok {
		c.order = slices.Delete(c.order, i, i+1)
	}
	for _, m := range c.members {
		if !m.fences[v.id].busy {
			delete(m.fences, v.id)
		}
	}
}

// propose asks for a transaction about a volume or a member.
func (c *Coordinator) propose(p proposal, guards []Guard, puts []Record, deletes ...Key) {
	c.ids++
	p.puts = puts
	if p.volume != nil {
		p.volume.busy = true
		if p.toward != "" {
			p.work = p.volume.work
			c.burden(p.toward, 1, p.work)
		}
	} else {
		p.gateway.busy = true
	}
	c.pending[c.ids] = p
	guards = append(guards, Guard{Key{Kind: KindCoordinator}, c.term})
	c.eff = append(c.eff, Propose{c.ids, Txn{guards, puts, deletes}})
}

// answered takes the end of a transaction. What it changed counts when the
// stream of changes tells it, like everybody else's.
func (c *Coordinator) answered(a Answered) {
	p, ok := c.pending[a.ID]
	if !ok {
		return
	}
	if a.Outcome == Committed {
		if p.volume != nil {
			p.volume.await = a.Rev
		} else {
			p.gateway.await = a.Rev
		}
		c.settle()
		if !c.set.has(streamFirst) {
			for _, r := range p.puts {
				c.changed(Change{a.Rev, r.Key(), r})
			}
		}
		return
	}
	c.drop(a.ID)
	if p.volume != nil {
		p.volume.busy, p.volume.retry = false, c.now+c.set.Retry
		c.again(p.volume, p.volume.retry)
		return
	}
	p.gateway.busy, p.gateway.retry = false, c.now+c.set.Retry
}

// drop forgets a transaction. What it put on a gateway is counted by the record
// now, if it was made.
func (c *Coordinator) drop(id uint64) {
	if p := c.pending[id]; p.toward != "" {
		c.burden(p.toward, -1, p.work)
	}
	delete(c.pending, id)
}

// Wake tells when the machine wants a Tick, if it does.
func (c *Coordinator) Wake() (Instant, bool) {
	if c.term == 0 || !c.view.synced {
		return 0, false
	}
	w := c.next
	for _, m := range c.members {
		if m.retry > c.now {
			w = min(w, m.retry)
		}
		if c.view.gone(m.name) {
			continue
		}
		if c.set.TTL > 0 {
			w = min(w, max(m.heard+c.set.TTL, m.retry))
		}
		if !m.well {
			w = min(w, m.since+c.set.Failback)
		}
	}
	if c.set.Balance > 0 {
		w = min(w, c.balanced+c.set.Balance)
	}
	// What is due already but has to wait for an event must not make a runtime
	// spin.
	return max(w, c.now+c.set.Retry/10), w != never
}
