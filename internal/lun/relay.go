package lun

import (
	"sango/internal/san"
	"sango/internal/scsi"
)

// Relay carries the tasks of a unit to the gateway that owns its volume. It
// belongs to one epoch of the ownership; what was forwarded through it ends
// through it, also when the unit has turned to another. None of its methods
// blocks.
type Relay interface {
	// Forward takes t over, whose data-out is complete, until t.Relayed is
	// called, once, from any goroutine, perhaps before Forward returns. It is
	// called for one task at a time, in the order of the nexus.
	//
	// What goes to the owner is t.Outgoing; t.Epoch, t.Ask, t.Attr, t.Read,
	// t.Write and the age of t.Arrival with it.
	Forward(t *Task)
	// Cancel asks for the task that was forwarded with Task.Call = call to end
	// early; Relayed follows when it can't touch the medium any more. There may
	// be no such task any more.
	Cancel(call uint64)
	// Hasten tells that the LUN of such a task is gone here: at the owner it need
	// not be begun any more, and need not go on if it takes long (Remote.Hasten).
	Hasten(call uint64)
	// Manage performs f for the unit alone, whatever f means otherwise:
	// ClearTaskSet, LogicalUnitReset, TargetWarmReset, TargetColdReset,
	// NexusReset. done(TMFMoved): it was not performed, and the next owner is to
	// be asked. n may be gone meanwhile, see Part.
	Manage(n *Nexus, l san.LUN, f TMF, done func(TMFResponse))
	// Join tells of an I_T_L nexus that sees the unit, before the first of its
	// tasks: the owner has to reach it with what happens there. Part tells that it
	// is gone; its tasks have ended. gone is called once, from any goroutine,
	// perhaps before Part returns: what the nexus held has ended at the owner, or
	// the owner learns of its end by itself, or does not answer. Both are called
	// with a lock held: they must not call back, but for gone.
	Join(n *Nexus, l san.LUN, s Standing)
	Part(n *Nexus, l san.LUN, gone func())
}

// Ask is what the owner is asked about a task.
type Ask uint8

const (
	// AskExecute: to execute it.
	AskExecute Ask = iota
	// AskConflict: whether it conflicts with a reservation; it ends with GOOD
	// or RESERVATION CONFLICT (or BUSY) and has no other effect.
	AskConflict
	// AskAllowed: whether it would be executed, as reservations and conditions
	// of the unit are.
	AskAllowed
)

// Outcome is how a relay ends a task.
type Outcome uint8

const (
	// Ended: at the owner. Status, Sense (see SetRawSense), In, Want and DSense
	// of the task are set.
	Ended Outcome = iota
	// Aborted: by task management of its own nexus there, or by Cancel. What
	// another nexus aborts is Ended, with TASK ABORTED.
	Aborted
	// Again: it was certainly not executed, and the owner it was sent to will
	// not do it: it goes to the door again.
	Again
	// Lost: nobody knows whether it was executed; it can't be any more.
	Lost
	// Stale: it was too old when the owner got it, and not executed (DESIGN
	// R4 c): the session is dropped.
	Stale
	// Unreachable: it was not executed, and there was no way to the owner for as
	// long as hosts may be kept waiting.
	Unreachable
)

// Outgoing returns what the owner is to execute: CDB, expected data length and
// data-out, which is appended to vec. That is the rest of the command where its
// head was streamed to the medium here already.
func (t *Task) Outgoing(vec [][]byte) (cdb [16]byte, expected uint32, data [][]byte) {
	s := &t.streaming
	if t.Ask != AskExecute {
		return t.CDB, 0, vec
	}
	if s.written > 0 {
		bs, _ := t.unit.geometry()
		rest := scsi.Blocks{LBA: scsi.LBA(t.off / bs), Blocks: uint32((t.end - t.off) / bs)}
		if cdb, err := rest.CDB(scsi.OpWrite16); err == nil {
			return cdb, t.Expected - uint32(s.written), t.Out.Slice(vec, s.written, t.Out.Len())
		}
	}
	if t.grant == nil && t.OutLen < t.Out.Len() { // data of the host that the command has no use for
		return t.CDB, t.Expected, t.Out.Slice(vec, 0, t.OutLen)
	}
	return t.CDB, t.Expected, append(vec, t.Out.Vec()...)
}

