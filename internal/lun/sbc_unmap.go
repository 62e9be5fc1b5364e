package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// unmapCommands returns UNMAP (SBC-3 §5.28) and GET LBA STATUS(16) (SBC-3
// §5.5).
func unmapCommands() []command {
	return []command{{
		op: scsi.OpUnmap, name: "UNMAP",
		usage:   "\x42\x00\x00\x00\x00\x00\x3f\xff\xff\x00",
		nominal: medium, recommended: long,
		flags: changes, access: accessWrite, only: (*Unit).thin,
		parse: parseUnmap, gathered: gatherUnmap, run: unmap,
	}, {
		op: scsi.OpServiceActionIn16, sa: scsi.SAGetLBAStatus16, name: "GET LBA STATUS(16)",
		usage:   "\x9e\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00",
		nominal: medium, recommended: long,
		access: accessRead, only: (*Unit).thin,
		parse: parseLBAStatus, run: lbaStatus,
	}}
}

func parseUnmap(t *Task) error {
	t.need = int(scsi.ParseUnmap(&t.CDB).Length)
	return nil
}

// gatherUnmap locks what is named. A list with a mistake locks nothing: unmap
// refuses it.
func gatherUnmap(t *Task) {
	list, cc := t.unmapList()
	if cc != nil {
		return
	}
	bs, _ := t.unit.geometry()
	parts := make([]extent, 0, list.Len())
	for i := range list.Len() {
		if r := list.At(i); r.Blocks > 0 {
			off := int64(r.LBA) * bs
			parts = append(parts, extent{off, off + int64(r.Blocks)*bs})
		}
	}
	if len(parts) == 0 {
		return
	}
	all := parts[0]
	for _, p := range parts {
		all = extent{min(all.off, p.off), max(all.end, p.end)}
	}
	t.span(lockWrite, all.off, all.end-all.off)
	if len(parts) > 1 {
		t.parts = parts
	}
}

// unmapList reads the parameter list and checks all of it, so that a mistake
// in it has no effect at all.
func (t *Task) unmapList() (scsi.UnmapList, *scsi.CheckCondition) {
	list, cc := scsi.ParseUnmapList(t.outBytes(t.need))
	if cc != nil {
		return list, cc
	}
	if list.Len() > maxUnmapDescriptors {
		return list, scsi.InvalidParameter(2, -1)
	}
	_, total := t.unit.geometry()
	for i := range list.Len() {
		r := list.At(i)
		if cc := outOfRange(uint64(r.LBA), uint64(r.Blocks), total); cc != nil {
			return list, cc
		}
	}
	return list, nil
}

func unmap(t *Task) error {
	list, cc := t.unmapList()
	if cc != nil {
		return cc
	}
	bs, _ := t.unit.geometry()
	fl, flush := t.stability(false)
	for i := range list.Len() {
		r := list.At(i)
		off := int64(r.LBA) * bs
		err := t.stretches(off, off+int64(r.Blocks)*bs, stretch, func(off, n int64) error {
			return t.do(block.OpDiscard, fl, off, n, nil)
		})
		if err != nil {
			return err
		}
	}
	return t.settle(flush)
}

// maxStatusDescriptors bounds what one GET LBA STATUS returns; the host asks
// again from where it ended.
const maxStatusDescriptors = 1024

func parseLBAStatus(t *Task) error {
	q := scsi.ParseGetLBAStatus(&t.CDB)
	_, total := t.unit.geometry()
	if cc := outOfRange(uint64(q.LBA), 1, total); cc != nil {
		return cc
	}
	t.lba = uint64(q.LBA)
	return nil
}

func lbaStatus(t *Task) error {
	alloc := int(scsi.ParseGetLBAStatus(&t.CDB).Allocation)
	limit := min(max(1, (alloc-scsi.LBAStatusHeaderLen)/scsi.LBAStatusDescriptorLen), maxStatusDescriptors)
	bs, total := t.unit.geometry()
	off := int64(t.lba) * bs
	extents, err := t.unit.dev.Status(off, int64(total)*bs-off, limit)
	if err != nil {
		return err
	}
	var list []scsi.LBAStatus
	for _, x := range extents {
		state := scsi.StatusMapped
		if x.Alloc == block.Deallocated {
			state = scsi.StatusDeallocated
		}
		for lba, n := uint64(x.Off/bs), uint64(x.Len/bs); n > 0 && len(list) < limit; {
			k := min(n, 1<<32-1)
			list = append(list, scsi.LBAStatus{LBA: scsi.LBA(lba), Blocks: uint32(k), State: state})
			lba, n = lba+k, n-k
		}
	}
	t.reply(scsi.AppendLBAStatus(nil, list), alloc)
	return nil
}
