package lun

import (
	"math/bits"

	"sango/internal/scsi"
	"sango/internal/scsi/copy"
)

// What a unit does as a copy manager (SPC-4 §5.16), told by RECEIVE COPY
// OPERATING PARAMETERS and VPD page 8Fh alike.
var copyLimits = copy.Limits{
	Targets: 16, Segments: 16, ListLength: 16*copy.TargetLen + 16*copy.BlockToBlockLen,
}

const (
	maxCopies     = 4       // of one unit at a time: each takes a worker
	maxHeldCopies = 16      // results that are held for a nexus
	maxSegment    = 1 << 30 // bytes
)

var copyDescriptors = []uint8{copy.BlockToBlock, copy.Identification}

// copyCommands returns EXTENDED COPY(LID1) (SPC-4 §6.4) and RECEIVE COPY
// RESULTS (SPC-4 §6.18 ff.). The copy checks by itself what it may do to each
// of its units; the unit that got the command need not be one of them.
func copyCommands() []command {
	receive := "\x84\x00\xff\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00"
	list := []command{{
		op: scsi.OpExtendedCopy, sa: copy.LID1, name: "EXTENDED COPY(LID1)",
		usage:   "\x83\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
		nominal: long, recommended: 10 * long,
		flags: atFront, access: accessWrite, parse: parseExtendedCopy, run: extendedCopy,
	}, {
		op: scsi.OpReceiveCopyResults, sa: copy.Status, name: "RECEIVE COPY STATUS(LID1)", usage: receive, run: copyStatus,
	}, {
		op: scsi.OpReceiveCopyResults, sa: copy.Data, name: "RECEIVE COPY DATA(LID1)", usage: receive, run: copyData,
	}, {
		op: scsi.OpReceiveCopyResults, sa: copy.OperatingParams, name: "RECEIVE COPY OPERATING PARAMETERS",
		usage: "\x84\x03\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00", run: copyParameters,
	}, {
		op: scsi.OpReceiveCopyResults, sa: copy.FailureDetails, name: "RECEIVE COPY FAILURE DETAILS(LID1)", usage: receive, run: copyFailure,
	}}
	for i := range list[1:] {
		c := &list[i+1]
		c.usage = c.usage[:1] + string(rune(c.sa)) + c.usage[2:]
		c.nominal, c.recommended = quick, medium
		c.flags, c.access = inPlace|atFront, accessAny // SPC-4 table 65
	}
	return list
}

func parseExtendedCopy(t *Task) error {
	_, n := scsi.ParseExtendedCopy(&t.CDB)
	if uint64(n) > uint64(copy.HeaderLen+copyLimits.ListLength+copyExcess) {
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	t.need = int(n)
	return nil
}

// copyExcess is how much longer than allowed a parameter list may be so that
// it is still taken, to be told what is wrong with it.
const copyExcess = 4 << 10

// extendedCopy checks the parameter list, then does its segments one by one.
func extendedCopy(t *Task) error {
	list, cc := copy.Parse(t.outBytes(t.need), copyLimits)
	switch {
	case cc != nil:
		return cc
	case list == nil:
		return nil
	}
	u := t.unit
	if u.copying.Add(1) > maxCopies {
		u.copying.Add(-1)
		t.Status = scsi.Busy
		return nil
	}
	defer u.copying.Add(-1)
	r, cc := t.itl.copies.begin(list)
	if cc != nil {
		return cc
	}
	c := copier{t: t, list: list, result: r, pace: pacer{rate: u.o.Background}}
	err := c.run()
	t.itl.copies.end(r, err)
	if t.killed.Load() {
		return nil // nobody is told
	}
	return err
}

func (u *Unit) thirdPartyCopy() *scsi.ThirdPartyCopy {
	return &scsi.ThirdPartyCopy{
		Commands: []scsi.CopyCommand{
			{Op: scsi.OpExtendedCopy, Actions: []scsi.ServiceAction{copy.LID1}},
			{Op: scsi.OpReceiveCopyResults, Actions: []scsi.ServiceAction{copy.Status, copy.Data, copy.OperatingParams, copy.FailureDetails}},
		},
		MaxTargets: uint16(copyLimits.Targets), MaxSegments: uint16(copyLimits.Segments),
		MaxListLength: uint32(copyLimits.ListLength), Descriptors: copyDescriptors,
		MaxConcurrent: maxCopies, MaxIdentified: maxCopies, MaxSegmentLength: maxSegment,
		SegmentGranularity: u.copyGranularity(),
	}
}

// copyGranularity is the unit of a segment's length, log2 of bytes.
func (u *Unit) copyGranularity() uint8 {
	bs, _ := u.geometry()
	return uint8(bits.TrailingZeros64(uint64(bs)))
}

func copyParameters(t *Task) error {
	u := t.unit
	o := copy.Operating{
		Limits: copyLimits, NoListID: true, MaxSegmentLength: maxSegment,
		TotalConcurrent: maxCopies, MaxConcurrent: maxCopies, SegmentGranularity: u.copyGranularity(),
		Descriptors: copyDescriptors,
	}
	t.reply(o.Append(nil), int(scsi.ParseReceiveCopyResults(&t.CDB).Allocation))
	return nil
}
