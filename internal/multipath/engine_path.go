package multipath

import (
	"errors"
	"fmt"

	"sango/internal/san"
	"sango/internal/scsi/alua"
)

// route is a path as the engine sees it: a portal, and what is behind it.
type route struct {
	id       pathID
	name     string
	state    PathState
	since    instant // of state
	inst     *instance
	removing bool

	// From the last probe.
	alua, explicit, prefer, fence bool
	maxFence                      int
	group                         uint16
	access                        alua.State // Optimized without alua

	// Questions under way in this session, and until when the next answer is
	// expected.
	probing, checking, reading bool
	reprobe, reread, crossed   bool
	answerBy                   instant
	checkAt, nextCheck         instant
	readAt, pollAt             instant
	attends                    uint8 // unit attentions that checks met in a row
	unread                     bool  // the last REPORT TARGET PORT GROUPS failed

	fell      bool    // was lost or failed since it was up
	settledAt instant // end of the failback delay

	limit     int // of commands in flight
	good      int // answers since limit was raised
	loweredAt instant

	health
	sent, errors, losses uint64
	lastErr              error
	lastAt               instant
}

// instance is one session, from its login until nothing of it can do harm.
type instance struct {
	login     uint32
	path      *route
	named     bool
	fenceable bool     // the target knows its name (page C0h)
	boot      san.UUID // as probed; zero: not told
	condemned bool     // over, or to be aborted: takes no commands
	draining  bool     // takes no more commands, and is over soon
	closed    bool     // its connection is closed, since:
	closedAt  instant  //
	fenced    bool     // nothing of it can change the medium any more
	abandoned bool     // a request ended whose copy may still be executed
	flight    reqList  // in the order of the sends
	bytes     int64    // of work in flight
	waiting   reqList  // to be sent again when it is fenced
}

// dirty reports whether the instance has to be fenced.
func (in *instance) dirty() bool { return !in.fenced && (in.waiting.n > 0 || in.abandoned) }

// live reports whether p has a session that is not to be given up.
func (p *route) live() bool { return p.inst != nil && !p.inst.condemned }

// up reports whether p reaches the volume.
func (p *route) up() bool { return p.live() && (p.state == PathUp || p.state == PathMarginal) }

// usable reports whether I/O may go to p.
func (p *route) usable() bool { return p.up() && !p.removing && p.rank() < unranked }

// inFlight returns the number of commands in flight on p.
func (p *route) inFlight() int {
	if p.inst == nil {
		return 0
	}
	return p.inst.flight.n
}

// expect starts the time in which a question has to be answered.
func (p *route) expect(e *engine) { p.answerBy = e.now + e.set.command }

// asking reports whether a question is under way.
func (p *route) asking() bool { return p.probing || p.checking || p.reading }

// note records an error.
func (p *route) note(now instant, err error) {
	if err != nil {
		p.lastErr, p.lastAt = err, now
	}
}

// lower takes BUSY or TASK SET FULL for a command sent at sentAt. Answers to
// what was sent before the limit was lowered do not lower it again.
func (p *route) lower(sentAt, now instant) {
	if sentAt >= p.loweredAt {
		p.limit = max(1, min(p.limit, p.inFlight()+1)/2)
		p.loweredAt, p.good = now+1, 0
	}
}

// calm takes an answer that was no refusal: the limit grows by one in as many
// of them as it has.
func (p *route) calm(depth int) {
	if p.limit >= depth {
		return
	}
	if p.good++; p.good >= p.limit {
		p.limit, p.good = p.limit+1, 0
	}
}

func (e *engine) find(id pathID) *route {
	for _, p := range e.paths {
		if p.id == id {
			return p
		}
	}
	return nil
}

// become gives p a state.
func (e *engine) become(p *route, s PathState) {
	if p.state != s {
		if s == PathDown || s == PathFailed {
			p.fell = p.fell || p.state != PathLoggingIn && p.state != PathProbing
		}
		p.state, p.since = s, e.now
		e.stale = true
		e.changed()
	}
}

func (e *engine) add(id pathID, name string) {
	if e.find(id) != nil {
		return
	}
	if len(e.paths) >= e.set.paths || e.stopped {
		e.do(action{kind: actGone, path: id, err: fmt.Errorf("the volume has %d paths already; more are not taken", len(e.paths))})
		return
	}
	e.paths = append(e.paths, &route{id: id, name: name, state: PathLoggingIn, since: e.now, limit: e.set.depth})
	e.changed()
}

func (e *engine) remove(p *route) {
	if p.removing {
		return
	}
	p.removing = true
	e.stale = true
	e.changed()
	if p.inst == nil {
		e.forget(p)
		return
	}
	e.drained(p, p.inst)
}

