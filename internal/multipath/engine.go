package multipath

import (
	"errors"
	"time"

	"sango/internal/block"
)

// engine is the pure part of a multipath device: see engine_api.go.
type engine struct {
	set  settings
	now  instant
	acts []action // of the step under way

	paths []*route
	ver   uint64
	ids   uint64 // the last number given to an action

	count  int     // requests in the engine
	ready  reqList // wait for a path
	paused reqList // wait for their due, which ascends
	turn   uint32  // rotates among equals

	stale   bool // usability has to be looked at again
	noPath  bool
	since   instant // of noPath
	expired bool    // noPath for longer than the queue time: new requests end at once
	stopped bool

	takeOver bool        // earlier runs are still to be fenced
	ended    []*instance // sessions that are over, with commands unanswered or to be fenced
	fence    fencing
	sets     []setting // SET TARGET PORT GROUPS under way

	deferred error // a deferred error came: what was written may be lost
	cache    caching

	submitted, retries, fences, quiesced, refused uint64
}

// Limits of what is tried again, and pauses.
const (
	maxAttentions = 16  // unit attentions in a row that a request meets without a pause
	maxAborts     = 8   // times that a request may be aborted by the target
	maxLosses     = 100 // sessions that a request may lose
	maxSets       = 16  // SET TARGET PORT GROUPS at one time

	minPause = 5 * time.Millisecond
	maxPause = time.Second
	poll     = 200 * time.Millisecond // of a group in transition
)

var (
	errNoPath   = errors.New("no path to the volume")
	errTooMany  = errors.New("more requests at one time than the device takes")
	errStopped  = errors.New("the device is closed")
	errNoAnswer = errors.New("a command was not answered in time")
)

// newEngine makes an engine at the instant 0.
func newEngine(s settings) *engine {
	defaults(&s.requests, 1024)
	defaults(&s.paths, 64)
	defaults(&s.depth, 128)
	defaults(&s.command, 30*time.Second)
	defaults(&s.quiesce, 10*time.Second)
	defaults(&s.check, 5*time.Second)
	defaults(&s.marginal.failures, 5)
	defaults(&s.marginal.window, time.Minute)
	defaults(&s.marginal.clear, time.Minute)
	defaults(&s.marginal.factor, 10)
	defaults(&s.marginal.floor, 100*time.Millisecond)
	return &engine{set: s, takeOver: s.takeOver, noPath: true, stale: true}
}

