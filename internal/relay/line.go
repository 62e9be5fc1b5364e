package relay

import (
	"sync"
	"time"

	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/scsi"
)

// line is one of the links to a peer, across the connections that it has had.
// It is the front's half.
type line struct {
	peer  *peer
	local *local
	index int

	mu      sync.Mutex // guards all that follows, lanes and calls
	conn    *conn      // nil while there is none
	begun   bool       // it is kept up
	limits  wire.Welcome
	lanes   []*lane // by handle
	free    []wire.Handle
	turn    []*lane // lanes that may have something to send, in turn
	calls   []*call // by tag, that were sent and not answered
	tags    []wire.Tag
	out     int   // of them
	bytes   int64 // their cost
	limbo   callList
	manages map[uint32]*manage
	fences  map[uint32]*fenceAt
	lastID  uint32
	beaten  time.Time // when the last heartbeat was sent

	corked []*lane // whose answers the reader will have sent; the reader's

	// What is done as soon as the lock is given up.
	ended callList
	later []func()
}

func newLine(p *peer, index int) *line {
	return &line{peer: p, local: p.node.cfg.local, index: index, manages: map[uint32]*manage{}, fences: map[uint32]*fenceAt{}}
}

// unlock gives the lock up, and hands back what has ended.
func (l *line) unlock() {
	first, later := l.ended.first, l.later
	l.ended, l.later = callList{}, nil
	l.mu.Unlock()
	for c := first; c != nil; {
		next, t, o := c.next, c.task, c.outcome
		c.free()
		l.local.relayed(t, o)
		c = next
	}
	for _, f := range later {
		f()
	}
}

// kick unlocks l.mu and sends what there is to send.
func (l *line) kick() {
	if l.conn == nil {
		l.unlock()
		return
	}
	l.conn.kick()
}

// nextID returns a number for a request.
func (l *line) nextID() uint32 {
	l.lastID++
	return l.lastID
}

// end ends c, which is in no table any more, with o.
func (l *line) end(c *call, o lun.Outcome) {
	c.outcome = o
	if c.cancelled && o != lun.Ended {
		c.outcome = lun.Aborted
	}
	if c.busy { // the queue has it until its turn, and passes it over then
		c.remove()
		e := calls.Get().(*call)
		e.task, e.outcome, c.task = c.task, c.outcome, nil
		l.ended.push(e)
		return
	}
	c.move(&l.ended)
}

// answer ends c, which was not sent, with a status.
func (l *line) answer(c *call, s scsi.Status) {
	c.task.Status, c.task.Want = s, 0
	l.end(c, lun.Ended)
}

// ready puts ln in turn if it has anything to send.
func (l *line) ready(ln *lane) {
	if !ln.inTurn && ln.wait.n > 0 {
		ln.inTurn = true
		l.turn = append(l.turn, ln)
	}
}

// feed sends what credit allows, one command of each lane in turn. It is the
// feed of the connection.
func (l *line) feed() {
	for n := 1; n > 0; { // passes over the lanes, until one sends nothing
		n = 0
		turn := l.turn
		l.turn = l.turn[:0]
		for _, ln := range turn {
			ln.inTurn = false
			if l.feedLane(ln) {
				n++
			}
		}
		clear(turn[len(l.turn):])
	}
}

// feedLane sends the next command of ln, and reports whether it did.
func (l *line) feedLane(ln *lane) bool {
	c := ln.wait.first
	if c == nil || ln.state != laneOpen || len(ln.manages) > 0 {
		return false // whoever changes that calls ready
	}
	if ln.vol.closed() {
		l.giveBack(ln)
		return false
	}
	cost := c.cmd.Cost()
	if ln.out > 0 {
		if ln.out >= ln.maxOut || ln.bytes+cost > ln.maxBytes {
			return false // until one of them ends
		}
		if l.out >= int(l.limits.Commands) || l.bytes+cost > int64(l.limits.Bytes) {
			l.ready(ln)
			return false
		}
	}
	token, ok := l.peer.tokens.before(c.arrival)
	switch {
	case c.timeless:
		// A read that comes late does no harm. What the front executes after an
		// answer may: that has its age.
		token = l.peer.tokens.last()
	case ok:
	default:
		// It came before the owner was first heard, and nobody could say how old it
		// is. The host sends it again by itself.
		l.answer(c, scsi.Busy)
		l.ready(ln)
		return true
	}
	c.cmd.Token = token
	if n := len(l.tags); n > 0 {
		c.cmd.Tag, l.tags = l.tags[n-1], l.tags[:n-1]
		l.calls[c.cmd.Tag] = c
	} else {
		c.cmd.Tag = wire.Tag(len(l.calls))
		l.calls = append(l.calls, c)
	}
	l.out, l.bytes = l.out+1, l.bytes+cost
	ln.out, ln.bytes = ln.out+1, ln.bytes+cost
	c.move(&ln.sent)
	c.busy = true
	l.conn.queue = append(l.conn.queue, c)
	l.ready(ln)
	return true
}

// finish ends c, which was answered.
func (l *line) finish(c *call) {
	ln, cost := c.lane, c.cmd.Cost()
	l.calls[c.cmd.Tag] = nil
	l.tags = append(l.tags, c.cmd.Tag)
	l.out, l.bytes = l.out-1, l.bytes-cost
	ln.out, ln.bytes = ln.out-1, ln.bytes-cost
	l.end(c, c.outcome)
	if len(ln.manages) > 0 {
		l.settleManages(ln)
	}
	l.ready(ln)
}

