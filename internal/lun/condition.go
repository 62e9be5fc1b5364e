package lun

import "sango/internal/scsi"

// The condition bits of a unit. A unit with none of them executes everything.
const (
	condEjected        uint32 = 1 << iota // its medium is out
	condSanitizing                        // a sanitize operation runs
	condSanitizeFailed                    // a sanitize operation failed
	condReadOnly                          // the volume is read-only
	condProtected                         // SWP of the control mode page
	condUnread                            // the reservation record must be read again
	condMoving                            // the volume is given up, and there is no more time
)

func (u *Unit) setCondition(bit uint32, on bool) {
	if on {
		u.cond.Or(bit)
	} else {
		u.cond.And(^bit)
	}
}

// gate returns how t ends instead of being executed, nil if it is executed. It
// is asked when the command starts, after all that it had to wait for.
func (u *Unit) gate(t *Task) error {
	// The conditions are looked at once: in between the record may be read.
	c, f := u.cond.Load(), t.cmd.flags
	if c&condUnread == 0 {
		if err := u.guard.stops(t); err != nil {
			return err
		}
	}
	if c == 0 {
		return nil
	}
	if c&condMoving != 0 && f&atFront == 0 {
		return moving()
	}
	if c&condUnread != 0 && (t.cmd.access != accessAny || t.cmd.mayConflict() && u.guard.unknownSix()) {
		return errUnsettled
	}
	if f&sanitizing == 0 {
		if cc := u.unsanitized(c); cc != nil {
			return cc
		}
	}
	if f&notReady == 0 && c&condEjected != 0 {
		return scsi.Check(scsi.NotReady, scsi.ASCMediumNotPresentTrayOpen)
	}
	if f&changes != 0 {
		switch {
		case c&condReadOnly != 0:
			return scsi.Check(scsi.DataProtect, scsi.ASCWriteProtected)
		case c&condProtected != 0:
			return scsi.Check(scsi.DataProtect, scsi.ASCSoftwareWriteProtected)
		}
	}
	return nil
}

// unsanitized returns the sense data of a unit with conditions c while a
// sanitize operation runs or after it failed (SBC-3 §4.11).
func (u *Unit) unsanitized(c uint32) *scsi.CheckCondition {
	switch {
	case c&condSanitizing != 0:
		cc := scsi.Check(scsi.NotReady, scsi.ASCSanitizeInProgress)
		cc.Sense.HasProgress, cc.Sense.Progress = true, uint16(u.progress.Load())
		return cc
	case c&condSanitizeFailed != 0:
		return scsi.Check(scsi.MediumError, scsi.ASCSanitizeFailed)
	}
	return nil
}

// writeProtected reports whether the host is to see the unit as write
// protected (WP of the mode parameter header).
func (u *Unit) writeProtected() bool { return u.cond.Load()&(condReadOnly|condProtected) != 0 }
