package lun

import (
	"sync"
	"sync/atomic"

	"sango/internal/san"
	"sango/internal/scsi"
)

// itl is an I_T_L nexus: what one nexus sees at one LUN, and its tasks there
// from admission to end. It is the nexus' half: it gathers, keeps the order
// among the tasks of the nexus until they are complete, and hands them to the
// unit in that order; the unit's half is its taskSet.
//
// Lock order: itl.mu, then taskSet.mu, then workers.mu. None is held while a
// Transport or a handler is called.
type itl struct {
	nexus    *Nexus
	unit     *Unit
	lun      san.LUN
	remote   *Remote       // of another gateway; nil: of this one
	relay    Relay         // that was told of it last; guarded by Unit.mu
	queue    queue         // guarded by the lock of the unit's taskSet
	access   atomic.Uint32 // AccessState of its target port for the unit
	group    atomic.Uint32 // target port group of its target port
	attn     attentions
	prevents atomic.Bool // PREVENT ALLOW MEDIUM REMOVAL of this nexus holds the medium
	copies   copyResults // of EXTENDED COPY
	retired  atomic.Bool // its LUN is gone: long commands end at the next opportunity
	login    atomic.Uint64
	six      atomic.Bool // its host believes to hold a RESERVE(6); of this gateway's
	cut      bool        // the link to the owner was lost since it was taken up there; guarded by Unit.mu

	mu          sync.Mutex // guards the fields below, and phase, killed, tas, doomed, fences and streaming of its tasks
	first, last *Task      // in order of admission, linked by next and prev
	n           int        // tasks
	waiting     int        // of them, those in phaseGathering or phaseHeld
	barriers    int        // of the waiting, those that are ORDERED or HEAD OF QUEUE
	dead        bool       // detached, or the LUN is gone: admits nothing
	late        []*fence   // who waits for handing to be 0

	handing atomic.Int32 // tasks taken off the list whose TaskDone has not returned
	isLate  atomic.Bool  // late is not empty
}

func isBarrier(t *Task) bool {
	return (t.Attr == scsi.Ordered || t.Attr == scsi.HeadOfQueue) && t.cmd.flags&apart == 0
}

// add takes t in and reports whether it is to be executed now. A non-zero
// status refuses it.
func (i *itl) add(t *Task) (run bool, st scsi.Status, cc *scsi.CheckCondition) {
	u := i.unit
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dead {
		return false, scsi.CheckConditionStatus, scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported)
	}
	apart := t.cmd.flags&apart != 0
	if i.n >= u.o.TasksPerNexus && !apart {
		return false, scsi.TaskSetFull, nil
	}
	if u.tasks.Add(1) > int64(u.o.Tasks) && !apart {
		u.tasks.Add(-1)
		return false, scsi.Busy, nil
	}
	i.link(t)
	if apart && t.OutLen == 0 {
		t.phase = phaseEntered
		return true, 0, nil
	}
	if t.OutLen == 0 && (i.waiting == 0 || i.barriers == 0 && t.Attr != scsi.Ordered || t.Attr == scsi.HeadOfQueue) {
		t.phase = phaseEntered
		return u.set.enter(t), 0, nil
	}
	t.phase = phaseHeld
	if t.OutLen > 0 {
		t.phase = phaseGathering
	}
	i.waiting++
	if isBarrier(t) {
		i.barriers++
	}
	return false, 0, nil
}

// link puts t on the list. Call with the lock.
func (i *itl) link(t *Task) {
	t.prev, t.next = i.last, nil
	if i.last != nil {
		i.last.next = t
	} else {
		i.first = t
	}
	i.last = t
	i.n++
}

// ready marks t, whose data-out is complete, and reports whether it is to be
// executed now. gone tells that its LUN is gone: the caller ends it.
func (i *itl) ready(t *Task) (run, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case t.phase != phaseGathering || t.killed.Load(): // aborted
		return false, false
	case t.streaming.piece:
		t.streaming.ready = true // its end will complete it
		return false, false
	}
	return i.complete(t)
}

// complete is ready for a task that gathers. Call with the lock.
func (i *itl) complete(t *Task) (run, gone bool) {
	if t.doomed {
		i.stopWaiting(t)
		i.unlink(t)
		return false, true
	}
	if t.cmd.gathered != nil {
		t.cmd.gathered(t)
	}
	if t.off == t.end { // all of it was streamed
		t.lock = lockNone
	}
	t.phase = phaseHeld
	return i.advance(t), false
}

// fail takes off t, whose data-out failed with cc, and reports whether the
// caller is to end it.
func (i *itl) fail(t *Task, cc *scsi.CheckCondition) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t.phase != phaseGathering || t.killed.Load() {
		return false
	}
	if t.streaming.piece {
		t.streaming.fault = cc // its end will end it
		return false
	}
	i.stopWaiting(t)
	i.unlink(t)
	if i.waiting > 0 {
		i.advance(nil)
	}
	return true
}

// advance hands those waiting tasks to the unit whose turn has come: a SIMPLE
// one after the barriers before it, an ORDERED one after all before it.
// Those that may start go to the workers, except mine, for which it returns
// true. Call with the lock.
func (i *itl) advance(mine *Task) (run bool) {
	if i.barriers == 0 && mine != nil {
		return i.hand(mine)
	}
	left, any, barrier := i.waiting, false, false
	for t := i.first; t != nil && left > 0; t = t.next {
		if t.phase == phaseEntered {
			continue
		}
		left--
		if t.cmd.flags&apart != 0 {
			if t.phase == phaseHeld && i.hand(t) {
				if t == mine {
					run = true
				} else {
					i.unit.workers.push(t)
				}
			}
			continue
		}
		free := t.Attr == scsi.HeadOfQueue || !barrier && (t.Attr != scsi.Ordered || !any)
		if t.phase != phaseHeld || !free {
			any, barrier = true, barrier || isBarrier(t)
			continue
		}
		switch start := i.hand(t); {
		case start && t == mine:
			run = true
		case start:
			i.unit.workers.push(t)
		}
	}
	return run
}

// hand gives a waiting task to the unit and reports whether it starts.
func (i *itl) hand(t *Task) bool {
	i.stopWaiting(t)
	t.phase = phaseEntered
	return t.cmd.flags&apart != 0 || i.unit.set.enter(t)
}

func (i *itl) stopWaiting(t *Task) {
	i.waiting--
	if isBarrier(t) {
		i.barriers--
	}
}

// unlink takes t, which ends, off the list. Call with the lock.
func (i *itl) unlink(t *Task) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		i.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		i.last = t.prev
	}
	t.prev, t.next = nil, nil
	t.phase = phaseNone
	i.n--
	i.unit.tasks.Add(-1)
	i.handing.Add(1)
}

// deliver hands t, which was unlinked, back to the transport, or to the copy
// that it is part of.
func (i *itl) deliver(t *Task) {
	if t.Status == scsi.TaskAborted {
		t.vouch()
	}
	t.drop()
	if i.remote != nil {
		t.DSense = i.unit.modes.descriptorSense()
	}
	if t.grant != nil {
		t.grant <- false
	} else {
		i.nexus.tr.TaskDone(t)
	}
	if i.handing.Add(-1) == 0 && i.isLate.Load() {
		i.endLate()
	}
}

// ended takes t off when it has executed, and returns who waited for that.
func (i *itl) ended(t *Task) (waiters []*fence) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.unlink(t)
	waiters, t.fences = t.fences, nil
	if t.killed.Load() {
		t.aborted(t.tas)
	}
	return waiters
}

// empty reports whether no task is left.
func (i *itl) empty() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.n == 0
}
