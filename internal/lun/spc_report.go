package lun

import "sango/internal/scsi"

// reportCommands returns REPORT SUPPORTED OPERATION CODES (SPC-4 §6.35) and
// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (§6.36).
func reportCommands() []command {
	return []command{
		{
			op: scsi.OpMaintenanceIn, sa: scsi.SAReportOpCodes, name: "REPORT SUPPORTED OPERATION CODES",
			usage:   "\xa3\x0c\x87\xff\xff\xff\xff\xff\xff\xff\x00\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady | sanitizing | anyState | standby | atFront, access: accessRead,
			run: reportOpCodes,
		},
		{
			op: scsi.OpMaintenanceIn, sa: scsi.SAReportTMFs, name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
			usage:   "\xa3\x0d\x80\x00\x00\x00\xff\xff\xff\xff\x00\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady | sanitizing | anyState | standby | atFront, access: accessRead,
			run: reportTMFs,
		},
	}
}

// supported is the descriptor of c.
func (c *command) supported() scsi.SupportedCommand {
	return scsi.SupportedCommand{
		Op: c.op, Action: c.sa, HasAction: c.op.HasServiceAction(), Usage: []byte(c.usage),
		Timeouts: scsi.CommandTimeouts{Nominal: c.nominal, Recommended: c.recommended},
	}
}

func reportOpCodes(t *Task) error {
	q, tab := scsi.ParseReportOpCodes(&t.CDB), t.unit.table
	alloc := int(min(q.Allocation, maxParameterData))
	if q.Option == scsi.ReportAll {
		list := make([]scsi.SupportedCommand, 0, len(tab.list))
		for _, c := range tab.list {
			if t.nexus.offers(c) {
				list = append(list, c.supported())
			}
		}
		t.reply(scsi.AppendSupportedCommands(nil, list, q.Timeouts), alloc)
		return nil
	}
	actions := q.Op.HasServiceAction()
	var c *command
	switch q.Option {
	case scsi.ReportOne:
		if actions {
			return scsi.InvalidField(2, 2)
		}
		c = tab.lookup(q.Op, 0)
	case scsi.ReportAction:
		if !actions {
			return scsi.InvalidField(2, 2)
		}
		c = tab.lookup(q.Op, q.Action)
	case scsi.ReportOneEither:
		if actions || q.Action == 0 {
			c = tab.lookup(q.Op, q.Action)
		}
	default:
		return scsi.InvalidField(2, 2)
	}
	if c == nil || !t.nexus.offers(c) {
		t.reply(scsi.AppendSupportedCommand(nil, nil, false), alloc)
		return nil
	}
	s := c.supported()
	t.reply(scsi.AppendSupportedCommand(nil, &s, q.Timeouts), alloc)
	return nil
}

func reportTMFs(t *Task) error {
	extended, alloc := scsi.ParseReportTMFs(&t.CDB)
	if alloc < 4 {
		return scsi.InvalidField(6, -1)
	}
	s := scsi.SupportedTMFs{
		AbortTask: true, AbortTaskSet: true, ClearTaskSet: true, UnitReset: true, TargetReset: true,
		QueryTask: true, QueryTaskSet: true, NexusReset: true,
	}
	t.reply(s.Append(nil, extended), int(min(alloc, maxParameterData)))
	return nil
}
