package ublk

import (
	"fmt"
	"math/bits"

	"sango/internal/attach/ublk/uapi"
	"sango/internal/block"
)

func shift(n int) uint8 { return uint8(bits.Len(uint(n)) - 1) }

// params says what the disk is like.
func params(info block.Info, opt *Options) uapi.Params {
	c := &info.Caps
	p := uapi.Params{Len: uint32(uapi.ParamsLen), Types: uapi.ParamTypeBasic}
	p.Basic = uapi.ParamBasic{
		LogicalShift:  shift(info.BlockSize),
		PhysicalShift: shift(info.PhysicalBlock),
		IOMinShift:    shift(info.PhysicalBlock),
		// What is read ahead follows from it.
		IOOptShift: shift(max(opt.MaxIO, info.PhysicalBlock)),
		MaxSectors: uint32(opt.MaxIO >> uapi.SectorShift),
		DevSectors: uint64(info.Size) >> uapi.SectorShift,
	}
	if c.ReadOnly || opt.ReadOnly {
		p.Basic.Attrs |= uapi.AttrReadOnly
	}
	// Without a volatile cache the kernel sends neither flushes nor FUA, and needs none.
	if c.WriteBack {
		p.Basic.Attrs |= uapi.AttrVolatileCache
		if c.FUA != block.None {
			p.Basic.Attrs |= uapi.AttrFUA
		}
	}
	// A discard that has to write zeros is no favour to mkfs or fstrim; writing zeroes without sending them is one.
	discard := c.Discard == block.Native
	zeroes := c.WriteZeroes != block.None
	if (discard || zeroes) && p.Basic.Attrs&uapi.AttrReadOnly == 0 {
		p.Types |= uapi.ParamTypeDiscard
		gran := min(max(c.Granularity, int64(info.PhysicalBlock)), 1<<30)
		most := uint32(max(opt.MaxDiscard/gran*gran, gran) >> uapi.SectorShift)
		p.Discard = uapi.ParamDiscard{Granularity: uint32(gran), MaxSegments: 1}
		if discard {
			p.Discard.MaxSectors = most
		}
		if zeroes {
			p.Discard.MaxZeroSectors = most
		}
	}
	return p
}

// same checks that the device can go on where another process left a disk with p.
func same(info block.Info, p *uapi.Params) error {
	switch {
	case p.Types&uapi.ParamTypeBasic == 0:
		return fmt.Errorf("the disk was never set up: delete it and attach the volume anew")
	case p.Basic.LogicalShift != shift(info.BlockSize):
		return fmt.Errorf("the disk has blocks of %d bytes and the volume of %d: it was another volume", 1<<p.Basic.LogicalShift, info.BlockSize)
	case p.Basic.DevSectors > uint64(info.Size)>>uapi.SectorShift:
		return fmt.Errorf("the disk has %d bytes and the volume only %d: it was another volume, or has been cut off", p.Basic.DevSectors<<uapi.SectorShift, info.Size)
	case p.Basic.Attrs&uapi.AttrReadOnly == 0 && info.Caps.ReadOnly:
		return fmt.Errorf("the disk takes writes and the volume is read-only now")
	case p.Basic.Attrs&uapi.AttrVolatileCache == 0 && info.Caps.WriteBack:
		return fmt.Errorf("the disk was without a volatile cache, and the volume has one now: flushes would be missing")
	case p.Basic.Attrs&uapi.AttrFUA != 0 && info.Caps.FUA == block.None:
		return fmt.Errorf("the disk has FUA and the volume has it no more")
	}
	return nil
}
