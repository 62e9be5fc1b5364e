package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// mediumCommands returns START STOP UNIT (SBC-3 §5.25) and, for removable
// volumes, PREVENT ALLOW MEDIUM REMOVAL (SBC-3 §5.15).
func mediumCommands() []command {
	return []command{
		{
			op: scsi.OpStartStopUnit, name: "START STOP UNIT",
			usage:   "\x1b\x01\x00\x0f\xf7\x00",
			nominal: medium, recommended: long, flags: notReady, access: accessSpecial,
			parse: parseStartStop, run: startStop,
		},
		{
			op: scsi.OpPreventAllow, name: "PREVENT ALLOW MEDIUM REMOVAL",
			usage:   "\x1e\x00\x00\x00\x03\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady, access: accessSpecial,
			only: func(u *Unit) bool { return u.vol.Removable }, run: preventAllow,
		},
	}
}

// Bits of byte 4 of START STOP UNIT.
const (
	bitStart   = 0x01
	bitLoEj    = 0x02
	bitNoFlush = 0x04
)

// parseStartStop refuses to eject what cannot be. With a power condition START
// and LOEJ mean nothing (SBC-3 table 83).
func parseStartStop(t *Task) error {
	if t.CDB[4]>>4 == 0 && t.CDB[4]&bitLoEj != 0 && !t.unit.vol.Removable {
		return scsi.InvalidField(4, 1)
	}
	return nil
}

// startStop loads or ejects a removable medium. Power conditions and stopping
// make the cache stable and change nothing else: there is nothing to save
// power with, and one host that stops its disk must not take it from others.
// IMMED may be ignored: the command is done soon.
func startStop(t *Task) error {
	u, b := t.unit, t.CDB[4]
	stop := b>>4 == 0 && b&bitStart == 0
	load, eject := b>>4 == 0 && b&bitLoEj != 0 && b&bitStart != 0, stop && b&bitLoEj != 0
	if (load || eject) && u.prevented() {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCMediumRemovalPrevented)
	}
	if stop && b&bitNoFlush == 0 && u.cond.Load()&condEjected == 0 {
		if err := t.flushed(t.do(block.OpFlush, 0, 0, 0, nil)); err != nil {
			return err
		}
	}
	switch {
	case eject:
		u.setCondition(condEjected, true)
	case load && u.cond.Load()&condEjected != 0:
		u.setCondition(condEjected, false)
		u.attention(scsi.ASCMediumMayHaveChanged, others(t), nil)
	}
	return nil
}

// prevented reports whether a nexus prevents the removal of the medium.
func (u *Unit) prevented() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, i := range u.peers {
		if i.prevents.Load() {
			return true
		}
	}
	return len(u.preventing) > 0
}

// preventAllow notes for the nexus whether the medium must stay in. It ends
// with the nexus and with a reset.
func preventAllow(t *Task) error {
	if t.CDB[4]&0x02 != 0 { // obsolete values of PREVENT
		return scsi.InvalidField(4, 1)
	}
	t.itl.prevents.Store(t.CDB[4]&0x01 != 0)
	return nil
}
