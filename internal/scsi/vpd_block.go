package scsi

import "encoding/binary"

// BlockLimits is VPD page B0h (SBC-3 §6.6.3, atomic fields of SBC-4). All
// lengths are in blocks; 0 means no limit reported, unless a comment says else.
type BlockLimits struct {
	WriteSameNonZero      bool   // WSNZ: WRITE SAME of 0 blocks is refused
	MaxCompareAndWrite    uint8  // 0: COMPARE AND WRITE is not supported
	OptimalGranularity    uint16 // of transfers
	MaxTransfer           uint32
	OptimalTransfer       uint32
	MaxPreFetch           uint32
	MaxUnmap              uint32 // 0: UNMAP is not supported; 1<<32-1: no limit
	MaxUnmapDescriptors   uint32 // 0: UNMAP is not supported; 1<<32-1: no limit
	OptimalUnmap          uint32 // granularity of UNMAP
	UnmapAlignment        uint32 // below 1<<31, where UnmapAligned
	UnmapAligned          bool   // UGAVALID
	MaxWriteSame          uint64
	MaxAtomic             uint32 // 0: no limit but the granularity
	AtomicAlignment       uint32
	AtomicGranularity     uint32
	MaxAtomicWithBoundary uint32 // 0: no ATOMIC BOUNDARY
	MaxAtomicBoundary     uint32
}

const blockLimitsLen = 64

// Append appends the page, 64 bytes.
func (l *BlockLimits) Append(b []byte, peripheral byte) []byte {
	var p [blockLimitsLen]byte
	be := binary.BigEndian
	p[0], p[1], p[3] = peripheral, byte(VPDBlockLimits), blockLimitsLen-vpdHeaderLen
	p[4], p[5] = bit(l.WriteSameNonZero, 0), l.MaxCompareAndWrite
	be.PutUint16(p[6:], l.OptimalGranularity)
	be.PutUint32(p[8:], l.MaxTransfer)
	be.PutUint32(p[12:], l.OptimalTransfer)
	be.PutUint32(p[16:], l.MaxPreFetch)
	be.PutUint32(p[20:], l.MaxUnmap)
	be.PutUint32(p[24:], l.MaxUnmapDescriptors)
	be.PutUint32(p[28:], l.OptimalUnmap)
	if l.UnmapAligned {
		be.PutUint32(p[32:], 1<<31|l.UnmapAlignment)
	}
	be.PutUint64(p[36:], l.MaxWriteSame)
	be.PutUint32(p[44:], l.MaxAtomic)
	be.PutUint32(p[48:], l.AtomicAlignment)
	be.PutUint32(p[52:], l.AtomicGranularity)
	be.PutUint32(p[56:], l.MaxAtomicWithBoundary)
	be.PutUint32(p[60:], l.MaxAtomicBoundary)
	return append(b, p[:]...)
}

// ParseBlockLimits reads page B0h, also the 16-byte form of SBC-2.
func ParseBlockLimits(p []byte) (BlockLimits, error) {
	if len(p) < 16 {
		return BlockLimits{}, short("VPD page B0h", len(p), 16)
	}
	var full [blockLimitsLen]byte
	copy(full[:], p[:min(len(p), vpdHeaderLen+int(binary.BigEndian.Uint16(p[2:])))])
	p = full[:]
	be := binary.BigEndian
	align := be.Uint32(p[32:])
	l := BlockLimits{
		WriteSameNonZero: p[4]&1 != 0, MaxCompareAndWrite: p[5], OptimalGranularity: be.Uint16(p[6:]),
		MaxTransfer: be.Uint32(p[8:]), OptimalTransfer: be.Uint32(p[12:]), MaxPreFetch: be.Uint32(p[16:]),
		MaxUnmap: be.Uint32(p[20:]), MaxUnmapDescriptors: be.Uint32(p[24:]), OptimalUnmap: be.Uint32(p[28:]),
		MaxWriteSame: be.Uint64(p[36:]), MaxAtomic: be.Uint32(p[44:]), AtomicAlignment: be.Uint32(p[48:]),
		AtomicGranularity: be.Uint32(p[52:]), MaxAtomicWithBoundary: be.Uint32(p[56:]), MaxAtomicBoundary: be.Uint32(p[60:]),
	}
	if align>>31 != 0 {
		l.UnmapAligned, l.UnmapAlignment = true, align&^(1<<31)
	}
	return l, nil
}

// BlockDevice is VPD page B1h, block device characteristics (SBC-3 §6.6.2).
type BlockDevice struct {
	RotationRate uint16 // 1: no rotating medium
	ProductType  uint8
	WABEREQ      uint8 // reads after a block erase: 1: end well, 2: MEDIUM ERROR, 3: WRITE AFTER SANITIZE REQUIRED; 0: no block erase (SBC-3 table 204)
	WACEREQ      uint8 // the same after a cryptographic erase; 0: there is none
	FormFactor   uint8
	FUAB         bool // FUA of reads and SYNCHRONIZE CACHE behave as SBC-3 says
	VBULS        bool // VERIFY BYTCHK of unmapped blocks is supported
}

// Append appends the page, 64 bytes.
func (d *BlockDevice) Append(b []byte, peripheral byte) []byte {
	var p [64]byte
	p[0], p[1], p[3] = peripheral, byte(VPDBlockDevice), 60
	binary.BigEndian.PutUint16(p[4:], d.RotationRate)
	p[6] = d.ProductType
	p[7] = d.WABEREQ&3<<6 | d.WACEREQ&3<<4 | d.FormFactor&0x0f
	p[8] = bit(d.FUAB, 1) | bit(d.VBULS, 0)
	return append(b, p[:]...)
}

// Provisioning types (SBC-3 table 209).
const (
	ProvisioningFull uint8 = 0 // or not reported
	ProvisioningRes  uint8 = 1 // resource provisioned
	ProvisioningThin uint8 = 2
)

// Provisioning is VPD page B2h, logical block provisioning (SBC-3 §6.6.4).
type Provisioning struct {
	ThresholdExponent   uint8 // threshold sets are 2^n blocks; 0: no thresholds
	Unmap               bool  // LBPU: UNMAP
	WriteSame16         bool  // LBPWS: the UNMAP bit of WRITE SAME(16)
	WriteSame10         bool  // LBPWS10: the same of WRITE SAME(10)
	ReadZeros           uint8 // LBPRZ: 1: unmapped blocks read as zeros
	Anchor              bool  // ANC_SUP
	Type                uint8 // Provisioning*
	MinimumPercentage   uint8
	ThresholdPercentage uint8
}

// Append appends the page, 8 bytes: without a provisioning group descriptor.
func (v *Provisioning) Append(b []byte, peripheral byte) []byte {
	return append(b, peripheral, byte(VPDProvisioning), 0, 4, v.ThresholdExponent,
		bit(v.Unmap, 7)|bit(v.WriteSame16, 6)|bit(v.WriteSame10, 5)|v.ReadZeros&7<<2|bit(v.Anchor, 1),
		v.MinimumPercentage<<3|v.Type&7, v.ThresholdPercentage)
}
