package lun

import (
	"sango/internal/reserve"
	"sango/internal/scsi"
	"sango/internal/scsi/pr"
)

// persistCommands returns PERSISTENT RESERVE IN and OUT (SPC-4 §6.15, §6.16).
func persistCommands() []command {
	list := []command{}
	for _, in := range []struct {
		sa   scsi.ServiceAction
		name string
	}{
		{pr.ReadKeys, "PERSISTENT RESERVE IN, READ KEYS"},
		{pr.ReadReservation, "PERSISTENT RESERVE IN, READ RESERVATION"},
		{pr.ReportCapabilities, "PERSISTENT RESERVE IN, REPORT CAPABILITIES"},
		{pr.ReadFullStatus, "PERSISTENT RESERVE IN, READ FULL STATUS"},
	} {
		list = append(list, command{
			op: scsi.OpPersistReserveIn, sa: in.sa, name: in.name,
			usage:   "\x5e" + string(rune(in.sa)) + "\x00\x00\x00\x00\x00\xff\xff\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady | standby, access: accessSpecial,
			run: persistIn,
		})
	}
	for _, out := range []struct {
		sa   scsi.ServiceAction
		name string
	}{
		{pr.Register, "PERSISTENT RESERVE OUT, REGISTER"},
		{pr.Reserve, "PERSISTENT RESERVE OUT, RESERVE"},
		{pr.Release, "PERSISTENT RESERVE OUT, RELEASE"},
		{pr.Clear, "PERSISTENT RESERVE OUT, CLEAR"},
		{pr.Preempt, "PERSISTENT RESERVE OUT, PREEMPT"},
		{pr.PreemptAndAbort, "PERSISTENT RESERVE OUT, PREEMPT AND ABORT"},
		{pr.RegisterAndIgnore, "PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY"},
		{pr.RegisterAndMove, "PERSISTENT RESERVE OUT, REGISTER AND MOVE"},
	} {
		list = append(list, command{
			op: scsi.OpPersistReserveOut, sa: out.sa, name: out.name,
			// SCOPE and TYPE are ignored by some actions, which is not refused.
			usage:   "\x5f" + string(rune(out.sa)) + "\xff\x00\x00\xff\xff\xff\xff\x00",
			nominal: medium, recommended: long, flags: notReady | standby, access: accessSpecial,
			parse: parsePersistOut, run: persistOut,
		})
	}
	return list
}

func persistIn(t *Task) error {
	u := t.unit
	if u.cond.Load()&condUnread != 0 {
		return errUnsettled
	}
	c := scsi.ParsePersistReserveIn(&t.CDB)
	s := u.guard.state.Load()
	var data []byte
	switch c.Action {
	case pr.ReadKeys:
		data = pr.AppendKeys(nil, s.Generation(), s.Keys())
	case pr.ReadReservation:
		data = pr.AppendReservation(nil, s.Generation(), s.Reservation())
	case pr.ReportCapabilities:
		caps := s.Capabilities()
		data = caps.Append(nil)
	case pr.ReadFullStatus:
		data = pr.AppendFullStatus(nil, s.Generation(), s.FullStatus())
	}
	t.reply(data, int(c.Allocation))
	return nil
}

func parsePersistOut(t *Task) error {
	n := scsi.ParsePersistReserveOut(&t.CDB).Length
	if n < pr.BasicLen || n > pr.MaxListLength {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	t.need = int(n)
	return nil
}

func persistOut(t *Task) error {
	if t.Out.Len() < t.need { // the host offered less than the CDB says
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	c := scsi.ParsePersistReserveOut(&t.CDB)
	list, cc := pr.ParseOut(t.outBytes(t.need), c.Action)
	if cc != nil {
		return cc
	}
	return t.unit.guard.request(t, &reserve.Request{
		Nexus: t.itl.nexus.id, Action: c.Action, Scope: c.Scope, Type: typeOf(c), Out: list,
		Ports: portsOf(t), Known: t.unit.initiatorsOf(),
	})
}
