package lun

import "sango/internal/scsi"

// absent answers a task for a LUN that the nexus does not see (SPC-4 §5.11):
// INQUIRY, REPORT LUNS and REQUEST SENSE as they must be answered, all else
// with LOGICAL UNIT NOT SUPPORTED.
func (n *Nexus) absent(t *Task) {
	t.conclude(n.answerAbsent(t))
	n.tr.TaskDone(t)
}

func (n *Nexus) answerAbsent(t *Task) error {
	none := scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported)
	var c command
	switch scsi.Op(&t.CDB) {
	case scsi.OpInquiry:
		c = inquiryCommands()[0]
		c.run = inquireAbsent
	case scsi.OpReportLUNs:
		c = lunsCommands()[0]
	case scsi.OpRequestSense:
		c = senseCommands()[0]
		c.run = func(t *Task) error {
			desc, alloc := scsi.ParseRequestSense(&t.CDB)
			t.reply(none.Sense.Append(nil, desc), int(alloc))
			return nil
		}
	default:
		return none
	}
	c.seal()
	if cc := c.check(&t.CDB); cc != nil {
		return cc
	}
	return c.run(t)
}

// inquireAbsent tells that no unit can be there: qualifier 3, type 1Fh.
func inquireAbsent(t *Task) error {
	q := scsi.ParseInquiry(&t.CDB)
	const none = scsi.PeripheralNoLU
	switch {
	case q.EVPD && q.Page == scsi.VPDSupported:
		t.reply(scsi.AppendVPDSupported(nil, none, []scsi.VPDPage{scsi.VPDSupported}), int(q.Allocation))
	case q.EVPD || q.Page != 0:
		return scsi.InvalidField(2, -1)
	default:
		i := scsi.StandardInquiry{
			Peripheral: none, Version: scsi.InquirySPC3, HiSup: true, Vendor: vendor, Product: product, Revision: revision,
		}
		t.reply(i.Append(nil), int(q.Allocation))
	}
	return nil
}
