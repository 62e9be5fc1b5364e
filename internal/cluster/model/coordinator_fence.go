package model

import "sango/internal/san"

// safe reports whether nothing of m, which is gone, can reach the volume any
// more. If not, it sees to that: by a fence, and where that is enough, by
// waiting until m's right has run out.
func (c *Coordinator) safe(m Member, v *volume) bool {
	if m.IsZero() || !c.set.has(waitForRight) {
		return true
	}
	g, there := c.view.gateways[m.Gateway]
	if m.Incarnation <= c.view.fences[m.Gateway].rec.Upto {
		return true
	}
	x := c.member(m)
	if x.whole || x.fences[v.id].done {
		return true
	}
	switch c.view.volumes[v.id].rec.Fencing {
	case FenceDriver:
		if c.set.TTL > 0 {
			end := x.heard + c.set.TTL
			if c.now >= end {
				return true
			}
			c.again(v, end)
		}
		c.fence(x, v, v.id)
	case FenceCommand:
		// The command turns off a machine. Once another incarnation runs there,
		// that is not an answer to the death of the one before.
		if !there || g.rec.Incarnation == m.Incarnation {
			c.fence(x, v, san.UUID{})
		}
	}
	return false
}

// fence has a member fenced, from a volume or as a whole, for the sake of v.
func (c *Coordinator) fence(m *member, v *volume, from san.UUID) {
	f := m.fences[from]
	switch {
	case f.busy || f.done:
	case c.now < f.retry:
		c.again(v, f.retry)
	case c.fences >= c.set.Window && !from.IsZero():
		if !v.parked {
			v.parked = true
			c.parked = append(c.parked, v.id)
		}
	default:
		if !from.IsZero() { // else there is one for each gateway, and waits for no driver
			c.fences++
		}
		f.busy = true
		m.fences[from] = f
		c.eff = append(c.eff, Fence{m.name, from})
	}
}

// fenceEnded takes the answer of a fence. What succeeded counts as long as
// this machine lives, elected or not: a fence does not go away.
func (c *Coordinator) fenceEnded(ev FenceEnded) {
	m := c.member(ev.Member)
	if f := m.fences[ev.Volume]; f.busy {
		if !ev.Volume.IsZero() {
			c.fences--
		}
		m.fences[ev.Volume] = fencing{done: ev.OK, retry: c.now + c.set.Retry}
	}
	if ev.OK && ev.Volume.IsZero() {
		m.whole = true
	}
	c.record(m)
	switch v := c.volumes[ev.Volume]; {
	case ev.Volume.IsZero():
		c.enqueueAll()
	case v == nil: // deleted meanwhile
		delete(m.fences, ev.Volume)
	case ev.OK:
		c.enqueue(v)
	default:
		c.again(v, c.now+c.set.Retry)
	}
}

// record keeps it that a whole member is fenced: another coordinator need not
// turn off again what may be back by then.
func (c *Coordinator) record(m *member) {
	rec := FenceRecord{m.name.Gateway, m.name.Incarnation}
	if !m.whole || m.busy || c.now < m.retry || c.term == 0 || c.view.fences[rec.ID].rec.Upto >= rec.Upto {
		return
	}
	c.propose(proposal{gateway: m}, []Guard{c.view.guard(rec.Key())}, []Record{rec})
}
