package lun

import (
	"slices"
	"sync"

	"sango/internal/san"
	"sango/internal/scsi"
)

// Function is a task management function. The values are those of the iSCSI
// Task Management Function Request (RFC 7143 §11.5.1).
type Function uint8

// The task management functions (SAM-5 §7).
const (
	AbortTask        Function = 1
	AbortTaskSet     Function = 2
	ClearACA         Function = 3
	ClearTaskSet     Function = 4
	LogicalUnitReset Function = 5
	TargetWarmReset  Function = 6
	TargetColdReset  Function = 7
	TaskReassign     Function = 8
	QueryTask        Function = 9
	QueryTaskSet     Function = 10
	NexusReset       Function = 11
	QueryAsyncEvent  Function = 12
)

// TMF is a request for a task management function.
type TMF struct {
	Function Function
	LUN      [8]byte // as in the PDU; not looked at by target resets
	RefTag   uint32  // initiator task tag of the task meant by AbortTask and QueryTask
}

// TMFResponse is the answer to a TMF. The values are those of the iSCSI Task
// Management Function Response (RFC 7143 §11.6.1, RFC 7144 §5.1).
type TMFResponse uint8

// The answers.
const (
	TMFComplete      TMFResponse = 0   // FUNCTION COMPLETE
	TMFNoTask        TMFResponse = 1   // task does not exist
	TMFNoLUN         TMFResponse = 2   // INCORRECT LOGICAL UNIT NUMBER
	TMFAllegiant     TMFResponse = 3   // task still allegiant
	TMFNoReassign    TMFResponse = 4   // task allegiance reassignment not supported
	TMFNotSupported  TMFResponse = 5   // task management function not supported
	TMFAuthorization TMFResponse = 6   // function authorization failed
	TMFSucceeded     TMFResponse = 7   // FUNCTION SUCCEEDED: the queried task is there
	TMFMoved         TMFResponse = 254 // of a Relay: not performed, the volume has another owner
	TMFRejected      TMFResponse = 255 // function rejected
)

// Manage performs f. done is called once, from any goroutine, when the tasks
// that f affects can no longer touch the medium; it must not block. Their
// TaskDone calls come before it.
//
// Resets of the target reach the units that the nexus sees, and no others
// (DESIGN R10). A cold reset ends the sessions that see one of them, after
// done.
func (n *Nexus) Manage(f TMF, done func(TMFResponse)) {
	v := n.view.Load()
	switch f.Function {
	case TargetWarmReset, TargetColdReset:
		n.resetTarget(v, f.Function == TargetColdReset, done)
		return
	case NexusReset:
		n.resetNexus(v, done)
		return
	case TaskReassign:
		done(TMFNoReassign)
		return
	case AbortTask, AbortTaskSet, ClearTaskSet, LogicalUnitReset, QueryTask, QueryTaskSet:
	default: // CLEAR ACA: there is never an ACA condition (NORMACA = 0)
		done(TMFNotSupported)
		return
	}
	l, err := san.ParseLUN(f.LUN)
	if err != nil {
		done(TMFNoLUN)
		return
	}
	i := v.at(l)
	if i == nil {
		done(TMFNoLUN)
		return
	}
	i.manage(f, done)
}

func (i *itl) manage(f TMF, done func(TMFResponse)) {
	if f.Function == ClearTaskSet || f.Function == LogicalUnitReset {
		i.manageUnit(f.Function, done)
		return
	}
	tagged := func(t *Task) bool { return t.Tag == f.RefTag }
	answer := TMFComplete
	fence := newFence(func() { done(answer) })
	switch f.Function {
	case AbortTask:
		if i.abort(tagged, false, fence) == 0 {
			answer = TMFNoTask
		}
	case AbortTaskSet:
		i.abort(everyTask, false, fence)
	case QueryTask:
		if i.has(tagged) {
			answer = TMFSucceeded
		}
	case QueryTaskSet:
		if i.has(everyTask) {
			answer = TMFSucceeded
		}
	}
	fence.end()
}

// has reports whether there is a task for which match holds.
func (i *itl) has(match func(*Task) bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for t := i.first; t != nil; t = t.next {
		if match(t) {
			return true
		}
	}
	return false
}

func (n *Nexus) resetTarget(v *view, cold bool, done func(TMFResponse)) {
	fn := TargetWarmReset
	if cold {
		fn = TargetColdReset
	}
	units := map[*Unit]*itl{}
	for _, i := range v.all {
		units[i.unit] = i
	}
	answer := TMFComplete
	f := newFence(func() {
		done(answer)
		if cold {
			n.target.drop(units)
		}
	})
	var mu sync.Mutex // guards answer
	for _, i := range units {
		f.add()
		i.manageUnit(fn, func(r TMFResponse) {
			if r != TMFComplete {
				mu.Lock()
				answer = r
				mu.Unlock()
			}
			f.end()
		})
	}
	f.end()
}

