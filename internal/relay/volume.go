package relay

import (
	"hash/fnv"
	"sync"
	"sync/atomic"

	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// Volume is a volume that another gateway owns, for one epoch: the lun.Relay of
// its unit.
type Volume struct {
	peer  *peer
	id    san.UUID
	epoch san.Epoch

	// moved: the owner says that it is none. over: so does the view, and nothing
	// of that epoch can be executed any more.
	moved, over atomic.Bool

	mu    sync.RWMutex // guards lanes; a line's is taken under it
	lanes map[laneKey]*lane
}

type laneKey struct {
	nexus *lun.Nexus
	lun   san.LUN
}

// turnedAway notes that the owner says that it is none. With the lock of a line
// held.
func (v *Volume) turnedAway() {
	if f := v.peer.node.cfg.Moved; !v.moved.Swap(true) && f != nil {
		f(v.id, v.epoch)
	}
}

// Moved reports whether the owner says that it is none.
func (v *Volume) Moved() bool { return v.moved.Load() }

// closed reports whether nothing is to be forwarded any more: then the unit has
// to find out who owns the volume.
func (v *Volume) closed() bool { return v.moved.Load() || v.over.Load() || v.peer.over.Load() }

// lane returns the lane of an I_T_L nexus, nil if it did not join.
func (v *Volume) lane(n *lun.Nexus, l san.LUN) *lane {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.lanes[laneKey{n, l}]
}

// all returns the lanes.
func (v *Volume) all() []*lane {
	v.mu.RLock()
	defer v.mu.RUnlock()
	all := make([]*lane, 0, len(v.lanes))
	for _, ln := range v.lanes {
		all = append(all, ln)
	}
	return all
}

// Forward implements lun.Relay.
func (v *Volume) Forward(t *lun.Task) {
	at, err := san.ParseLUN(t.LUN)
	var ln *lane
	if err == nil {
		ln = v.lane(v.peer.node.cfg.local.nexus(t), at)
	}
	if ln == nil {
		v.peer.node.cfg.local.relayed(t, lun.Unreachable)
		return
	}
	c := newCall(ln, t)
	l := ln.line
	size := c.cmd.Out
	l.mu.Lock()
	ln.seq++
	c.cmd.Seq = ln.seq
	ln.wait.push(c)
	switch {
	case v.closed():
		l.giveBack(ln)
	case l.peer.node.ended():
		l.end(c, lun.Unreachable)
	case !c.timeless && c.since.Sub(c.arrival) > l.maxAge():
		// It waited here, for others of its nexus whose data-out came late: that is
		// no lost path. The owner would not take it.
		l.answer(c, scsi.Busy)
	}
	l.ready(ln)
	if ln.hold(size) {
		return
	}
	if l.conn != nil && l.out > 0 && size < bulkSize { // more may come; to wake somebody for what is large costs more
		l.conn.kickLater()
		return
	}
	l.kick()
}

// hold leaves what ln has to send to the reader of its nexus, which perhaps has
// more that goes with it, and reports whether it will see to it. size is what
// comes with the last command. The lock is held, and given up if so.
func (ln *lane) hold(size uint32) bool {
	l := ln.line
	switch {
	case ln.deferrer == nil:
		return false
	case ln.held:
		if ln.heldOut += size; ln.heldOut >= bulkMax {
			ln.heldOut = 0
			return false
		}
		l.unlock()
		return true
	}
	ln.held, ln.heldOut = true, size
	l.unlock()
	if ln.deferrer.Defer(ln.sendFn) {
		return true
	}
	l.mu.Lock()
	ln.held = false
	return false
}

// Cancel implements lun.Relay.
func (v *Volume) Cancel(call uint64) { v.search(call, (*line).cancel) }

// Hasten implements lun.Relay.
func (v *Volume) Hasten(call uint64) { v.search(call, (*line).hasten) }

// search calls f for the call of that number, if there is one.
func (v *Volume) search(id uint64, f func(*line, *call)) {
	for _, ln := range v.all() {
		l := ln.line
		l.mu.Lock()
		if c := l.find(ln, id); c != nil {
			f(l, c)
			l.kick()
			return
		}
		l.mu.Unlock()
	}
}

// find returns the call of that number in ln, nil if there is none.
func (l *line) find(ln *lane, id uint64) *call {
	for _, in := range []*callList{&ln.sent, &ln.wait, &l.limbo} {
		for c := in.first; c != nil; c = c.next {
			if c.id == id && c.lane == ln {
				return c
			}
		}
	}
	return nil
}

// cancel ends c early. What may have come to the owner ends with its answer.
func (l *line) cancel(c *call) {
	if c.cancelled {
		return
	}
	c.cancelled = true
	switch ln := c.lane; {
	case c.in == &ln.wait:
		l.end(c, lun.Aborted)
	case c.in == &ln.sent && !c.begun:
		c.outcome = lun.Aborted
		l.finish(c) // still busy: the queue passes it over
	case c.in == &ln.sent && !c.answered:
		l.conn.post(&wire.Cancel{Tag: c.cmd.Tag})
	}
}

// hasten has c end soon: its LUN is gone.
func (l *line) hasten(c *call) {
	switch ln := c.lane; {
	case c.in == &ln.wait:
		l.end(c, lun.Again) // the unit ends it
	case c.in == &ln.sent && c.begun && !c.answered:
		l.conn.post(&wire.Cancel{Tag: c.cmd.Tag, Hasten: true})
	}
}

// Manage implements lun.Relay.
func (v *Volume) Manage(n *lun.Nexus, at san.LUN, f lun.TMF, done func(lun.TMFResponse)) {
	ln := v.lane(n, at)
	if ln == nil || v.closed() {
		done(lun.TMFMoved)
		return
	}
	l := ln.line
	l.mu.Lock()
	l.manage(&manage{lane: ln, done: done, frame: wire.Manage{Function: uint8(f.Function), TaskTag: f.RefTag}})
	l.kick()
}

// Join implements lun.Relay.
func (v *Volume) Join(n *lun.Nexus, at san.LUN, s lun.Standing) {
	local := v.peer.node.cfg.local
	l := v.peer.line(local.id(n))
	ln := &lane{vol: v, line: l, nexus: n, lun: at, standing: s}
	if f, ok := local.transport(n).(lun.Fencer); ok {
		ln.instance = f.Fencing().Instance
	}
	ln.corker, _ = local.transport(n).(lun.Corker)
	ln.deferrer, _ = local.transport(n).(lun.Deferrer)
	ln.sendFn = func() {
		l.mu.Lock()
		ln.held = false
		l.kick()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lanes[laneKey{n, at}] = ln
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(ln)
	l.wake()
}

// Part implements lun.Relay.
func (v *Volume) Part(n *lun.Nexus, at san.LUN, gone func()) {
	v.mu.Lock()
	ln := v.lanes[laneKey{n, at}]
	delete(v.lanes, laneKey{n, at})
	v.mu.Unlock()
	if ln == nil {
		gone()
		return
	}
	l := ln.line
	l.mu.Lock()
	l.part(ln)
	waits := l.await(ln, gone)
	l.wake()
	l.mu.Unlock()
	if !waits {
		gone()
	}
}

// wake has what is queued sent, and what has ended handed back, by another
// goroutine: the caller must not call package lun. With the lock held.
func (l *line) wake() {
	l.peer.node.begin(l)
	if c := l.conn; c != nil && !c.sending && !c.corked && c.err == nil {
		c.sending = true
		go c.sendFn()
	}
}

// Ready reports whether the owner has been reached: commands that change
// something and come before are answered BUSY.
func (v *Volume) Ready() bool { return v.peer.tokens.last() != 0 }

// Joined tells that every nexus there was has joined: the owner is told so when
// it knows them all.
func (v *Volume) Joined() { v.peer.node.sync(v) }

// sync tells the owner that it knows all nexuses, if so, and reports whether
// there is nothing left to do for that.
func (v *Volume) sync() bool {
	if v.closed() {
		return true
	}
	for _, ln := range v.all() {
		ln.line.mu.Lock()
		open := ln.state == laneOpen
		ln.line.mu.Unlock()
		if !open {
			return false
		}
	}
	l := v.peer.lines[0]
	l.mu.Lock()
	defer l.kick()
	if l.conn == nil {
		return false
	}
	l.conn.post(&wire.Synced{Volume: v.id, Epoch: v.epoch})
	return true
}

// Over tells that the epoch is over, and that nothing of it can be executed any
// more: the view has a later one that is active, or it is served here. What was
// not sent goes back to the unit.
func (v *Volume) Over() {
	if v.over.Swap(true) {
		return
	}
	for _, ln := range v.all() {
		l := ln.line
		l.mu.Lock()
		l.giveBack(ln)
		l.endLimbo(ln)
		if ln.sent.n == 0 { // else when they have ended
			l.part(ln)
		}
		l.kick()
	}
	for _, l := range v.peer.lines { // what a nexus that has parted held is for the next owner to end
		l.mu.Lock()
		for _, ln := range l.lanes {
			if ln != nil && ln.vol == v {
				l.endGone(ln)
			}
		}
		l.kick()
	}
}

// Leave ends what is left of v, whose owner says that it is none, and in whose
// place next is under the same epoch, as far as the owner has ended it. It reports
// whether all of it has ended; if not, it is to be called again, until Over.
//
// A nexus that the owner may have still is not closed: perhaps the owner only
// gives the volume up, and that would end what the nexus holds by RESERVE(6). It
// has ended there when the next of its name is open.
func (v *Volume) Leave(next *Volume) (ended bool) {
	ended = true
	for _, ln := range v.all() {
		succeeded := next.hasOpen(ln.nexus, ln.lun)
		l := ln.line
		l.mu.Lock()
		l.giveBack(ln)
		if (succeeded || ln.state == laneDown) && ln.sent.n == 0 && ln.limbo == 0 && len(ln.manages) == 0 {
			l.part(ln)
		}
		ended = ended && l.lanes[ln.handle] != ln
		l.kick()
	}
	return ended
}

// hasOpen reports whether the owner has opened an I_T_L nexus, or it has left.
func (v *Volume) hasOpen(n *lun.Nexus, at san.LUN) bool {
	ln := v.lane(n, at)
	if ln == nil {
		return true
	}
	ln.line.mu.Lock()
	defer ln.line.mu.Unlock()
	return ln.state == laneOpen
}

// line returns the line of a nexus: always the same, so that what one nexus
// sends and closes keeps its order with what its successor opens.
func (p *peer) line(id san.NexusID) *line {
	h := fnv.New32a()
	h.Write([]byte(id.Initiator.Name))
	h.Write(id.Initiator.ISID[:])
	h.Write([]byte{byte(id.Target.TPG >> 8), byte(id.Target.TPG)})
	return p.lines[h.Sum32()%uint32(len(p.lines))]
}
