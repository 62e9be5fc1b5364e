package multipath

import "sango/internal/block"

// fencing is the FENCE command under way: one at a time.
type fencing struct {
	on      bool
	id      uint64
	path    pathID
	login   uint32 // of the session that carries it
	due     instant
	earlier bool
	logins  []uint32
	tries   uint8   // refusals in a row
	wait    instant // no other before
}

// gated reports whether nothing may be issued: something that the caller
// believes to be over may still change the medium.
func (e *engine) gated() bool {
	if e.takeOver {
		return true
	}
	for _, in := range e.ended {
		if in.abandoned && !in.fenced {
			return true
		}
	}
	return false
}

// fenceOn goes on with fencing: lets instances pass whose quiesce time is
// over, and orders the next FENCE.
func (e *engine) fenceOn() {
	if e.stopped {
		return
	}
	if e.set.noFence {
		e.takeOver = false
		for _, in := range e.ended {
			e.harmless(in)
		}
		e.prune()
		return
	}
	e.quiesce()
	if e.fence.on || e.now < e.fence.wait {
		return
	}
	p := e.fencePath()
	if p == nil {
		return
	}
	if e.takeOver {
		e.sendFence(p, true, nil)
		return
	}
	var logins []uint32
	for _, in := range e.ended {
		if in.dirty() && in.fenceable && len(logins) < p.maxFence {
			logins = append(logins, in.login)
		}
	}
	if len(logins) > 0 {
		e.sendFence(p, false, logins)
	}
}

// waitsOut reports whether in needs no more than the quiesce time: because the
// target does not know its name, or (capable is unset) because what is behind
// the paths now serves no FENCE.
func (in *instance) waitsOut(up, capable bool) bool {
	return in.dirty() && in.closed && (!in.fenceable || up && !capable)
}

// quiesce takes what has waited for the quiesce time for fenced.
func (e *engine) quiesce() {
	up, capable := e.outlook()
	if e.takeOver && up && !capable && e.now >= e.set.quiesce {
		e.takeOver = false
		e.quiesced++
	}
	done := false
	for _, in := range e.ended {
		if in.waitsOut(up, capable) && e.now >= in.closedAt+e.set.quiesce {
			e.harmless(in)
			e.quiesced++
			done = true
		}
	}
	if done {
		e.prune()
		e.changed()
	}
}

// outlook tells whether a path reaches the volume, and one over which FENCE
// can be sent, now or when it has been probed.
func (e *engine) outlook() (up, capable bool) {
	for _, p := range e.paths {
		up = up || p.up()
		capable = capable || p.up() && p.fence
	}
	return up, capable
}

// fencePath chooses the path that carries FENCE. The access state does not
// matter (docs/fence.md), but the best is the most likely to answer.
func (e *engine) fencePath() *route {
	var best *route
	for _, p := range e.paths {
		if p.up() && p.fence && !p.removing && (best == nil || p.rank() < best.rank()) {
			best = p
		}
	}
	return best
}

func (e *engine) sendFence(p *route, earlier bool, logins []uint32) {
	e.fence = fencing{
		on: true, id: e.number(), path: p.id, login: p.inst.login, due: e.now + e.set.command,
		earlier: earlier, logins: logins, tries: e.fence.tries,
	}
	e.do(action{kind: actFence, path: p.id, login: p.inst.login, id: e.fence.id, earlier: earlier, logins: logins})
}

// fenced takes the answer of FENCE.
func (e *engine) fenced(ev *event) {
	f := &e.fence
	if !f.on || f.id != ev.id {
		return
	}
	f.on = false
	p, o := e.find(f.path), &ev.out
	if p == nil || !p.live() || p.inst.login != f.login {
		return // condemn has seen to it
	}
	if o.lost {
		if !p.inst.draining { // else it is over anyway, and another path fences
			e.abort(p, lossOf(o))
		}
		return
	}
	v, class, cause := judge(o)
	switch {
	case v == isDone:
		f.tries = 0
		e.fences++
		e.setFenced()
		e.changed()
	case v == isFinal && (class == block.Invalid || class == block.Unsupported):
		// This session can't fence after all.
		p.note(e.now, cause)
		p.fence = false
		e.changed()
	default:
		p.note(e.now, cause)
		if v == isAttention && f.tries < maxAttentions {
			e.attention(p, o.sense.ASC)
		} else {
			f.wait = e.now + min(minPause<<min(f.tries, 10), maxPause)
		}
		f.tries = min(f.tries, 100) + 1
	}
	e.drained(p, p.inst)
}

// setFenced notes what the FENCE that was answered with GOOD has promised.
func (e *engine) setFenced() {
	if e.fence.earlier {
		e.takeOver = false
		return
	}
	for _, in := range e.ended {
		for _, l := range e.fence.logins {
			if in.login == l {
				e.harmless(in)
			}
		}
	}
	e.prune()
}

// harmless lets go what waited for the end of in.
func (e *engine) harmless(in *instance) {
	in.fenced, in.abandoned = true, false
	for r := in.waiting.tail; r != nil; r = in.waiting.tail {
		in.waiting.remove(r)
		e.afterLoss(r)
	}
}

// prune forgets the ended instances of which nothing is left.
func (e *engine) prune() {
	kept := e.ended[:0]
	for _, in := range e.ended {
		if !in.closed || in.flight.n > 0 || in.dirty() {
			kept = append(kept, in)
		}
	}
	clear(e.ended[len(kept):])
	e.ended = kept
}

// wakeFence tells w when fencing wants a tick.
func (e *engine) wakeFence(w *waker) {
	if e.stopped || !e.takeOver && len(e.ended) == 0 {
		return
	}
	up, capable := e.outlook()
	switch {
	case e.fence.on:
		w.at(e.fence.due)
	case e.fence.wait > e.now:
		w.at(e.fence.wait)
	}
	if e.takeOver && up && !capable {
		w.at(e.set.quiesce)
	}
	for _, in := range e.ended {
		if in.waitsOut(up, capable) {
			w.at(in.closedAt + e.set.quiesce)
		}
	}
}