func defaults[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// step takes ev, which happened at now, and appends to acts what is to be done.
func (e *engine) step(now instant, ev event, acts []action) []action {
	e.now, e.acts = max(e.now, now), acts
	e.take(&ev)
	if e.stale {
		e.review()
	}
	if e.takeOver || len(e.ended) > 0 {
		e.fenceOn()
	}
	e.dispatch()
	acts, e.acts = e.acts, nil
	return acts
}

// take does what belongs to the event itself.
func (e *engine) take(ev *event) {
	switch ev.kind {
	case evTick:
		e.tick()
	case evSubmit:
		e.submit(ev.req)
	case evResult:
		e.result(ev.req, &ev.out)
	case evAdd:
		e.add(ev.path, ev.text)
	case evDeferred:
		e.deferred = ev.err
	case evStop:
		e.stop()
	case evFenced:
		e.fenced(ev)
	case evOptimize:
		e.optimize(ev.group, ev.id)
	case evGroupsSet:
		e.groupsSet(ev.id, &ev.out)
	default:
		if p := e.find(ev.path); p != nil {
			e.takePath(p, ev)
		}
	}
}

// takePath does what belongs to an event of a path. What concerns a session
// that is over comes too late to matter.
func (e *engine) takePath(p *route, ev *event) {
	switch ev.kind {
	case evRemove:
		e.remove(p)
		return
	case evLogin:
		e.loggedIn(p, ev)
		return
	case evLoginFailed:
		e.loginFailed(p, ev.err)
		return
	}
	if p.inst == nil || p.inst.login != ev.login {
		return
	}
	switch ev.kind {
	case evLost:
		e.lost(p, ev.err)
	case evDraining:
		e.drain(p)
	case evProbed:
		e.probed(p, ev.probe, &ev.out)
	case evChecked:
		e.checked(p, &ev.out)
	case evGroups:
		e.groupsRead(p, ev)
	case evAttention:
		e.attention(p, ev.asc)
	}
}

// do appends an action.
func (e *engine) do(a action) { e.acts = append(e.acts, a) }

// ask appends an action for the session of p.
func (e *engine) ask(kind actionKind, p *route) {
	e.do(action{kind: kind, path: p.id, login: p.inst.login})
}

// number returns a number that no action has had.
func (e *engine) number() uint64 {
	e.ids++
	return e.ids
}

// changed notes that what view returns has changed.
func (e *engine) changed() { e.ver++ }

// tick does what has become due.
func (e *engine) tick() {
	for r := e.paused.head; r != nil && r.due <= e.now; r = e.paused.head {
		e.paused.remove(r)
		e.ready.push(r)
	}
	for _, p := range e.paths {
		e.tickPath(p)
	}
	for i := 0; i < len(e.sets); {
		if s := e.sets[i]; s.due <= e.now {
			e.optimized(i, errNoAnswer)
			continue
		}
		i++
	}
	if f := &e.fence; f.on && f.due <= e.now {
		if p := e.find(f.path); p != nil && p.inst != nil && p.inst.login == f.login {
			e.abort(p, errNoAnswer)
		}
	}
	e.stale = true
}

// wake tells when the engine wants an evTick, if it does.
func (e *engine) wake() (instant, bool) {
	w := waker{}
	if r := e.paused.head; r != nil {
		w.at(r.due)
	}
	for _, p := range e.paths {
		e.wakePath(p, &w)
	}
	for i := range e.sets {
		w.at(e.sets[i].due)
	}
	if e.noPath && !e.expired && e.set.queue >= 0 && !e.probing() {
		w.at(e.since + e.set.queue)
	}
	e.wakeFence(&w)
	if w.set {
		// What is due already but has to wait for an event must not make a
		// runtime spin.
		w.t = max(w.t, e.now+time.Millisecond)
	}
	return w.t, w.set
}

// waker finds the earliest of several instants.
type waker struct {
	t   instant
	set bool
}

func (w *waker) at(t instant) {
	if !w.set || t < w.t {
		w.t, w.set = t, true
	}
}

// review looks at whether there is a path that may carry I/O.
func (e *engine) review() {
	e.stale = false
	none := true
	for _, p := range e.paths {
		none = none && !p.usable()
	}
	if none != e.noPath {
		e.noPath, e.since, e.expired = none, e.now, false
		e.changed()
	}
	if e.noPath && !e.expired && !e.probing() && e.set.queue >= 0 && e.now >= e.since+e.set.queue {
		e.expired = true
		e.changed()
		e.giveUp(block.Busy, errNoPath)
	}
}

// probing reports whether a session is there that may turn out to be a path.
func (e *engine) probing() bool {
	for _, p := range e.paths {
		if p.probing {
			return true
		}
	}
	return false
}

// stop ends everything that is not in flight.
func (e *engine) stop() {
	e.stopped = true
	e.giveUp(block.Closed, errStopped)
	for len(e.sets) > 0 {
		e.optimized(0, errStopped)
	}
}

// giveUp ends all requests that wait. The sessions that may still hold a copy
// of one have to be fenced before anything is issued again: what comes after
// the end of a request must not be undone by it.
func (e *engine) giveUp(c block.Class, err error) {
	for _, in := range e.ended {
		for r := in.waiting.pop(); r != nil; r = in.waiting.pop() {
			in.abandoned = true
			e.fail(r, c, err)
		}
	}
	for r := e.paused.pop(); r != nil; r = e.paused.pop() {
		e.fail(r, c, err)
	}
	for r := e.ready.pop(); r != nil; r = e.ready.pop() {
		e.fail(r, c, err)
	}
}
