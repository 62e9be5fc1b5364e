package relay

import (
	"slices"
	"time"

	"sango/internal/defect"
	"sango/internal/lun"
	"sango/internal/relay/wire"
	"sango/internal/san"
	"sango/internal/scsi"
)

// laneState is how far a lane is with the owner.
type laneState uint8

const (
	laneDown    laneState = iota
	laneOpening           // NexusOpen was sent
	laneOpen
	laneClosing // NexusClose was sent
)

// lane is an I_T_L nexus at a volume that another gateway owns. It is guarded
// by the lock of its line.
type lane struct {
	vol      *Volume
	line     *line
	nexus    *lun.Nexus
	lun      san.LUN
	instance san.Instance
	corker   lun.Corker   // of the nexus; nil: it has none
	corked   bool         // it is in line.corked; the reader's
	deferrer lun.Deferrer // of the nexus; nil: it has none
	sendFn   func()       // has what was held back sent; made once

	handle wire.Handle
	state  laneState
	parted bool // the nexus is gone
	retry  time.Time
	gone   func()    // tells that the owner has ended it; nil: nobody waits for that
	goneBy time.Time // nobody waits longer

	// How it comes to the owner. again: the owner has, or may have, taken it for
	// lost since it joined, so that it begins anew, under another login.
	standing lun.Standing
	again    bool

	seq      wire.Seq // of the command that was forwarded last
	wait     callList // not sent yet
	sent     callList // sent and not answered
	limbo    int      // of the line's limbo
	out      int      // of sent
	bytes    int64    // their cost
	maxOut   int      // credit
	maxBytes int64
	manages  []*manage // outstanding; no command is sent meanwhile
	inTurn   bool      // it is in line.turn
	held     bool      // the nexus' reader will call sendFn
	heldOut  uint32    // bytes of data-out that wait for that
}

// retryTime is the time until an owner that refused a nexus is asked again: it
// may not have seen the latest view.
const retryTime = 200 * time.Millisecond

// add gives ln its handle, and opens it.
func (l *line) add(ln *lane) {
	if n := len(l.free); n > 0 {
		ln.handle, l.free = l.free[n-1], l.free[:n-1]
		l.lanes[ln.handle] = ln
	} else {
		ln.handle = wire.Handle(len(l.lanes))
		l.lanes = append(l.lanes, ln)
	}
	l.open(ln)
}

// drop forgets ln, and what was still asked for it: nobody will answer.
func (l *line) drop(ln *lane) {
	for _, m := range ln.manages {
		l.endManage(m, lun.TMFRejected)
	}
	l.lanes[ln.handle] = nil
	l.free = append(l.free, ln.handle)
	l.endGone(ln)
}

// open asks the owner for ln, if there is any use in that.
func (l *line) open(ln *lane) {
	if l.conn == nil || ln.state != laneDown {
		return
	}
	if ln.parted && ln.limbo == 0 {
		l.drop(ln)
		return
	}
	if ln.vol.closed() || int(ln.handle) >= int(l.limits.Nexuses) {
		return
	}
	ln.state = laneOpening
	if ln.again {
		ln.standing = lun.Standing{Fresh: true, Login: lun.NewLogin()}
	}
	s := &ln.standing
	l.conn.post(&wire.NexusOpen{
		Handle: ln.handle, Fresh: s.Fresh, Doubt: s.Doubt, LUN: ln.lun, Nexus: l.local.id(ln.nexus), Volume: ln.vol.id, Epoch: ln.vol.epoch, Instance: ln.instance,
		Login: s.Login,
	})
}

// await has gone called when the owner has ended ln, which has parted, or is not
// the owner any more, or its connection is lost. It reports false if there is
// nothing to wait for.
func (l *line) await(ln *lane, gone func()) bool {
	if ln.vol.over.Load() || l.lanes[ln.handle] != ln || ln.state != laneOpening && ln.state != laneClosing {
		return false
	}
	ln.gone, ln.goneBy = gone, time.Now().Add(l.maxAge())
	return true
}

// endGone ends the wait for the end of ln, if there is one.
func (l *line) endGone(ln *lane) {
	if ln.gone != nil {
		l.later = append(l.later, ln.gone)
		ln.gone = nil
	}
}

// part ends ln, whose tasks have ended.
func (l *line) part(ln *lane) {
	if ln.parted {
		return
	}
	ln.parted = true
	l.close(ln)
}

// close ends a lane that has parted.
func (l *line) close(ln *lane) {
	switch ln.state {
	case laneOpen:
		ln.state = laneClosing
		l.conn.post(&wire.NexusClose{Handle: ln.handle})
	case laneDown:
		if ln.limbo == 0 {
			l.drop(ln)
		}
	}
}

