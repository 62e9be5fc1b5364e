package lun

import (
	"math"

	"sango/internal/block"
	"sango/internal/scsi"
)

// Limits that the commands on blocks keep to, and that VPD page B0h tells.
const (
	maxTransferBytes        = 32 << 20  // data of one command (DESIGN R9)
	maxCompareAndWriteBytes = 1 << 20   // and at most 255 blocks
	maxWriteSameBytes       = 128 << 20 // so that one command ends in bounded time
	maxUnmapDescriptors     = 256
	maxUnmapBlocks          = math.MaxUint32 // no limit
)

// maxTransferBlocks returns maxTransferBytes in blocks of u.
func (u *Unit) maxTransferBlocks() uint32 {
	return uint32(maxTransferBytes / u.dev.Info().BlockSize)
}

// maxWriteSame returns maxWriteSameBytes in blocks of u.
func (u *Unit) maxWriteSame() uint64 {
	return uint64(maxWriteSameBytes / u.dev.Info().BlockSize)
}

// maxCompareAndWrite returns how many blocks COMPARE AND WRITE takes.
func (u *Unit) maxCompareAndWrite() uint8 {
	return uint8(min(255, maxCompareAndWriteBytes/u.dev.Info().BlockSize))
}

// maxAtomicBlocks returns how many blocks WRITE ATOMIC takes, 0 if the device
// has no such write.
func (u *Unit) maxAtomicBlocks() uint32 {
	in := u.dev.Info()
	return uint32(min(in.Caps.AtomicMax, maxTransferBytes) / int64(in.BlockSize))
}

// atomicUnit returns the number of blocks of which the address and the length
// of WRITE ATOMIC are multiples: a physical block, since a part of one takes
// the rest of it along.
func (u *Unit) atomicUnit() uint32 {
	in := u.dev.Info()
	return uint32(max(1, in.PhysicalBlock/in.BlockSize))
}

// thin reports whether the device gives space back.
func (u *Unit) thin() bool { return u.dev.Info().Caps.Discard != block.None }

// blockLimits returns VPD page B0h.
func (u *Unit) blockLimits() *scsi.BlockLimits {
	in := u.dev.Info()
	inBlocks := func(n int64) uint32 { return uint32(n / int64(in.BlockSize)) }
	l := &scsi.BlockLimits{
		MaxCompareAndWrite: u.maxCompareAndWrite(),
		OptimalGranularity: uint16(inBlocks(int64(in.PhysicalBlock))),
		MaxTransfer:        u.maxTransferBlocks(),
		OptimalTransfer:    inBlocks(1 << 20),
		MaxWriteSame:       u.maxWriteSame(),
		MaxAtomic:          u.maxAtomicBlocks(),
	}
	if l.MaxAtomic > 0 {
		l.AtomicAlignment, l.AtomicGranularity = u.atomicUnit(), u.atomicUnit()
	}
	if u.thin() {
		l.MaxUnmap, l.MaxUnmapDescriptors = maxUnmapBlocks, maxUnmapDescriptors
		l.OptimalUnmap = max(1, inBlocks(in.Caps.Granularity))
		l.UnmapAligned = true
	}
	return l
}

// blockDevice returns VPD page B1h.
func (u *Unit) blockDevice() *scsi.BlockDevice {
	d := &scsi.BlockDevice{RotationRate: 1, FUAB: true}
	if u.table.lookup(scsi.OpSanitize, scsi.SASanitizeBlockErase) != nil {
		d.WABEREQ = 1 // erased blocks read as zeros
	}
	return d
}

// provisioning returns VPD page B2h.
func (u *Unit) provisioning() *scsi.Provisioning {
	if !u.thin() {
		return &scsi.Provisioning{}
	}
	return &scsi.Provisioning{
		Unmap: true, WriteSame16: true, WriteSame10: u.table.lookup(scsi.OpWriteSame10, 0) != nil, ReadZeros: 1,
		Type: scsi.ProvisioningThin,
	}
}