func (e *engine) forget(p *route) {
	for i := range e.paths {
		if e.paths[i] == p {
			e.paths = append(e.paths[:i], e.paths[i+1:]...)
			break
		}
	}
	e.stale = true
	e.changed()
	e.do(action{kind: actGone, path: p.id})
}

// drained looks at in after the end of a command of it.
func (e *engine) drained(p *route, in *instance) {
	if in.condemned {
		e.prune()
		return
	}
	if p.removing && p.inst == in && in.flight.n == 0 && (!e.fence.on || e.fence.login != in.login) {
		in.condemned = true
		e.ended = append(e.ended, in)
		e.ask(actLogout, p)
	}
}

func (e *engine) loginFailed(p *route, err error) {
	if p.inst == nil {
		e.become(p, PathDown)
		p.note(e.now, err)
		e.changed()
	}
}

func (e *engine) loggedIn(p *route, ev *event) {
	if p.inst != nil {
		e.lost(p, errors.New("another session took its place"))
		if p.removing {
			return
		}
	}
	p.inst = &instance{login: ev.login, path: p, named: ev.named}
	p.limit, p.good, p.loweredAt = e.set.depth, 0, e.now
	p.probing, p.checking, p.reading, p.reprobe, p.reread = false, false, false, false, false
	e.become(p, PathProbing)
	if p.removing {
		e.drained(p, p.inst)
		return
	}
	e.reprobe(p)
}

// abort gives up p's session.
func (e *engine) abort(p *route, err error) {
	if !p.live() {
		return
	}
	e.condemn(p, err)
	e.do(action{kind: actAbort, path: p.id, login: p.inst.login, err: err})
}

// condemn does what the end of p's session means here, whoever ended it.
func (e *engine) condemn(p *route, err error) {
	in := p.inst
	in.condemned = true
	e.ended = append(e.ended, in)
	if in.draining {
		p.note(e.now, err) // as was said beforehand
	} else {
		p.losses++
		e.blame(p, err)
	}
	e.become(p, PathDown)
	p.probing, p.checking, p.reading = false, false, false
	e.stale = true
	if e.fence.on && e.fence.login == in.login {
		e.fence.on = false
	}
	for i := 0; i < len(e.sets); {
		if e.sets[i].login == in.login {
			e.optimized(i, err)
			continue
		}
		i++
	}
}

func (e *engine) lost(p *route, err error) {
	in := p.inst
	if !in.condemned {
		if err == nil {
			err = errors.New("the session was lost")
		}
		e.condemn(p, err)
	}
	in.closed, in.closedAt = true, e.now
	p.inst = nil
	e.become(p, PathDown)
	if p.removing {
		e.forget(p)
	}
	e.prune()
}

// drain lets go of p's session, which its target is about to end. Answers to
// questions that are out do not count any more.
func (e *engine) drain(p *route) {
	if !p.live() {
		return
	}
	p.inst.draining = true
	p.probing, p.checking, p.reading, p.reprobe, p.reread = false, false, false, false, false
	e.become(p, PathDraining)
}

// tickPath does what has become due on p.
func (e *engine) tickPath(p *route) {
	if p.marginal && p.clearAt <= e.now {
		e.clear(p)
	}
	if !p.live() || e.stopped && p.inst.flight.n == 0 {
		return
	}
	if r := p.inst.flight.head; r != nil && r.due <= e.now {
		e.abort(p, fmt.Errorf("%s at %d+%d: %w", r.blk.Op, r.blk.Off, r.blk.Len, errNoAnswer))
		return
	}
	if p.asking() && p.answerBy <= e.now {
		e.abort(p, errNoAnswer)
		return
	}
	if p.removing || p.inst.draining {
		return
	}
	if p.nextCheck <= e.now && !p.probing && !p.checking {
		known := p.state == PathUp || p.state == PathMarginal || p.state == PathFailed
		if known {
			e.check(p)
		} else {
			e.reprobe(p)
		}
	}
	if p.polls() && p.pollAt <= e.now {
		p.pollAt = e.now + e.set.command
		e.readGroups(p, false)
	}
}

// polls reports whether p's port group is to be asked for at pollAt.
func (p *route) polls() bool {
	return p.up() && p.alua && !p.reading && (p.access == alua.Transitioning || p.unread)
}

// wakePath tells w when p wants a tick.
func (e *engine) wakePath(p *route, w *waker) {
	if p.marginal {
		w.at(p.clearAt)
	}
	if !p.live() || e.stopped && p.inst.flight.n == 0 {
		return
	}
	if r := p.inst.flight.head; r != nil {
		w.at(r.due)
	}
	if p.asking() {
		w.at(p.answerBy)
	}
	if p.removing || p.inst.draining {
		return
	}
	if !p.probing && !p.checking {
		w.at(p.nextCheck)
	}
	if p.polls() {
		w.at(p.pollAt)
	}
	if p.settledAt > e.now {
		w.at(p.settledAt)
	}
}
