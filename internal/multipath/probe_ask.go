package multipath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sango/internal/initiator"
	"sango/internal/pause"
	"sango/internal/scsi"
)

// How often the control path asks again.
const (
	mostAttentions = 32                    // unit attentions in a row that a target may have for one nexus
	busyPause      = 50 * time.Millisecond // after BUSY and TASK SET FULL
)

// answerError is a SCSI status without sense data that ended a command of the
// control path.
type answerError struct {
	Op     scsi.OpCode
	Status scsi.Status
}

// Error implements error.
func (e *answerError) Error() string { return fmt.Sprintf("%v ended with %v", e.Op, e.Status) }

// asker sends commands of the control path down one session, one at a time.
type asker struct {
	s   session
	lun [8]byte
	// attention is told each unit attention that a command met.
	attention func(scsi.ASC)
	// deferred is told each deferred error that a command met: the target tells
	// of what it could not write later to whoever asks next.
	deferred func(error)
}

// in sends a command that returns at most n bytes, and returns those that came.
// It takes unit attentions and asks again, and waits while the target is busy.
// The error is a *scsi.CheckCondition where the target said why.
func (a *asker) in(ctx context.Context, cdb scsi.CDB, n int) ([]byte, error) {
	c := initiator.Command{LUN: a.lun, CDB: cdb, Attr: scsi.Simple}
	if n > 0 {
		c.In = [][]byte{make([]byte, n)}
	}
	if err := a.do(ctx, &c); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	return c.In[0][:min(max(c.Got, 0), n)], nil
}

// out sends a command with data.
func (a *asker) out(ctx context.Context, cdb scsi.CDB, data []byte) error {
	c := initiator.Command{LUN: a.lun, CDB: cdb, Attr: scsi.Simple}
	if len(data) > 0 {
		c.Out = [][]byte{data}
	}
	return a.do(ctx, &c)
}

func (a *asker) do(ctx context.Context, c *initiator.Command) error {
	for attentions := 0; ; {
		if err := a.s.Do(ctx, c); err != nil {
			return err
		}
		if c.Err != nil {
			return c.Err
		}
		switch c.Status {
		case scsi.Good, scsi.ConditionMet:
			return nil
		case scsi.Busy, scsi.TaskSetFull:
			if !pause.For(ctx, busyPause) {
				return ctx.Err()
			}
			continue
		case scsi.CheckConditionStatus:
		default:
			return &answerError{scsi.Op(&c.CDB), c.Status}
		}
		sense, err := scsi.ParseSense(c.Sense)
		if err != nil {
			return fmt.Errorf("%v: %w", scsi.Op(&c.CDB), err)
		}
		cause := fmt.Errorf("%v: %w", scsi.Op(&c.CDB), &scsi.CheckCondition{Sense: sense})
		if sense.Deferred && a.deferred != nil {
			a.deferred(cause)
		}
		if sense.Key != scsi.UnitAttention && !sense.Deferred || attentions == mostAttentions {
			return cause
		}
		attentions++
		if sense.Key == scsi.UnitAttention && a.attention != nil {
			a.attention(sense.ASC)
		}
	}
}

// refused reports whether err says that the target does not know the command,
// or this form of it, rather than that it went wrong.
func refused(err error) bool {
	var cc *scsi.CheckCondition
	return errors.As(err, &cc) && cc.Sense.Key == scsi.IllegalRequest
}

// barred reports whether err says that the port is in a state that does not
// serve the command (SPC-4 §5.15.2.4).
func barred(err error) bool {
	var cc *scsi.CheckCondition
	if !errors.As(err, &cc) || cc.Sense.Key != scsi.NotReady {
		return false
	}
	switch cc.Sense.ASC {
	case scsi.ASCAccessTransition, scsi.ASCPortStandby, scsi.ASCPortUnavailable:
		return true
	}
	return false
}

// outcomeOf says in the engine's words how a command of the control path
// ended.
func outcomeOf(err error) outcome {
	var cc *scsi.CheckCondition
	var st *answerError
	var lost *initiator.LostError
	switch {
	case err == nil:
		return outcome{}
	case errors.As(err, &cc):
		return outcome{status: scsi.CheckConditionStatus, sense: cc.Sense, err: err}
	case errors.As(err, &st):
		return outcome{status: st.Status, err: err}
	case errors.As(err, &lost), errors.Is(err, initiator.ErrAborted), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return outcome{lost: true, sent: true, err: err}
	}
	// What was answered makes no sense.
	sense := scsi.Sense{Key: scsi.HardwareError, ASC: scsi.ASCInternalTargetFailure}
	return outcome{status: scsi.CheckConditionStatus, sense: sense, err: err}
}

// The CDBs of the control path.

func cdbInquiry(evpd bool, page scsi.VPDPage, n uint16) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpInquiry), 2: byte(page)}
	if evpd {
		c[1] = 1
	}
	binary.BigEndian.PutUint16(c[3:], n)
	return c
}

// cdbModeSense asks for the current values of a page without block
// descriptors.
func cdbModeSense(long bool, page uint8) scsi.CDB {
	if long {
		return scsi.CDB{0: byte(scsi.OpModeSense10), 1: 0x08, 2: page, 8: 0xff}
	}
	return scsi.CDB{0: byte(scsi.OpModeSense6), 1: 0x08, 2: page, 4: 0xff}
}

func cdbReadCapacity16(n uint32) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpServiceActionIn16), 1: byte(scsi.SAReadCapacity16)}
	binary.BigEndian.PutUint32(c[10:], n)
	return c
}

func cdbGetLBAStatus(lba scsi.LBA, n uint32) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpServiceActionIn16), 1: byte(scsi.SAGetLBAStatus16)}
	binary.BigEndian.PutUint64(c[2:], uint64(lba))
	binary.BigEndian.PutUint32(c[10:], n)
	return c
}

func cdbReportGroups(n uint32) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpMaintenanceIn), 1: byte(scsi.SAReportTargetPortGroups)}
	binary.BigEndian.PutUint32(c[6:], n)
	return c
}

func cdbSetGroups(n uint32) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpMaintenanceOut), 1: byte(scsi.SASetTargetPortGroups)}
	binary.BigEndian.PutUint32(c[6:], n)
	return c
}

// cdbReportOpCode asks how one command is supported; action is -1 for an
// operation code without service actions.
func cdbReportOpCode(op scsi.OpCode, action int, n uint32) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpMaintenanceIn), 1: byte(scsi.SAReportOpCodes), 2: byte(scsi.ReportOne), 3: byte(op)}
	if action >= 0 {
		c[2] = byte(scsi.ReportAction)
		binary.BigEndian.PutUint16(c[4:], uint16(action))
	}
	binary.BigEndian.PutUint32(c[6:], n)
	return c
}

func cdbUnmap(n uint16) scsi.CDB {
	c := scsi.CDB{0: byte(scsi.OpUnmap)}
	binary.BigEndian.PutUint16(c[7:], n)
	return c
}