// drop ends the sessions that see one of units.
func (t *Target) drop(units map[*Unit]*itl) {
	var drop []Transport
	t.mu.Lock()
	for _, n := range t.nexuses {
		for _, i := range n.view.Load().all {
			if units[i.unit] != nil {
				drop = append(drop, n.tr)
				break
			}
		}
	}
	t.mu.Unlock()
	for _, tr := range drop {
		tr.Drop("target cold reset")
	}
}

// resetNexus is I_T NEXUS RESET (SAM-5 §7.6): as if the nexus was lost, and
// came back.
func (n *Nexus) resetNexus(v *view, done func(TMFResponse)) {
	f := newFence(func() { done(TMFComplete) })
	for _, i := range v.all {
		f.add()
		i.manageUnit(NexusReset, func(TMFResponse) { f.end() })
		i.attn.raise(scsi.ASCNexusLoss)
	}
	f.end()
}

// maxErrands bounds the functions that wait for a unit to be served.
const maxErrands = 64

// errandTMF is a function for a unit that waits for somebody to serve it.
type errandTMF struct {
	i    *itl
	f    Function
	turn uint64 // of the door in which it was found to have moved, plus 1
	done func(TMFResponse)
}

// manageUnit performs f wherever the unit is served: the tasks of i are aborted
// first.
func (i *itl) manageUnit(f Function, done func(TMFResponse)) {
	answer := TMFComplete
	fence := newFence(func() { done(answer) })
	i.abort(everyTask, false, fence)
	fence.add()
	i.unit.manage(errandTMF{i: i, f: f, done: func(a TMFResponse) {
		answer = a
		fence.end()
	}})
	fence.end()
}

func (u *Unit) manage(e errandTMF) {
	u.mu.Lock()
	s := &u.set
	s.mu.Lock()
	state, r, turn, epoch := s.door.state, s.door.relay, s.door.turn+1, s.epoch
	s.mu.Unlock()
	wait, moved := state == doorHeld || state == doorRefused || e.turn == turn, false
	if far := e.i.remote; far != nil { // as it is with tasks: see enterRemote
		wait = far.epoch > epoch
		moved = far.epoch < epoch || far.epoch == epoch && state != doorOpen
	}
	reject := u.closed || wait && len(u.errands) >= maxErrands || !moved && !slices.Contains(u.peers, e.i)
	if wait && !reject {
		u.errands = append(u.errands, e)
	}
	u.mu.Unlock()
	switch {
	case reject:
		e.done(TMFRejected)
	case moved:
		e.done(TMFMoved)
	case wait:
	case e.i.remote != nil:
		e.i.perform(e.f, e.done)
	default:
		done := func(a TMFResponse) {
			if a != TMFMoved {
				e.done(a)
				return
			}
			e.turn = turn
			u.manage(e)
		}
		if state == doorOpen {
			e.i.perform(e.f, done)
		} else {
			r.Manage(e.i.nexus, e.i.lun, TMF{Function: e.f, LUN: e.i.lun.Field()}, done)
		}
	}
}

// manageAgain does what waited for somebody to serve the unit.
func (u *Unit) manageAgain() {
	u.mu.Lock()
	list := u.errands
	u.errands = nil
	u.mu.Unlock()
	for _, e := range list {
		u.manage(e)
	}
}

// perform performs f where the unit is served. TMFMoved: it is given up, and f
// has to be performed where it is served next.
func (i *itl) perform(f Function, done func(TMFResponse)) {
	u := i.unit
	answer := TMFComplete
	fence := newFence(func() { done(answer) })
	fence.add()
	dropped := func(ok bool) {
		if !ok {
			answer = TMFMoved
		}
		fence.end()
	}
	switch f {
	case ClearTaskSet:
		hit := map[*itl]bool{}
		tas := u.modes.taskAborted()
		for _, h := range u.abort(everyPeer, everyTask, i.others(tas), fence) {
			hit[h] = true
		}
		u.tell(func(o *itl) Event {
			if tas {
				return Event{Abort: true, TAS: true}
			}
			// They learn it from a unit attention instead (SAM-5 §5.6).
			return Event{Attention: scsi.ASCCommandsCleared, Abort: true, Only: !hit[o]}
		}, func(o *itl) bool { return o != i && (o.remote != nil || hit[o]) }, fence)
		dropped(true)
	case LogicalUnitReset:
		u.reset(Event{Attention: scsi.ASCDeviceReset}, i, fence, dropped)
	case TargetWarmReset, TargetColdReset:
		u.reset(Event{Attention: scsi.ASCPowerOnOrReset, Drop: f == TargetColdReset}, i, fence, dropped)
	case NexusReset:
		i.abort(everyTask, false, fence)
		u.nexusLost(i, dropped)
	}
	fence.end()
}
