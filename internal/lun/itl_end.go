package lun

import "sango/internal/scsi"

// close admits nothing any more, aborts every task, and lets f wait until the
// last of them has been handed back.
func (i *itl) close(f *fence) {
	i.mu.Lock()
	i.dead = true
	i.mu.Unlock()
	i.abort(everyTask, false, f) // f waits for those that execute
	f.add()                      // and for those that were taken off before
	i.mu.Lock()
	i.late = append(i.late, f)
	i.isLate.Store(true)
	i.mu.Unlock()
	// Either the last deliver sees isLate, or this sees its 0.
	if i.handing.Load() == 0 {
		i.endLate()
	}
}

func (i *itl) endLate() {
	i.mu.Lock()
	late := i.late
	i.late = nil
	i.isLate.Store(false)
	i.mu.Unlock()
	for _, f := range late {
		f.end()
	}
}

// abort ends the tasks for which match holds: at once those that do not
// execute, as soon as they can no longer touch the medium the others, which f
// waits for. tas: they end with TASK ABORTED, else they are not answered. It
// returns how many there were.
func (i *itl) abort(match func(*Task) bool, tas bool, f *fence) (n int) {
	return i.purge(match, f, func(t *Task) { t.kill(tas) }, Relay.Cancel, func(t *Task) { t.aborted(tas) })
}

// kill aborts t, which executes. Who aborted it already without an answer, or
// does so now, gets none. Call with the lock.
func (t *Task) kill(tas bool) {
	t.tas = tas && (t.tas || !t.killed.Load())
	t.killed.Store(true)
	t.interrupt()
}

// aborted makes t end as it has to when it is aborted.
func (t *Task) aborted(tas bool) {
	if t.Void {
		return
	}
	t.Sense = nil
	t.Status, t.Aborted = scsi.TaskAborted, !tas
	t.conclude(nil)
}

// interrupt wakes who waits for stopped, and t where it waits for reservations.
// Call with the lock.
func (t *Task) interrupt() {
	if t.stop != nil {
		close(t.stop)
		t.stop = nil
	}
	t.unit.guard.waiters.resume(func(x *waiter) bool { return x.t == t })
}

// stopped returns a channel that is closed when t, which executes, is to go no
// further: halted is true then. It is asked for once.
func (t *Task) stopped() <-chan struct{} {
	i := t.itl
	i.mu.Lock()
	defer i.mu.Unlock()
	stop := make(chan struct{})
	t.stop = stop
	if halt, _ := t.halted(); halt {
		t.interrupt()
	}
	return stop
}

// purge is the common part of abort and retire: running is called for those
// that execute, away for those that are with the owner besides, end for those
// that do not execute, before they are handed back.
func (i *itl) purge(match func(*Task) bool, f *fence, running func(*Task), away func(Relay, uint64), end func(*Task)) (n int) {
	var ended *Task
	var recalls []recall
	i.mu.Lock()
	for t := i.first; t != nil; {
		next := t.next
		if match(t) {
			n++
			if t.streaming.piece || t.phase == phaseEntered && !i.withdraw(t, &recalls) {
				running(t)
				f.add()
				t.fences = append(t.fences, f)
			} else {
				if t.phase != phaseEntered {
					i.stopWaiting(t)
				}
				i.unlink(t)
				t.qnext, ended = ended, t
			}
		}
		t = next
	}
	i.advance(nil)
	i.mu.Unlock()
	for t := ended; t != nil; {
		next := t.qnext
		t.qnext = nil
		end(t)
		i.deliver(t)
		t = next
	}
	for _, r := range recalls {
		away(r.relay, r.call)
	}
	i.unit.usher()
	return n
}

// withdraw takes t back from the unit if it has not started. If it is with the
// owner it is added to recalls.
func (i *itl) withdraw(t *Task, recalls *[]recall) bool {
	if t.cmd.flags&apart != 0 {
		return false // it executes
	}
	next, ok, away := i.unit.set.withdraw(t)
	if away.relay != nil {
		*recalls = append(*recalls, away)
	}
	i.unit.workers.push(next)
	return ok
}

// retire ends the tasks of a LUN that is gone: those that execute go on to
// their end, which f waits for, and which those that take long hasten (see
// Task.halted); others end with LOGICAL UNIT NOT SUPPORTED, those that gather
// data-out when they have it. Nothing is admitted any more.
func (i *itl) retire(f *fence) {
	i.mu.Lock()
	i.dead = true
	i.retired.Store(true)
	for t := i.first; t != nil; t = t.next {
		if t.doomed = t.phase == phaseGathering; t.doomed && t.streaming.piece {
			f.add()
			t.fences = append(t.fences, f)
		}
	}
	i.mu.Unlock()
	i.purge(func(t *Task) bool { return !t.doomed }, f, (*Task).interrupt, Relay.Hasten, (*Task).unmapped)
}

// unmapped is how a task ends whose LUN is gone.
func (t *Task) unmapped() { t.conclude(scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported)) }