// laneAt returns the lane of a handle that the owner named.
func (l *line) laneAt(h wire.Handle, t wire.Type) (*lane, error) {
	if int(h) >= len(l.lanes) || l.lanes[h] == nil {
		return nil, wire.Errorf("a %v for nexus %d, which there is not", t, h)
	}
	return l.lanes[h], nil
}

// opened takes the owner's answer to NexusOpen.
func (l *line) opened(o *wire.NexusOpened) error {
	ln, err := l.laneAt(o.Handle, wire.TypeNexusOpened)
	if err == nil && ln.state != laneOpening {
		err = wire.Errorf("nexus %d was opened twice", o.Handle)
	}
	if err != nil {
		return err
	}
	if o.Reason != wire.ReasonNone {
		ln.state, ln.retry = laneDown, time.Now().Add(retryTime)
		if o.Reason == wire.ReasonMoved {
			ln.vol.turnedAway()
			l.giveBack(ln)
		}
		l.peer.node.log.Debug("the owner refused a nexus", "peer", l.peer.member, "nexus", l.local.id(ln.nexus), "volume", ln.vol.id, "reason", o.Text)
		if ln.parted {
			l.open(ln)
		}
		return nil
	}
	ln.state = laneOpen
	ln.maxOut, ln.maxBytes = int(o.Commands), int64(min(o.Bytes, 1<<62))
	l.endLimbo(ln) // nothing is left of the former nexus
	if ln.parted {
		l.close(ln)
		return nil
	}
	for _, m := range ln.manages {
		l.sendManage(m)
	}
	n, at, vol, anew := ln.nexus, ln.lun, ln.vol, uint64(0)
	if ln.again {
		if anew = ln.standing.Login; !defect.R4c { // whose tokens are too old, too: this is good against both
			l.refuseOld(ln)
		}
	}
	l.later = append(l.later, func() { l.local.opened(n, at, vol, anew) })
	l.ready(ln)
	return nil
}

// refuseOld has the host send again what waits since before its nexus was lost,
// and changes something: it may have been for what the nexus held, or from
// before a reset that the owner could not tell it of.
func (l *line) refuseOld(ln *lane) {
	for c := ln.wait.first; c != nil; {
		next := c.next
		if !c.repeatable {
			l.answer(c, scsi.Busy)
		}
		c = next
	}
}

// closed takes the owner's answer to NexusClose.
func (l *line) closed(h wire.Handle) error {
	ln, err := l.laneAt(h, wire.TypeNexusClosed)
	if err == nil && ln.state != laneClosing {
		err = wire.Errorf("nexus %d was closed, and nobody asked for that", h)
	}
	if err == nil {
		l.drop(ln)
	}
	return err
}

// manage is a task management request on its way.
type manage struct {
	lane  *lane
	frame wire.Manage
	done  func(lun.TMFResponse)
	since time.Time
	sent  bool
	// answered: response is the answer, and commands it overtook are still to end.
	answered bool
	response lun.TMFResponse
}

// add queues m: what the lane has not sent waits for its end.
func (l *line) manage(m *manage) {
	ln := m.lane
	m.frame.ID, m.frame.Handle, m.frame.Upto = l.nextID(), ln.handle, ln.seq
	m.since = time.Now()
	l.manages[m.frame.ID] = m
	ln.manages = append(ln.manages, m)
	if ln.state == laneOpen {
		l.sendManage(m)
	}
}

func (l *line) sendManage(m *manage) {
	if m.sent || m.answered {
		return
	}
	m.sent = true
	l.conn.post(&m.frame)
}

// endManage ends m.
func (l *line) endManage(m *manage, r lun.TMFResponse) {
	ln := m.lane
	delete(l.manages, m.frame.ID)
	ln.manages = slices.DeleteFunc(slices.Clone(ln.manages), func(o *manage) bool { return o == m })
	l.later = append(l.later, func() { m.done(r) })
	l.ready(ln)
}

// managed takes the owner's answer to Manage.
func (l *line) managed(r *wire.Managed) error {
	m := l.manages[r.ID]
	if m == nil || !m.sent || m.answered {
		return wire.Errorf("a %v for request %d, which there is not", wire.TypeManaged, r.ID)
	}
	m.response = lun.TMFResponse(r.Response)
	if r.Outcome != wire.Done {
		m.response = lun.TMFMoved
	}
	m.answered = true
	if m.response == lun.TMFComplete {
		for c := m.lane.wait.first; c != nil && c.cmd.Seq <= m.frame.Upto; c = m.lane.wait.first {
			l.end(c, lun.Aborted)
		}
	}
	l.settleManages(m.lane)
	return nil
}

// settleManages ends the requests that are answered, and whose tasks have
// ended: the host may use their tags again then.
func (l *line) settleManages(ln *lane) {
	for _, m := range ln.manages {
		if m.answered && (m.response != lun.TMFComplete || ln.sent.first == nil || ln.sent.first.cmd.Seq > m.frame.Upto) {
			l.endManage(m, m.response)
		}
	}
}
