package lun

import (
	"errors"

	"sango/internal/block"
	"sango/internal/scsi"
)

// errPending is returned by Task.start: the end of the I/O ends the task. A
// handler that calls Task.finish later, by itself, returns it too.
var errPending = errors.New("lun: the command goes on")

// errConflict ends a task with RESERVATION CONFLICT.
var errConflict = errors.New("lun: reservation conflict")

// conclude sets the outcome of t from how it ended. Data-in goes with GOOD
// and CONDITION MET only.
func (t *Task) conclude(err error) {
	if err != nil {
		t.setError(err)
	}
	if t.Status != scsi.Good && t.Status != scsi.ConditionMet {
		t.In.Release()
		if !t.overflow {
			t.Want = uint64(t.OutLen)
		}
	}
}

func (t *Task) setError(err error) {
	if cc := (*scsi.CheckCondition)(nil); errors.As(err, &cc) {
		t.setSense(&cc.Sense)
		return
	}
	switch {
	case errors.Is(err, errConflict):
		t.Status = scsi.ReservationConflict
		return
	case errors.Is(err, errRight):
		t.void()
		return
	}
	c, e := block.Class(0), (*block.Error)(nil)
	if errors.As(err, &e) { // else it comes from the unit's own state, not from the medium
		c = e.Class
	}
	switch c {
	case block.Busy:
		t.Status = scsi.Busy
		return
	case 0, block.Medium, block.Failed, block.Fenced:
		t.unit.o.Logger.Error("command failed in the store", "volume", t.unit.vol.Name, "command", t.cmd.name, "err", err)
	}
	if c == block.Failed && t.unit.o.Failed != nil && t.unit.o.Failed(err) && t.cmd.op != scsi.OpCompareAndWrite {
		c = block.Fenced // what it wrote it may write again; a comparison would meet it
	}
	s := senseOf(c, t.cmd.flags&changes != 0)
	if c == block.Medium && e.Op != block.OpFlush && e.Op != 0 {
		s.HasInfo, s.Info = true, uint64(e.Off/int64(t.unit.dev.Info().BlockSize))
	}
	t.setSense(&s)
}

// senseOf translates an error of the store.
func senseOf(c block.Class, write bool) scsi.Sense {
	switch c {
	case block.Medium:
		if write {
			return scsi.Sense{Key: scsi.MediumError, ASC: scsi.ASCWriteError}
		}
		return scsi.Sense{Key: scsi.MediumError, ASC: scsi.ASCUnrecoveredReadError}
	case block.NoSpace:
		return scsi.Sense{Key: scsi.DataProtect, ASC: scsi.ASCSpaceAllocationFailed}
	case block.ReadOnly:
		return scsi.Sense{Key: scsi.DataProtect, ASC: scsi.ASCWriteProtected}
	case block.Fenced: // another gateway owns the volume: the host asks again, there or here
		return scsi.Sense{Key: scsi.NotReady, ASC: scsi.ASCAccessTransition}
	case block.Closed:
		return scsi.Sense{Key: scsi.NotReady, ASC: scsi.ASCNotReady}
	case block.Failed:
		return scsi.Sense{Key: scsi.NotReady, ASC: scsi.ASCManualIntervention}
	}
	return scsi.Sense{Key: scsi.HardwareError, ASC: scsi.ASCInternalTargetFailure}
}

// setSense ends t with CHECK CONDITION and s, in the format that D_SENSE of
// its unit asks for (fixed where there is no unit).
func (t *Task) setSense(s *scsi.Sense) {
	t.Status = scsi.CheckConditionStatus
	t.Sense = s.Append(t.senseBuf[:0], t.unit != nil && t.unit.modes.descriptorSense())
}
