package lun

import (
	"slices"

	"sango/internal/san"
	"sango/internal/scsi"
)

// RemoteTransport is the way to a nexus on another gateway.
type RemoteTransport interface {
	Transport
	// Tell hands an event over for the I_T_L nexus at LUN l. It must not block;
	// acked is called once, when the event is in effect there, or when the nexus
	// is over: that gateway is declared dead, or the session has ended.
	Tell(l san.LUN, e Event, acked func())
}

// Remote is the owner's end of an I_T_L nexus on another gateway, its front.
// What belongs to the front (LUN map, rights, unit attentions, port states, the
// gathering of data) was seen to there.
type Remote struct {
	nexus Nexus
	itl   *itl
	tr    RemoteTransport
	epoch san.Epoch
	fresh bool
	doubt bool // Standing.Doubt, until it is settled; guarded by Unit.mu
}

// AttachRemote adds an I_T_L nexus of another gateway, which sees the unit at
// LUN l and under ownership e; the one of a later epoch than the unit has waits
// for that. Those that are not fresh get the unit attentions that were for them
// since the ownership began. ErrNexusExists is
// returned as long as tasks of an earlier one are left, ErrMoved when the
// ownership is over.
func (u *Unit) AttachRemote(e san.Epoch, id san.NexusID, l san.LUN, s Standing, tr RemoteTransport) (*Remote, error) {
	r := &Remote{nexus: Nexus{id: id, tr: tr}, tr: tr, epoch: e, fresh: s.Fresh, doubt: s.Doubt}
	i := &itl{nexus: &r.nexus, unit: u, lun: l, remote: r}
	i.login.Store(s.Login)
	r.itl = i
	owed, served, err := u.joinRemote(i, !s.Fresh)
	if err != nil {
		return nil, err
	}
	u.guard.present(i, s.Fresh)
	if served {
		u.reassure(i)
	}
	for _, c := range owed {
		tr.Tell(l, Event{Attention: c, DSense: u.modes.descriptorSense()}, func() {})
	}
	return r, nil
}

// joinRemote adds i, and returns what it missed if that is wanted, and whether
// the ownership that it comes under has begun.
func (u *Unit) joinRemote(i *itl, missed bool) (owed []scsi.ASC, served bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i.remote.epoch < u.epoch {
		return nil, false, ErrMoved
	}
	for _, o := range u.peers {
		if o.remote != nil && o.lun == i.lun && o.nexus.id == i.nexus.id {
			return nil, false, ErrNexusExists
		}
	}
	u.peers = append(u.peers, i)
	served = i.remote.epoch == u.epoch
	if !missed {
		return nil, served, nil
	}
	if served {
		owed = u.missed.of(i)
	}
	u.preventAgain(i)
	return owed, served, nil
}

// Admit takes over a task of the front, whose data-out is complete. It is
// called for one task at a time, in the order of the nexus.
func (r *Remote) Admit(t *Task) {
	i := r.itl
	u := i.unit
	t.nexus, t.itl, t.unit = &r.nexus, i, u
	t.DSense = u.modes.descriptorSense()
	if err := i.examineRemote(t); err != nil {
		if t.cmd == nil {
			t.refuse(err)
			return
		}
		t.rule(AskExecute, func(*Task) error { return err })
	}
	run, moved, st := i.addRemote(t)
	switch {
	case moved:
		t.Moved = true
		t.nexus.tr.TaskDone(t)
	case st != 0:
		t.Status = st
		t.refuse(nil)
	case run:
		u.execute(t, false)
	default:
		u.usher()
	}
}