// giveBack ends what waits in a lane whose volume is somebody else's.
func (l *line) giveBack(ln *lane) {
	for ln.wait.first != nil {
		l.end(ln.wait.first, lun.Again)
	}
	for _, m := range ln.manages {
		if !m.sent {
			l.endManage(m, lun.TMFMoved)
		}
	}
}

// up begins a connection: what there is is opened on it.
func (l *line) up(c *conn, w wire.Welcome) {
	l.mu.Lock()
	l.conn, l.limits, c.feed = c, w, l.feed
	for _, ln := range l.lanes {
		if ln != nil {
			l.open(ln)
		}
	}
	for _, f := range l.fences {
		c.post(&f.frame)
	}
	l.kick()
}

// down ends a connection, which nobody sends on any more.
func (l *line) down() {
	l.mu.Lock()
	defer l.unlock()
	l.conn = nil
	l.turn = nil
	for _, ln := range l.lanes {
		if ln != nil {
			l.downLane(ln)
		}
	}
	l.calls, l.tags, l.out, l.bytes = nil, nil, 0, 0
	for _, m := range l.manages {
		m.sent = false
	}
}

// downLane sorts the tasks of a lane whose connection is lost.
func (l *line) downLane(ln *lane) {
	was := ln.state
	ln.state = laneDown
	var back callList // to be sent again, before what waits
	for c := ln.sent.first; c != nil; c = ln.sent.first {
		c.busy = false
		switch {
		case c.answered:
			l.end(c, c.outcome)
		case c.begun && !c.repeatable:
			c.move(&l.limbo)
			ln.limbo++
		case c.cancelled:
			l.end(c, lun.Aborted)
		default:
			c.again()
			c.move(&back)
		}
	}
	for c := ln.wait.first; c != nil; c = ln.wait.first {
		c.move(&back)
	}
	for c := back.first; c != nil; c = back.first {
		c.move(&ln.wait)
	}
	ln.out, ln.bytes, ln.inTurn = 0, 0, false
	l.endGone(ln) // the owner takes this for its end
	switch {
	case was == laneClosing:
		l.drop(ln)
		return
	case ln.vol.closed():
		l.giveBack(ln)
	}
	if ln.vol.over.Load() {
		l.endLimbo(ln)
	}
	l.settleManages(ln)
	if (was == laneOpen || was == laneOpening) && !ln.parted && !ln.vol.moved.Load() && !ln.vol.over.Load() {
		ln.again = true
		n, at, vol := ln.nexus, ln.lun, ln.vol
		l.later = append(l.later, func() { l.local.cut(n, at, vol) })
	}
}

// endLimbo ends those tasks of ln of which nobody knows whether they were
// executed: they can't be any more.
func (l *line) endLimbo(ln *lane) {
	if ln.limbo == 0 {
		return
	}
	for c := l.limbo.first; c != nil; {
		next := c.next
		if c.lane == ln {
			ln.limbo--
			l.end(c, lun.Lost)
		}
		c = next
	}
}

// tick looks for what has waited long enough.
func (l *line) tick(now time.Time) {
	cfg := &l.peer.node.cfg
	l.mu.Lock()
	if l.conn != nil && now.Sub(l.beaten) >= cfg.Beat {
		l.beaten = now
		l.conn.post(&wire.Beat{Stamp: l.peer.node.stamp(), As: l.conn.version})
	}
	for c := l.limbo.first; c != nil; {
		next := c.next
		// The owner admits nothing older, and what it has admitted goes before all
		// that the host sends now.
		if now.Sub(c.arrival) > l.maxAge()+limboMargin {
			c.lane.limbo--
			l.end(c, lun.Lost)
		}
		c = next
	}
	for _, ln := range l.lanes {
		if ln != nil {
			l.tickLane(ln, now)
		}
	}
	for _, f := range l.fences {
		if l.conn != nil && !f.retry.IsZero() && now.After(f.retry) {
			f.retry = time.Time{}
			l.conn.post(&f.frame)
		}
	}
	if l.conn == nil {
		l.unlock()
		return
	}
	l.conn.kickTimely()
}

// limboMargin is for two clocks that do not run alike.
const limboMargin = 250 * time.Millisecond

// maxAge returns the age past which the owner admits nothing.
func (l *line) maxAge() time.Duration {
	if l.limits.MaxAge == 0 {
		return l.peer.node.cfg.MaxAge
	}
	return time.Duration(l.limits.MaxAge) * time.Millisecond
}

// tickLane ends what has waited too long: for the owner, or for credit. Those
// would be too old by and by; they tell the host that it is too fast (DESIGN R8).
func (l *line) tickLane(ln *lane, now time.Time) {
	if ln.state == laneDown && l.conn != nil && now.After(ln.retry) {
		l.open(ln)
	}
	if now.After(ln.goneBy) {
		l.endGone(ln)
	}
	if ln.vol.closed() {
		l.giveBack(ln)
	}
	if ln.vol.over.Load() && ln.sent.n == 0 {
		l.part(ln)
		return
	}
	for c := ln.wait.first; c != nil; c = ln.wait.first {
		switch {
		case ln.state != laneOpen && now.Sub(c.since) > l.peer.node.cfg.Hold:
			l.end(c, lun.Unreachable)
			continue
		case ln.state == laneOpen && now.Sub(c.arrival) > l.maxAge()/2:
			l.answer(c, scsi.TaskSetFull)
			continue
		}
		break
	}
	for _, m := range ln.manages {
		if ln.state != laneOpen && now.Sub(m.since) > l.maxAge() {
			l.endManage(m, lun.TMFRejected)
		}
	}
}
