package lun

import "sango/internal/scsi"

// lunsCommands returns REPORT LUNS (SPC-4 §6.33).
func lunsCommands() []command {
	return []command{{
		op: scsi.OpReportLUNs, name: "REPORT LUNS",
		usage:   "\xa0\x00\xff\x00\x00\x00\xff\xff\xff\xff\x00\x00",
		nominal: quick, recommended: medium,
		flags: inPlace | keepsAttention | notReady | sanitizing | anyState | standby | atFront, access: accessAny,
		run: reportLUNs,
	}}
}

// reportLUNs tells what the nexus sees, through whatever LUN it asks. That
// clears the unit attention which announces a change, at all LUNs.
func reportLUNs(t *Task) error {
	c := scsi.ParseReportLUNs(&t.CDB)
	if c.Allocation < 16 {
		return scsi.InvalidField(6, -1)
	}
	v := t.nexus.view.Load()
	luns := v.luns
	switch c.Select {
	case scsi.SelectAddressed, scsi.SelectAll:
	case scsi.SelectWellKnown, scsi.SelectAdministrative, scsi.SelectConglomerates, scsi.SelectSubsidiary:
		luns = nil // there are none
	default:
		return scsi.InvalidField(2, -1)
	}
	t.reply(scsi.AppendLUNs(nil, luns), int(min(c.Allocation, maxParameterData)))
	for _, i := range v.all {
		i.attn.clear(scsi.ASCReportedLUNsChanged)
	}
	return nil
}

// maxParameterData bounds the parameter data of any command, in bytes; it is
// far above what there is to tell.
const maxParameterData = 16 << 20
