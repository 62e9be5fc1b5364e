package lun

import "sango/internal/scsi"

// senseCommands returns REQUEST SENSE (SPC-4 §6.39).
func senseCommands() []command {
	return []command{{
		op: scsi.OpRequestSense, name: "REQUEST SENSE",
		usage:   "\x03\x01\x00\x00\xff\x00",
		nominal: quick, recommended: medium,
		flags: inPlace | keepsAttention | notReady | sanitizing | anyState | standby | firstAtFront, access: accessAny,
		run: requestSense,
	}}
}

// requestSense tells, with GOOD status, a pending unit attention, which it
// clears, or else why the unit is not ready, or how far an operation is.
func requestSense(t *Task) error {
	desc, alloc := scsi.ParseRequestSense(&t.CDB)
	s := scsi.Sense{}
	if c, ok := t.itl.attn.take(); ok {
		s = scsi.Sense{Key: scsi.UnitAttention, ASC: c}
	} else {
		c := t.unit.cond.Load()
		cc := t.unit.unsanitized(c)
		if cc == nil && c&condEjected != 0 {
			cc = scsi.Check(scsi.NotReady, scsi.ASCMediumNotPresentTrayOpen)
		}
		if cc == nil {
			cc = blockedBy(t.itl.state(), 0)
		}
		if cc == nil && t.place == placeFront { // nobody is known to serve the volume
			cc = moving()
		}
		if cc != nil {
			s = cc.Sense
		}
	}
	t.reply(s.Append(nil, desc), int(alloc))
	return nil
}
