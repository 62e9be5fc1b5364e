package multipath

import (
	"errors"
	"fmt"

	"sango/internal/block"
	"sango/internal/scsi/alua"
)

// result takes the end of a command.
func (e *engine) result(r *request, o *outcome) {
	p, in := r.p, r.in
	if in == nil {
		return // not in flight
	}
	r.in = nil
	in.flight.remove(r)
	in.bytes -= r.work
	if o.lost {
		e.resultLost(r, in, o)
	} else {
		e.answered(r, p, in, o)
	}
	e.drained(p, in)
}

// resultLost takes the end of a command that nobody answered. What may have
// been handed to the target and changes the medium is not sent again before
// its session is known to be harmless (DESIGN R4 d). A read goes at once: it
// does nothing when it is executed late. So does a flush: it vouches for what
// was done before it was submitted, over whatever path that went, since all
// paths lead to one volume; a late copy of it makes more stable, never less.
func (e *engine) resultLost(r *request, in *instance, o *outcome) {
	p := r.p
	if p.inst == in && !in.condemned && (o.sent || !in.draining) {
		e.abort(p, lossOf(o))
	}
	if !o.sent {
		if in.draining {
			r.p = nil // it never went anywhere: this is no retry
		}
		e.again(r)
		return
	}
	if !in.draining {
		p.errors++
	}
	r.losses++
	if !r.changes() || in.fenced || e.set.noFence {
		e.afterLoss(r)
		return
	}
	if e.stopped || e.expired {
		in.abandoned = true
		e.again(r) // which ends it
		return
	}
	in.waiting.push(r)
}

// afterLoss sends r again, unless it seems to be what kills the sessions.
func (e *engine) afterLoss(r *request) {
	if r.losses >= maxLosses {
		e.fail(r, block.Busy, fmt.Errorf("lost with %d sessions", r.losses))
		return
	}
	e.again(r)
}

func lossOf(o *outcome) error {
	if o.err != nil {
		return o.err
	}
	return errors.New("the session was lost")
}

// answered takes an answer.
func (e *engine) answered(r *request, p *route, in *instance, o *outcome) {
	v, class, cause := judge(o)
	live := p.inst == in && !in.condemned
	if o.sense.Deferred {
		e.deferred = cause
	}
	if v == isDone {
		p.measure(e.now, e.now-r.sentAt)
		p.calm(e.set.depth)
		if r.volatile {
			e.wrote(in)
		}
		if r.blk.Op == block.OpFlush {
			if err := e.flushed(r, in); err != nil {
				// What the flush should have made stable may be lost.
				e.fail(r, block.Medium, err)
				return
			}
		}
		e.end(r, nil)
		return
	}
	if v != isAttention {
		p.errors++
	}
	if live {
		e.heed(p, v, o, cause, r.sentAt)
	}
	switch v {
	case isFinal:
		e.fail(r, class, cause)
	case isAttention:
		e.attended(r, p, cause)
	case isAborted:
		r.aborts++
		if r.aborts < maxAborts {
			e.pause(r, cause)
			return
		}
		if class == 0 {
			class = block.Busy
		}
		e.fail(r, class, cause)
	default:
		e.pause(r, cause)
	}
}

// attended sends a request that met a unit attention again, at once and where
// it was.
func (e *engine) attended(r *request, p *route, cause error) {
	if r.attends++; r.attends > maxAttentions {
		r.attends = 0
		e.pause(r, cause)
		return
	}
	if p.usable() && !e.stopped && !e.gated() {
		e.send(r, p)
		return
	}
	e.again(r)
}

// heed draws from an answer what it says about its path.
func (e *engine) heed(p *route, v verdict, o *outcome, cause error, sentAt instant) {
	switch v {
	case isAttention:
		e.attention(p, o.sense.ASC)
	case isTransition:
		e.setAccess(p, alua.Transitioning)
	case isStandby:
		e.setAccess(p, alua.Standby)
	case isGone:
		e.setAccess(p, alua.Unavailable)
	case isBusy:
		p.lower(sentAt, e.now)
	case isFault:
		if p.inst.draining {
			return
		}
		e.blame(p, cause)
		e.become(p, PathFailed)
		e.reprobe(p)
	}
}
