package multipath

import (
	"fmt"

	"sango/internal/block"
	"sango/internal/scsi/alua"
)

// reprobe finds out anew what is behind p; until then p is not used.
func (e *engine) reprobe(p *route) {
	if !p.live() || p.inst.draining {
		return
	}
	if p.state == PathUp || p.state == PathMarginal {
		e.become(p, PathProbing)
	}
	if p.probing {
		p.reprobe = true
		return
	}
	p.probing, p.reprobe = true, false
	p.nextCheck = e.now + e.set.check
	p.expect(e)
	e.ask(actProbe, p)
}

func (e *engine) probed(p *route, pr *probe, o *outcome) {
	if !p.probing || !p.live() {
		return
	}
	p.probing = false
	p.nextCheck = e.now + e.set.check
	e.stale = true
	if p.reprobe {
		e.reprobe(p)
		return
	}
	if pr == nil {
		err := o.err
		if !o.lost {
			if _, _, cause := judge(o); cause != nil {
				err = cause
			}
			e.blame(p, err)
		}
		p.note(e.now, err)
		e.become(p, PathFailed)
		return
	}
	if e.set.identity == "" {
		e.set.identity = pr.identity
	}
	if pr.identity != e.set.identity {
		p.note(e.now, fmt.Errorf("reaches volume %s, not %s: check the target and LUN of this portal", pr.identity, e.set.identity))
		e.become(p, PathWrongIdentity)
		return
	}
	e.join(p, pr)
}

// join lets a path that reaches the volume carry I/O.
func (e *engine) join(p *route, pr *probe) {
	p.alua, p.explicit, p.group = pr.alua, pr.explicit, pr.group
	p.fence, p.maxFence = pr.fence, max(1, pr.maxFence)
	p.inst.fenceable = p.inst.fenceable || pr.fence
	p.inst.boot = pr.boot
	e.booted(pr.boot)
	p.settledAt = e.now
	if p.fell {
		p.settledAt += e.set.failback
	}
	p.fell = false
	if p.marginal {
		e.become(p, PathMarginal)
	} else {
		e.become(p, PathUp)
	}
	e.changed()
	p.access = alua.Optimized
	if p.alua {
		p.access, p.readAt = alua.Unavailable, e.now // what its port does not report is not served
		e.applyGroups(p, pr.groups, true)
		if p.access == alua.Transitioning {
			p.pollAt = e.now + poll
		}
	}
}

// checked takes the answer of TEST UNIT READY.
func (e *engine) checked(p *route, o *outcome) {
	if !p.checking || !p.live() {
		return
	}
	p.checking = false
	if o.lost {
		e.abort(p, lossOf(o))
		return
	}
	v, class, cause := judge(o)
	if v == isAttention {
		e.attention(p, o.sense.ASC)
		if p.attends++; p.attends < maxAttentions {
			e.check(p)
		}
		return
	}
	p.attends = 0
	p.checkLat = e.now - p.checkAt
	alive := true
	switch v {
	case isTransition, isStandby, isGone:
		e.heed(p, v, o, cause, p.checkAt)
	case isFinal:
		alive = class == block.Fenced // a reservation: somebody answers
	case isUnready, isFault:
		alive = false
	case isAborted:
		alive = class == 0
	}
	switch {
	case !alive:
		e.blame(p, cause)
		e.become(p, PathFailed)
		return
	case p.state == PathFailed:
		e.reprobe(p)
		return
	}
	if p.alua && e.now-p.readAt >= e.set.check {
		e.readGroups(p, false)
	}
	e.compare(p)
}

// check orders TEST UNIT READY.
func (e *engine) check(p *route) {
	p.checking, p.checkAt = true, e.now
	p.nextCheck = e.now + e.set.check
	p.expect(e)
	e.ask(actCheck, p)
}
