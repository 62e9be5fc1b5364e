package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// modeCommands returns MODE SENSE and MODE SELECT (SPC-4 §6.9 to §6.12).
func modeCommands() []command {
	return []command{
		{
			op: scsi.OpModeSense6, name: "MODE SENSE(6)",
			usage:   "\x1a\x08\xff\xff\xff\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady | sanitizing | standby, access: accessRead,
			run: modeSense,
		},
		{
			op: scsi.OpModeSense10, name: "MODE SENSE(10)",
			usage:   "\x5a\x18\xff\xff\x00\x00\x00\xff\xff\x00",
			nominal: quick, recommended: medium, flags: inPlace | notReady | sanitizing | standby, access: accessRead,
			run: modeSense,
		},
		{
			op: scsi.OpModeSelect6, name: "MODE SELECT(6)",
			usage:   "\x15\x11\x00\x00\xff\x00",
			nominal: medium, recommended: long, flags: notReady | standby, access: accessWrite,
			parse: parseModeSelect, run: modeSelect,
		},
		{
			op: scsi.OpModeSelect10, name: "MODE SELECT(10)",
			usage:   "\x55\x11\x00\x00\x00\x00\x00\xff\xff\x00",
			nominal: medium, recommended: long, flags: notReady | standby, access: accessWrite,
			parse: parseModeSelect, run: modeSelect,
		},
	}
}

func modeSense(t *Task) error {
	c, u := scsi.ParseModeSense(&t.CDB), t.unit
	pages := u.modes.pages(c.Page, c.Subpage, c.Control)
	if c.Page == scsi.ModeAllPages && c.Subpage != 0 && c.Subpage != scsi.ModeAllSubpages {
		return scsi.InvalidField(3, -1)
	}
	if len(pages) == 0 {
		if len(u.modes.pages(c.Page, scsi.ModeAllSubpages, scsi.PageCurrent)) > 0 {
			return scsi.InvalidField(3, -1)
		}
		return scsi.InvalidField(2, 5)
	}
	h := scsi.ModeHeader{Long: c.Long, LongLBA: c.LLBAA, WriteProtect: u.writeProtected(), DPOFUA: true}
	if !c.DBD {
		in := u.dev.Info()
		h.Descriptors = []scsi.BlockDescriptor{{Blocks: uint64(in.Size) / uint64(in.BlockSize), BlockSize: uint32(in.BlockSize)}}
	}
	data, ok := scsi.AppendModeData(nil, &h, pages)
	if !ok {
		return scsi.InvalidField(2, 5)
	}
	t.reply(data, int(c.Allocation))
	return nil
}

func parseModeSelect(t *Task) error {
	c := scsi.ParseModeSelect(&t.CDB)
	if !c.PF && c.Length > 0 {
		return scsi.InvalidField(1, 4)
	}
	t.need = int(c.Length)
	// No write is under way while the cache is switched off.
	t.span(lockExclusive, 0, t.unit.dev.Info().Size)
	return nil
}

// modeSelect changes mode pages. The nexuses but the one that asked get unit
// attention 2A/01 if a value changed.
func modeSelect(t *Task) error {
	c, u := scsi.ParseModeSelect(&t.CDB), t.unit
	if c.Length == 0 {
		return nil
	}
	if t.Out.Len() < t.need { // the host offered less than the CDB says
		return scsi.Check(scsi.IllegalRequest, scsi.ASCParameterListLength)
	}
	list, cc := scsi.ParseModeList(t.outBytes(t.need), c.Long)
	if cc != nil {
		return cc
	}
	if cc := u.sameBlocks(list); cc != nil {
		return cc
	}
	changed, err := u.modes.change(list.Pages, c.Save, u.store, &t.killed, func() error {
		return t.do(block.OpFlush, 0, 0, 0, nil)
	})
	switch {
	case err != nil && u.moved(err):
		return t.back()
	case err != nil:
		return err
	}
	if changed {
		u.attention(scsi.ASCModeParametersChanged, others(t), nil)
	}
	return nil
}

// sameBlocks refuses block descriptors that would change the size of the unit
// or of its blocks; a number of blocks of 0 means that it stays (SBC-3
// §6.4.2.2).
func (u *Unit) sameBlocks(l *scsi.ModeList) *scsi.CheckCondition {
	at := uint16(4)
	if l.Header.Long {
		at = 8
	}
	if len(l.Header.Descriptors) > 1 {
		return scsi.InvalidParameter(at-1, -1)
	}
	for _, d := range l.Header.Descriptors {
		in := u.dev.Info()
		n := uint64(in.Size) / uint64(in.BlockSize)
		short := !l.Header.LongLBA
		whole := d.Blocks == 0 || d.Blocks == n || short && d.Blocks == min(n, 1<<32-1) || d.Blocks == 1<<64-1
		if !whole {
			return scsi.InvalidParameter(at, -1)
		}
		if int64(d.BlockSize) != int64(in.BlockSize) {
			if short {
				return scsi.InvalidParameter(at+5, -1)
			}
			return scsi.InvalidParameter(at+12, -1)
		}
	}
	return nil
}
