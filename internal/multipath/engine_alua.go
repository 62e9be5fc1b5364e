package multipath

import (
	"sango/internal/san"
	"sango/internal/scsi"
	"sango/internal/scsi/alua"
)

// The ranks of paths: the lowest that has a usable path carries the I/O.
const (
	rankOptimized = iota
	rankNonOptimized
	rankMarginal // the same two again
	_
	rankStandby // does not serve; but where nothing else is left, asking may make the target move
	rankMarginalStandby
	unranked // not to be used
)

// rank returns the rank of a path by its port group's state and its own.
func (p *route) rank() int {
	var r int
	switch p.access {
	case alua.Optimized:
		r = rankOptimized
	case alua.NonOptimized, alua.LBADependent:
		r = rankNonOptimized
	case alua.Standby:
		r = rankStandby
	default:
		return unranked
	}
	if p.state != PathMarginal {
		return r
	}
	if r == rankStandby {
		return rankMarginalStandby
	}
	return r + rankMarginal
}

// setAccess takes the state of p's port group from a command's sense data, and
// asks for the whole truth.
func (e *engine) setAccess(p *route, s alua.State) {
	if !p.alua {
		// A target that said that it has no such states: nothing can be asked.
		return
	}
	e.applyAccess(p.group, s, p.prefer)
	e.readGroups(p, false)
}

// applyAccess gives every path of a port group its state.
func (e *engine) applyAccess(group uint16, s alua.State, prefer bool) {
	for _, p := range e.paths {
		if !p.alua || p.group != group || p.access == s && p.prefer == prefer {
			continue
		}
		p.access, p.prefer = s, prefer
		p.pollAt = e.now + poll
		e.stale = true
		e.changed()
	}
}

// readGroups orders REPORT TARGET PORT GROUPS on p, once more if one is under
// way: its answer may be older than what made us ask. cross: another port's
// answer made us ask.
func (e *engine) readGroups(p *route, cross bool) {
	if !p.live() || p.inst.draining || !p.alua {
		return
	}
	if p.reading {
		p.reread = true
		p.crossed = p.crossed && cross
		return
	}
	p.reading, p.reread, p.crossed = true, false, cross
	p.expect(e)
	e.ask(actReadGroups, p)
}

// groupsRead takes the answer of REPORT TARGET PORT GROUPS. A port is believed
// about its own group only: targets exist whose controllers disagree. Where
// it reports something new about another group, a port of that is asked.
func (e *engine) groupsRead(p *route, ev *event) {
	if !p.reading {
		return
	}
	p.reading, p.readAt = false, e.now
	if p.access == alua.Transitioning {
		p.pollAt = e.now + poll
	}
	if ev.groups == nil {
		if ev.out.lost {
			return
		}
		v, _, cause := judge(&ev.out)
		if v == isDone {
			return // the target has none any more: the last ones stay
		}
		if v == isAttention {
			e.attention(p, ev.out.sense.ASC)
		}
		p.note(e.now, cause)
		p.pollAt = e.now + poll
		p.unread = true
		return
	}
	p.unread = false
	again, cross := p.reread, p.crossed
	e.applyGroups(p, ev.groups, !cross)
	if again {
		e.readGroups(p, cross)
	}
}

// applyGroups applies what p's port reports.
func (e *engine) applyGroups(p *route, groups []alua.Group, crossCheck bool) {
	for i := range groups {
		g := &groups[i]
		if g.ID == p.group {
			e.applyAccess(g.ID, g.State, g.Preferred)
			continue
		}
		if !crossCheck {
			continue
		}
		for _, o := range e.paths {
			if o.alua && o.group == g.ID && o.access != g.State && o.inst != nil {
				e.readGroups(o, true)
				break
			}
		}
	}
}

// attention acts on a unit attention (SPC-4 §5.17).
func (e *engine) attention(p *route, asc scsi.ASC) {
	switch asc {
	case scsi.ASCAccessStateChanged:
		e.readGroups(p, false)
	case scsi.ASCCapacityChanged, scsi.ASCMediumMayHaveChanged:
		e.ask(actReadCapacity, p)
	case scsi.ASCReportedLUNsChanged, scsi.ASCInquiryDataChanged:
		// Another volume may be behind this LUN now.
		e.reprobe(p)
	default:
		if asc>>8 == scsi.ASCPowerOnOrReset>>8 {
			e.readGroups(p, false)
		}
	}
}

// setting is a SET TARGET PORT GROUPS under way.
type setting struct {
	id    uint64 // of the action
	asked uint64 // of the evOptimize
	group uint16
	path  pathID
	login uint32
	due   instant
	tries int
}

// optimize asks the target to make group active/optimized.
func (e *engine) optimize(group uint16, asked uint64) {
	var err error
	p := e.explicitPath()
	switch {
	case e.stopped:
		err = errStopped
	case p == nil:
		err = san.Errorf(san.ErrRefused, "no path is up whose target lets hosts choose port groups (explicit ALUA)")
	case !e.hasGroup(group):
		err = san.Errorf(san.ErrNotFound, "no path is in port group %d", group)
	case len(e.sets) >= maxSets:
		err = san.Errorf(san.ErrUnavailable, "too many changes of port groups at one time")
	default:
		e.sendSet(p, setting{asked: asked, group: group, path: p.id, login: p.inst.login, due: e.now + e.set.command})
		return
	}
	e.do(action{kind: actOptimized, id: asked, err: err})
}

// explicitPath returns the best path over which port groups can be set.
func (e *engine) explicitPath() *route {
	var best *route
	for _, p := range e.paths {
		if p.up() && p.alua && p.explicit && (best == nil || p.rank() < best.rank()) {
			best = p
		}
	}
	return best
}

func (e *engine) hasGroup(group uint16) bool {
	for _, p := range e.paths {
		if p.alua && p.group == group {
			return true
		}
	}
	return false
}

func (e *engine) sendSet(p *route, s setting) {
	s.id = e.number()
	s.tries++
	e.sets = append(e.sets, s)
	e.do(action{kind: actSetGroups, path: p.id, login: s.login, id: s.id, group: s.group})
}

// groupsSet takes the answer of SET TARGET PORT GROUPS.
func (e *engine) groupsSet(id uint64, o *outcome) {
	for i := range e.sets {
		s := e.sets[i]
		if s.id != id {
			continue
		}
		if o.lost {
			e.optimized(i, lossOf(o))
			return
		}
		v, _, cause := judge(o)
		p := e.find(s.path)
		if v == isAttention && s.tries < maxAttentions && p != nil && p.inst != nil && p.inst.login == s.login {
			e.attention(p, o.sense.ASC)
			e.sets = append(e.sets[:i], e.sets[i+1:]...)
			e.sendSet(p, s)
			return
		}
		e.optimized(i, cause)
		return
	}
}

// optimized answers the i-th of e.sets.
func (e *engine) optimized(i int, err error) {
	s := e.sets[i]
	e.sets = append(e.sets[:i], e.sets[i+1:]...)
	if err == nil {
		for _, p := range e.paths {
			e.readGroups(p, false)
		}
	}
	e.do(action{kind: actOptimized, id: s.asked, err: err})
}
