package lun

import (
	"math/bits"

	"sango/internal/scsi"
)

// capacityCommands returns READ CAPACITY (SBC-3 §5.16, §5.17). LBA and PMI are
// obsolete and must be zero.
func capacityCommands() []command {
	return []command{{
		op: scsi.OpReadCapacity10, name: "READ CAPACITY(10)",
		usage:   "\x25\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		nominal: quick, recommended: medium,
		flags: inPlace, access: accessAny,
		run: func(t *Task) error {
			c := t.unit.capacity()
			t.reply(c.Append10(nil), scsi.Capacity10Len)
			return nil
		},
	}, {
		op: scsi.OpServiceActionIn16, sa: scsi.SAReadCapacity16, name: "READ CAPACITY(16)",
		usage:   "\x9e\x10\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00",
		nominal: quick, recommended: medium,
		flags: inPlace, access: accessAny,
		run: func(t *Task) error {
			c := t.unit.capacity()
			t.reply(c.Append16(nil), int(scsi.ParseReadCapacity(&t.CDB).Allocation))
			return nil
		},
	}}
}

// capacity returns READ CAPACITY data.
func (u *Unit) capacity() scsi.Capacity {
	in := u.dev.Info()
	return scsi.Capacity{
		Blocks: max(1, uint64(in.Size/int64(in.BlockSize))), BlockSize: uint32(in.BlockSize),
		LBPPBE:      uint8(bits.Len(uint(in.PhysicalBlock/in.BlockSize)) - 1),
		Provisioned: u.thin(), ReadZeros: u.thin(),
	}
}
