package multipath

import (
	"errors"
	"fmt"

	"sango/internal/block"
	"sango/internal/scsi"
)

// verdict is what the engine makes of an answer.
type verdict uint8

// The verdicts.
const (
	isDone       verdict = iota // executed
	isFinal                     // not executed, and it will not be: the caller has to know
	isAttention                 // unit attention: not executed, send it again
	isTransition                // the port group changes its state
	isStandby                   // the port group is in standby
	isGone                      // the port group is unavailable, or offline
	isBusy                      // the target has too much to do
	isAborted                   // aborted by the target
	isUnready                   // not ready for now
	isFault                     // the logical unit is not behind this path
)

var (
	errConflict = errors.New("reservation conflict: another host holds a reservation of the volume")
	errShort    = errors.New("fewer bytes came than were asked for")
)

// judge tells what an answered command comes to: a verdict, for isFinal the
// class, and the cause for people.
func judge(o *outcome) (verdict, block.Class, error) {
	switch o.status {
	case scsi.Good, scsi.ConditionMet:
		if o.short {
			return isAborted, block.Medium, errShort
		}
		return isDone, 0, nil
	case scsi.CheckConditionStatus:
		return judgeSense(&o.sense)
	case scsi.Busy, scsi.TaskSetFull:
		return isBusy, 0, statusError(o.status)
	case scsi.ReservationConflict:
		return isFinal, block.Fenced, errConflict
	case scsi.TaskAborted:
		return isAborted, 0, statusError(o.status)
	case scsi.ACAActive:
		return isBusy, 0, statusError(o.status)
	}
	return isFinal, block.Medium, statusError(o.status)
}

func judgeSense(s *scsi.Sense) (verdict, block.Class, error) {
	cause := error(&scsi.CheckCondition{Sense: *s})
	if s.Deferred { // of an earlier command; this one was not executed (SPC-4 §4.5.7)
		return isAborted, 0, cause
	}
	switch s.Key {
	case scsi.RecoveredError:
		return isDone, 0, nil
	case scsi.NoSense: // or sense data that was lost on its way: it may have been anything
		return isAborted, block.Medium, cause
	case scsi.UnitAttention:
		return isAttention, 0, cause
	case scsi.AbortedCommand:
		return isAborted, 0, cause
	case scsi.NotReady:
		return judgeNotReady(s.ASC, cause)
	case scsi.IllegalRequest:
		switch s.ASC {
		case scsi.ASCLUNotSupported:
			return isFault, 0, cause
		case scsi.ASCInvalidOpCode:
			return isFinal, block.Unsupported, cause
		}
		return isFinal, block.Invalid, cause
	case scsi.DataProtect:
		if s.ASC == scsi.ASCSpaceAllocationFailed {
			return isFinal, block.NoSpace, cause
		}
		return isFinal, block.ReadOnly, cause
	case scsi.HardwareError:
		return isAborted, block.Medium, cause
	}
	return isFinal, block.Medium, cause
}

func judgeNotReady(a scsi.ASC, cause error) (verdict, block.Class, error) {
	switch a {
	case scsi.ASCAccessTransition:
		return isTransition, 0, cause
	case scsi.ASCPortStandby:
		return isStandby, 0, cause
	case scsi.ASCPortUnavailable:
		return isGone, 0, cause
	case scsi.ASCManualIntervention:
		return isFinal, block.Failed, cause
	}
	if a>>8 == scsi.ASCMediumNotPresent>>8 {
		return isFinal, block.Failed, cause
	}
	return isUnready, 0, cause
}

// statusError is a status that is an error.
type statusError scsi.Status

// Error implements error.
func (s statusError) Error() string { return fmt.Sprintf("the target answered %s", scsi.Status(s)) }
