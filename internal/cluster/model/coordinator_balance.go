package model

import (
	"slices"

	"sango/internal/san"
)

// load is what a gateway has, or is to get.
type load struct{ volumes, work int }

// mostWork bounds what one volume is said to be.
const mostWork = 1 << 30

func (c *Coordinator) burden(g GatewayID, sign, work int) {
	l := c.load[g]
	c.load[g] = load{l.volumes + sign, l.work + sign*work}
}

// at is the gateway that has the volume, or is to get it.
func (o *OwnerRecord) at() GatewayID {
	switch o.State {
	case Active:
		return o.Owner.Gateway
	case Moving:
		return o.To.Gateway
	}
	return ""
}

// learning is how long the gateway that gets a volume may take to tell how much
// work that is, in looks. Until then what was known before holds: else the one
// that has just got a busy volume would be given others.
const learning = 12

// came notes that v has another gateway, or is seen for the first time. Who
// moved it for balance, or for a host, may have been another coordinator: it
// stays all the same.
func (c *Coordinator) came(v *volume) {
	v.learned = c.now + learning*max(0, c.set.Balance)
	if r := v.rec.Reason; r == ReasonBalance || r == ReasonAsked {
		v.stay = max(v.stay, c.now+c.set.Sticky)
	}
}

// weighed takes what a gateway tells of its volumes.
func (c *Coordinator) weighed(ev Weighed) {
	for id := range c.works[ev.Gateway] {
		if _, named := ev.Work[id]; !named {
			c.tell(id, ev.Gateway, 0)
		}
	}
	for id, w := range ev.Work {
		c.tell(id, ev.Gateway, w)
	}
	if c.works[ev.Gateway] = ev.Work; len(ev.Work) == 0 {
		delete(c.works, ev.Gateway)
	}
}

// tell notes how much work a volume is, by the word of a gateway: it counts
// where that has the volume.
func (c *Coordinator) tell(id san.UUID, by GatewayID, work int) {
	v := c.volumes[id]
	if work = min(max(work, 0), mostWork); v == nil || v.rec.at() != by || v.work == work || work == 0 && c.now < v.learned {
		return
	}
	c.tally(v, -1)
	v.work = work
	c.tally(v, 1)
}

// looks is how many looks in a row must find one gateway to have too much work:
// loads that swing to and fro are none of the coordinator's business.
const looks = 6

// balance moves one volume at a time to where there is less to do.
func (c *Coordinator) balance() {
	if c.set.Balance < 0 || c.now < c.balanced+c.set.Balance {
		return
	}
	c.balanced = c.now
	for _, id := range c.order {
		at := c.volumes[id].rec.at()
		c.tell(id, at, c.works[at][id])
	}
	var all []Member
	for _, m := range c.view.live() {
		x := c.members[m]
		if _, ok := c.candidate(m.Gateway); !ok {
			x.works = nil
			continue
		}
		all = append(all, m)
		if x.works = append(x.works, c.load[m.Gateway].work); len(x.works) > looks {
			x.works = slices.Delete(x.works, 0, 1)
		}
	}
	if len(all) > 1 && c.moves == 0 && len(c.pending) == 0 && len(c.queue) == 0 && !c.ease(all) {
		c.even(all)
	}
}

// relief is what can be taken from a gateway with too much work.
type relief struct {
	most int // work that it has had for a while, at least
	gap  int // to the one with the least
	pick *volume
	sum  int // of all that could be picked
}

// ease moves a volume from a gateway with too much work, as it has been for a
// while, to the one with the least: the busiest whose move makes the difference
// between the two smaller, and never one that swaps them.
func (c *Coordinator) ease(all []Member) bool {
	var to Member
	least, total := 0, 0
	for _, m := range all {
		total += c.load[m.Gateway].work
		x := c.members[m]
		if len(x.works) < looks || !c.takes(m) {
			continue
		}
		if w := slices.Max(x.works); to.IsZero() || w < least {
			to, least = m, w
		}
	}
	if to.IsZero() {
		return false
	}
	enough := max(c.set.Worth, total/len(all)*c.set.WorkSlack/100)
	from := map[Member]*relief{}
	for _, m := range all {
		if x := c.members[m]; len(x.works) == looks {
			if most := slices.Min(x.works); most-least > enough {
				from[m] = &relief{most: most, gap: most - least}
			}
		}
	}
	if len(from) == 0 {
		return false
	}
	var best *relief
	for _, id := range c.order {
		v := c.volumes[id]
		r := from[v.rec.Owner]
		if r == nil || v.work == 0 || 2*v.work > r.gap || !c.movable(v, v.rec.Owner, to) {
			continue
		}
		if r.sum += v.work; r.pick == nil || v.work > r.pick.work {
			r.pick = v
		}
		// What changes nothing worth a word, all of it together, stays.
		if 2*r.sum > enough && (best == nil || r.most > best.most) {
			best = r
		}
	}
	if best == nil {
		return false
	}
	c.shift(best.pick, to)
	return true
}

// even moves a volume from the gateway with the most of them to the one with the
// fewest among those that do not have clearly more work: one that is idle, or whose
// work makes the difference smaller too.
func (c *Coordinator) even(all []Member) {
	var from, to Member
	var most, least load
	total := 0
	for _, m := range all {
		l := c.load[m.Gateway]
		total += l.volumes
		if from.IsZero() || l.volumes > most.volumes {
			from, most = m, l
		}
	}
	for _, m := range all {
		l := c.load[m.Gateway]
		if c.takes(m) && l.work <= most.work+c.set.Worth && (to.IsZero() || l.volumes < least.volumes) {
			to, least = m, l
		}
	}
	gap := most.volumes - least.volumes
	if to.IsZero() || gap < 2 || gap*len(all)*100 <= total*c.set.Slack {
		return
	}
	var pick *volume
	for _, id := range c.order {
		v := c.volumes[id]
		fits := v.work == 0 || 2*v.work <= most.work-least.work
		if fits && (pick == nil || v.work < pick.work) && c.movable(v, from, to) {
			pick = v
		}
	}
	if pick != nil {
		c.shift(pick, to)
	}
}

// takes reports whether m may get volumes without need.
func (c *Coordinator) takes(m Member) bool { return c.members[m].well && !c.doubtful(m) }

// movable reports whether v may move for balance.
func (c *Coordinator) movable(v *volume, from, to Member) bool {
	return v.rec.State == Active && v.rec.Owner == from && !v.busy && c.now >= v.stay && c.now >= v.retry &&
		v.rec.Failed != to.Gateway && !slices.Contains(c.view.volumes[v.id].rec.Prefer, from.Gateway)
}

// A volume that is moved for balance again before it has stayed for so many
// times as long as it had to stays twice as long, up to that many times Sticky.
const (
	calm     = 8
	stickier = 48
)

// shift moves v for balance.
func (c *Coordinator) shift(v *volume, to Member) {
	if again := c.now < v.stay+calm*v.sticky; again {
		v.sticky = min(2*v.sticky, stickier*c.set.Sticky)
	} else {
		v.sticky = c.set.Sticky
	}
	v.stay = c.now + v.sticky
	c.move(v, to, ReasonBalance, "")
}