// Nexus returns the nexus of t.
func (t *Task) Nexus() *Nexus { return t.nexus }

// Repeatable reports whether t, which was forwarded, may be executed again when
// nobody knows whether it was: it changes nothing at the owner.
func (t *Task) Repeatable() bool { return t.cmd.ask != AskExecute || t.Timeless() }

// Timeless reports whether t may be executed however late it is: it changes
// nothing, at the owner or here.
func (t *Task) Timeless() bool {
	c := t.cmd
	switch {
	case c.op == scsi.OpPersistReserveIn:
		return true
	case c.flags&changes != 0:
		return false
	}
	return c.access == accessAny || c.access == accessRead
}

// SetRawSense makes b the sense data of t, cut to what fits.
func (t *Task) SetRawSense(b []byte) {
	t.Sense = append(t.senseBuf[:0], b[:min(len(b), len(t.senseBuf))]...)
}

// Relayed ends t, which was forwarded.
func (t *Task) Relayed(o Outcome) {
	i, u := t.itl, t.unit
	if o == Again {
		i.mu.Lock()
		again := !t.killed.Load() && !i.retired.Load()
		if again {
			u.set.landed(t, placeDoor)
		}
		i.mu.Unlock()
		if again {
			u.usher()
			return
		}
	}
	if o == Ended && t.Status == scsi.Good && t.cmd.ask != AskExecute {
		u.set.landed(t, placeFront)
		t.Want = uint64(t.need) // the owner moved nothing
		u.execute(t, false)
		u.usher() // what came behind it may have waited for its return
		return
	}
	u.set.landed(t, placeNone)
	switch o {
	case Ended:
		if t.Status != scsi.Busy && t.Status != scsi.TaskSetFull { // which a relay says itself, too
			u.modes.dsense.Store(t.DSense)
		}
		t.learn()
		t.Want += uint64(t.streaming.written)
		if t.Status != scsi.Good && t.Status != scsi.ConditionMet {
			t.In.Release()
		}
	case Lost:
		t.conclude(scsi.Check(scsi.AbortedCommand, scsi.ASCCommunicationFailure))
	case Unreachable:
		t.conclude(scsi.Check(scsi.NotReady, scsi.ASCAccessTransition))
	default: // Aborted, Again after an abort or without a LUN, Stale
		if i.retired.Load() {
			t.conclude(scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported))
			break
		}
		t.In.Release()
		t.Status, t.Aborted, t.Void = scsi.TaskAborted, true, o == Stale
	}
	t.vouch()
	waiters := i.ended(t)
	i.deliver(t)
	for _, f := range waiters {
		f.end()
	}
	u.usher()
}

// Event is what the owner tells an I_T_L nexus on another gateway.
type Event struct {
	Attention scsi.ASC // unit attention condition; 0: none
	Abort     bool     // the tasks that have not come to the owner are aborted too
	TAS       bool     // and end with TASK ABORTED: another nexus did that
	Only      bool     // the attention is for those alone that lost a task so
	Drop      bool     // then the session is to end
	DSense    bool     // D_SENSE of the unit
}

// Told takes an event of the owner for LUN l, and calls done when it is in
// effect.
func (n *Nexus) Told(l san.LUN, e Event, done func()) {
	i := n.view.Load().at(l)
	if i == nil {
		done()
		return
	}
	if i.unit.relayed() {
		i.unit.modes.dsense.Store(e.DSense)
	}
	f := newFence(func() {
		done()
		if e.Drop {
			n.tr.Drop("target cold reset")
		}
	})
	hit := 0
	if e.Abort {
		// Nobody may wait here for a PERSISTENT RESERVE OUT: it may be waiting at
		// the owner for the end of what another one has aborted, this among it.
		hit = i.abort(func(t *Task) bool { return t.cmd.op != scsi.OpPersistReserveOut }, e.TAS, f)
		hit += i.abort(everyTask, e.TAS, newFence(func() {}))
	}
	if e.Attention != 0 && (!e.Only || hit > 0) {
		i.raise(e.Attention)
	}
	f.end()
}

// relayed reports whether the unit is served elsewhere.
func (u *Unit) relayed() bool {
	s := &u.set
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.door.relay != nil
}
