package multipath

import "sango/internal/block"

// reqState is what the engine keeps of a request. A request is in flight (in
// is set), or on one of the lists ready, paused and instance.waiting.
type reqState struct {
	next, prev *request

	p      *route    // of the last send
	in     *instance // in flight: the session
	sentAt instant
	due    instant // in flight: of the answer; paused: of the end
	work   int64   // what it costs a path, in bytes

	held    bool    // it met a refusal that is worth a retry
	since   instant // of held
	pauses  uint8   // in a row
	attends uint8   // unit attentions in a row
	aborts  uint8
	losses  uint8

	nth    uint64 // of all requests
	covers uint64 // caching.writes when it was submitted
}

// perCommand is what a command costs besides its bytes, as bytes.
const perCommand = 32 << 10

// changes reports whether r changes the medium, so that a copy of it that
// comes late does harm.
func (r *request) changes() bool { return r.blk.Op != block.OpRead && r.blk.Op != block.OpFlush }

// reqList is a list of requests, linked through themselves.
type reqList struct {
	head, tail *request
	n          int
}

// push appends r.
func (l *reqList) push(r *request) { l.insert(r, l.tail) }

// unshift puts r first.
func (l *reqList) unshift(r *request) { l.insert(r, nil) }

// insert puts r behind at, or first when at is nil.
func (l *reqList) insert(r, at *request) {
	r.prev = at
	if at == nil {
		r.next, l.head = l.head, r
	} else {
		r.next, at.next = at.next, r
	}
	if r.next == nil {
		l.tail = r
	} else {
		r.next.prev = r
	}
	l.n++
}

// pop removes the first and returns it, or nil.
func (l *reqList) pop() *request {
	r := l.head
	if r != nil {
		l.remove(r)
	}
	return r
}

// remove takes r out.
func (l *reqList) remove(r *request) {
	if r.prev == nil {
		l.head = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		l.tail = r.prev
	} else {
		r.next.prev = r.prev
	}
	r.next, r.prev = nil, nil
	l.n--
}

// submit takes a new request.
func (e *engine) submit(r *request) {
	r.reqState = reqState{work: r.blk.Len + perCommand}
	e.count++
	e.submitted++
	r.nth, r.covers = e.submitted, e.cache.writes
	switch {
	case e.stopped:
		e.fail(r, block.Closed, errStopped)
	case e.count > e.set.requests:
		e.fail(r, block.Busy, errTooMany)
	case e.expired:
		e.fail(r, block.Busy, errNoPath)
	default:
		e.ready.push(r)
	}
}

// fail ends r with an error.
func (e *engine) fail(r *request, c block.Class, cause error) {
	if c == block.Busy {
		e.refused++
	}
	e.end(r, block.Fail(r.blk, c, cause))
}

// end gives r back.
func (e *engine) end(r *request, err error) {
	e.count--
	r.p, r.in = nil, nil
	e.do(action{kind: actEnd, path: r.path, login: r.login, req: r, err: err})
}

// dispatch sends what is ready, as far as there are paths that take it.
func (e *engine) dispatch() {
	if e.ready.head == nil || e.gated() {
		return
	}
	for r := e.ready.head; r != nil; r = e.ready.head {
		p := e.pick(r)
		if p == nil {
			return
		}
		e.ready.remove(r)
		e.send(r, p)
	}
}

// send puts r in flight on p.
func (e *engine) send(r *request, p *route) {
	if r.p != nil {
		e.retries++
	}
	r.p, r.in, r.path, r.login = p, p.inst, p.id, p.inst.login
	r.sentAt, r.due = e.now, e.now+e.set.command
	p.inst.flight.push(r)
	p.inst.bytes += r.work
	p.sent++
	e.do(action{kind: actSend, path: p.id, login: r.login, req: r})
}

// again makes r the next to be sent.
func (e *engine) again(r *request) {
	if e.stopped {
		e.fail(r, block.Closed, errStopped)
		return
	}
	if e.expired {
		e.fail(r, block.Busy, errNoPath)
		return
	}
	e.ready.unshift(r)
}

// pause lets r wait, longer each time, and ends it with cause when it has met
// nothing but refusals for the queue time.
func (e *engine) pause(r *request, cause error) {
	if !r.held {
		r.held, r.since = true, e.now
	}
	limit := max(e.set.queue, e.set.command)
	switch {
	case e.stopped:
		e.fail(r, block.Closed, errStopped)
		return
	case e.expired, e.set.queue >= 0 && e.now-r.since >= limit:
		e.fail(r, block.Busy, cause)
		return
	}
	r.due = e.now + min(minPause<<min(r.pauses, 10), maxPause)
	r.pauses = min(r.pauses, 100) + 1
	at := e.paused.tail
	for at != nil && at.due > r.due {
		at = at.prev
	}
	e.paused.insert(r, at)
}