// examineRemote is examine at the owner.
func (i *itl) examineRemote(t *Task) error {
	cmd, cc := i.unit.table.find(&t.CDB)
	if t.cmd = cmd; cmd == nil {
		return cc
	}
	if t.Ask != AskExecute {
		t.rule(t.Ask, func(*Task) error { return nil })
		return nil
	}
	// What belongs to the front needs what is there alone: target, session. No
	// gateway sends it; but what another one sends must not be able to stop this.
	if cmd.flags&(atFront|explicit|fences|apart) != 0 {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidOpCode)
	}
	if cc := cmd.check(&t.CDB); cc != nil {
		return cc
	}
	if cmd.parse != nil {
		if err := cmd.parse(t); err != nil {
			return err
		}
		t.Want = uint64(t.need)
		if t.Write {
			t.OutLen = min(t.need, int(t.Expected))
		}
	}
	if t.OutLen != t.Out.Len() { // the two gateways understand the command differently
		return scsi.Check(scsi.AbortedCommand, scsi.ASCDataPhaseError)
	}
	return nil
}

// addRemote is add for a task that another gateway forwarded.
func (i *itl) addRemote(t *Task) (run, moved bool, st scsi.Status) {
	u := i.unit
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead {
		return false, true, 0
	}
	if u.tasks.Add(1) > int64(u.o.Tasks) {
		u.tasks.Add(-1)
		return false, false, scsi.Busy
	}
	if t.OutLen > 0 && t.cmd.gathered != nil {
		t.cmd.gathered(t)
	}
	i.link(t)
	t.phase = phaseEntered
	if run, moved = u.set.enterRemote(t); moved {
		i.unlink(t)
		i.handing.Add(-1) // the caller ends it, before the next one is admitted
	}
	return run, moved, 0
}

// Cancel aborts the task that was admitted with Task.Call = call, if it is
// there: TaskDone with Aborted follows when it can't touch the medium any more.
func (r *Remote) Cancel(call uint64) {
	f := newFence(func() {})
	r.itl.abort(func(t *Task) bool { return t.Call == call }, false, f)
	f.end()
}

// Hasten makes the task that was admitted with Task.Call = call end soon, since
// its LUN is gone at the front: with LOGICAL UNIT NOT SUPPORTED if it has not
// started, or takes long; else it goes on to its end.
func (r *Remote) Hasten(call uint64) {
	f := newFence(func() {})
	hasten := func(t *Task) {
		t.hastened.Store(true)
		t.interrupt()
	}
	r.itl.purge(func(t *Task) bool { return t.Call == call }, f, hasten, nil, (*Task).unmapped)
	f.end()
}

// Manage performs f, of those that Relay.Manage names, for the unit.
func (r *Remote) Manage(f TMF, done func(TMFResponse)) {
	switch f.Function {
	case ClearTaskSet, LogicalUnitReset, TargetWarmReset, TargetColdReset, NexusReset:
		r.itl.unit.manage(errandTMF{i: r.itl, f: f.Function, done: done})
	default:
		done(TMFNotSupported)
	}
}

// Detach is nexus loss: see Nexus.Detach. It returns when no task of the nexus
// can touch the medium and TaskDone has been called for all.
func (r *Remote) Detach() {
	i := r.itl
	waitFence(i.close)
	if i.unit.part(i, nil) {
		i.unit.nexusLost(i, nil)
	}
}

// Missed events.

// maxMissed bounds the events that are kept for nexuses of other gateways that
// have not come yet.
const maxMissed = 64

// missed are the events of an ownership. A nexus of another gateway that was
// there before, and comes to the new owner a moment after something happened,
// is told.
type missed struct {
	events []missedEvent
	full   bool
}

type missedEvent struct {
	e  func(*itl) Event
	to func(*itl) bool
}

// note keeps an event for those that come later.
func (m *missed) note(e func(*itl) Event, to func(*itl) bool) {
	if len(m.events) == maxMissed {
		m.full = true
		return
	}
	m.events = append(m.events, missedEvent{e, to})
}

// of returns what i missed.
func (m *missed) of(i *itl) (list []scsi.ASC) {
	if m.full {
		list = append(list, scsi.ASCNexusLoss)
	}
	for _, x := range m.events {
		if !x.to(i) {
			continue
		}
		if e := x.e(i); e.Attention != 0 && !e.Only && !slices.Contains(list, e.Attention) {
			list = append(list, e.Attention)
		}
	}
	return list
}
