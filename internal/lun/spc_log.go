package lun

import "sango/internal/scsi"

// logCommands returns LOG SENSE (SPC-4 §6.8).
func logCommands() []command {
	return []command{{
		op: scsi.OpLogSense, name: "LOG SENSE",
		usage:   "\x4d\x00\xff\xff\x00\xff\xff\xff\xff\x00",
		nominal: quick, recommended: medium, flags: inPlace | notReady | sanitizing | standby, access: accessAny,
		run: logSense,
	}}
}

// unknownTemperature is what a device without a thermometer tells.
const unknownTemperature = 0xff

// logPages are the log pages, in ascending order. Each also has a subpage FFh
// that lists its subpages.
func logPages() []scsi.LogPageCode {
	return []scsi.LogPageCode{
		{Page: scsi.LogSupported},
		{Page: scsi.LogSupported, Subpage: scsi.LogAllSubpages},
		{Page: scsi.LogTemperature},
		{Page: scsi.LogInfoExceptions},
	}
}

func logSense(t *Task) error {
	c := scsi.ParseLogSense(&t.CDB)
	var params []scsi.LogParameter
	var data []byte
	switch {
	case c.Page == scsi.LogSupported && c.Subpage == 0:
		data = scsi.AppendLogSupported(nil, logPages())
	case c.Page == scsi.LogSupported && c.Subpage == scsi.LogAllSubpages:
		data = scsi.AppendLogSubpages(nil, scsi.LogSupported, logPages())
	case c.Subpage != 0:
		return scsi.InvalidField(3, -1)
	case c.Page == scsi.LogTemperature:
		params = scsi.TemperatureParameters(unknownTemperature, unknownTemperature)
	case c.Page == scsi.LogInfoExceptions:
		params = scsi.InfoExceptionsParameters(scsi.ASCNone, unknownTemperature)
	default:
		return scsi.InvalidField(2, 5)
	}
	if params != nil {
		if last := params[len(params)-1].Code; c.Pointer > last {
			return scsi.InvalidField(5, -1)
		}
		data = scsi.AppendLogPage(nil, c.Page, 0, params, c.Pointer)
	}
	t.reply(data, int(c.Allocation))
	return nil
}
