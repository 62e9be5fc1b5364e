package lun

import (
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
	tagged := func(t *Task) bool { return t.Tag == f.RefTag }
	answer := TMFComplete
	fence := newFence(func() { done(answer) })
	switch f.Function {
	case AbortTask:
		if i.abort(tagged, fence) == 0 {
			answer = TMFNoTask
		}
	case AbortTaskSet:
		i.abort(everyTask, fence)
	case ClearTaskSet:
		for _, hit := range i.unit.abort(everyPeer, everyTask, fence) {
			if hit != i { // TAS = 0: they learn it from a unit attention (SAM-5 §5.6)
				hit.attn.raise(scsi.ASCCommandsCleared)
			}
		}
	case LogicalUnitReset:
		i.unit.reset(scsi.ASCDeviceReset, fence)
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
	units := map[*Unit]bool{}
	for _, i := range v.all {
		units[i.unit] = true
	}
	f := newFence(func() {
		done(TMFComplete)
		if cold {
			n.target.drop(units)
		}
	})
	for u := range units {
		u.reset(scsi.ASCPowerOnOrReset, f)
	}
	f.end()
}

// drop ends the sessions that see one of units.
func (t *Target) drop(units map[*Unit]bool) {
	var drop []Transport
	t.mu.Lock()
	for _, n := range t.nexuses {
		for _, i := range n.view.Load().all {
			if units[i.unit] {
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
		i.abort(everyTask, f)
		i.prevents.Store(false)
		i.unit.guard.nexusLost(n.id)
		i.attn.raise(scsi.ASCNexusLoss)
	}
	f.end()
}
