package multipath

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"sango/internal/block"
	"sango/internal/scsi"
)

// shape is what commands to the volume have to keep to. A request is cut by
// the shape of the moment in which it came.
type shape struct {
	size      int64 // bytes
	block     int   // bytes
	physical  int   // bytes
	readOnly  bool
	writeBack bool // WCE
	through   bool // those above were told that there is no cache: every write has FUA
	fua       bool // DPOFUA

	maxTransfer int64 // bytes of one command
	optimal     int64 // bytes; 0: not told

	ten    bool // the 10-byte forms of READ and WRITE only
	sync16 bool // SYNCHRONIZE CACHE(16), else (10)

	discard   discardBy
	exact     bool  // UNMAP leaves zeros whatever its alignment
	maxUnmap  int64 // bytes of one UNMAP
	granule   int64 // bytes
	alignment int64 // bytes: where the first granule starts

	same    bool  // WRITE SAME(16)
	noData  bool  // with NDOB
	maxSame int64 // bytes of one WRITE SAME
	unmaps  bool  // WRITE SAME with the UNMAP bit leaves zeros

	maxAtomic int64 // bytes; 0: none

	lbaStatus bool // GET LBA STATUS, as far as one knows
	zeros     bool // deallocated blocks read as zeros
}

// discardBy says how a discard is done.
type discardBy uint8

const (
	noDiscard discardBy = iota
	// byUnmap: UNMAP of whole granules, zeros written to what is left.
	byUnmap
	// bySame: WRITE SAME(16) with the UNMAP bit, after which the blocks read as
	// the data that came, whether they were unmapped or not.
	bySame
)

// Bounds of what is believed and sent.
const (
	fallbackTransfer = 1 << 20  // bytes of one command where the target names no limit
	mostTransfer     = 32 << 20 // bytes of one command whatever the target says
	mostSame         = 1 << 30  // bytes of one WRITE SAME, so that it ends in time
	mostUnmap        = 1 << 40  // bytes of one UNMAP
	fallbackSame     = 1 << 20
)

// askShape asks for capacity, limits, mode pages and commands. Sango's own
// target zeroes what it unmaps, whatever the granularity; ours says so.
func askShape(ctx context.Context, a *asker, ours bool) (*shape, error) {
	s := &shape{}
	c, err := askCapacity(ctx, a, s)
	if err != nil {
		return nil, err
	}
	limits, known, err := askLimits(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := s.askModes(ctx, a); err != nil {
		return nil, err
	}
	commands, err := askCommands(ctx, a, known && limits.MaxWriteSame > 0)
	if err != nil {
		return nil, err
	}
	thin, err := askProvisioning(ctx, a)
	if err != nil {
		return nil, err
	}
	s.derive(c, &limits, commands, thin, ours)
	return s, nil
}

// askCapacity reads the size of the volume and of its blocks.
func askCapacity(ctx context.Context, a *asker, s *shape) (*scsi.Capacity, error) {
	d, err := a.in(ctx, cdbReadCapacity16(scsi.Capacity16Len), scsi.Capacity16Len)
	var c scsi.Capacity
	switch {
	case refused(err): // a target of SBC-2
		if d, err = a.in(ctx, scsi.CDB{0: byte(scsi.OpReadCapacity10)}, scsi.Capacity10Len); err != nil {
			return nil, err
		}
		if len(d) < scsi.Capacity10Len {
			return nil, fmt.Errorf("READ CAPACITY(10): %d bytes, want %d", len(d), scsi.Capacity10Len)
		}
		s.ten = true
		c = scsi.Capacity{Blocks: uint64(binary.BigEndian.Uint32(d)) + 1, BlockSize: binary.BigEndian.Uint32(d[4:])}
	case err != nil:
		return nil, err
	default:
		if c, err = scsi.ParseCapacity16(d); err != nil {
			return nil, err
		}
	}
	if c.BlockSize != 512 && c.BlockSize != 4096 {
		return nil, fmt.Errorf("blocks of %d bytes: only 512 and 4096 are served", c.BlockSize)
	}
	if c.Blocks == 0 || c.Blocks > math.MaxInt64/uint64(c.BlockSize) {
		return nil, fmt.Errorf("READ CAPACITY: %d blocks of %d bytes is no size that can be served", c.Blocks, c.BlockSize)
	}
	s.size, s.block = int64(c.Blocks)*int64(c.BlockSize), int(c.BlockSize)
	s.physical = s.block << min(c.LBPPBE, 15)
	return &c, nil
}

// askLimits reads page B0h.
func askLimits(ctx context.Context, a *asker) (l scsi.BlockLimits, known bool, err error) {
	d, err := vpd(ctx, a, scsi.VPDBlockLimits)
	if err != nil || len(d) < 16 {
		return l, false, err
	}
	l, err = scsi.ParseBlockLimits(d)
	return l, err == nil, err
}

// askModes reads WP, DPOFUA and WCE.
func (s *shape) askModes(ctx context.Context, a *asker) error {
	for _, long := range []bool{true, false} {
		d, err := a.in(ctx, cdbModeSense(long, scsi.ModeCaching), 255)
		if refused(err) {
			continue
		}
		if err != nil {
			return err
		}
		s.takeModes(d, long)
		return nil
	}
	return nil // neither form: write-through without FUA, as far as one can tell
}

func (s *shape) takeModes(d []byte, long bool) {
	n := 0
	switch {
	case long && len(d) >= 8:
		n = int(binary.BigEndian.Uint16(d)) + 2
	case !long && len(d) >= 4:
		n = int(d[0]) + 1
	}
	l, cc := scsi.ParseModeList(d[:min(n, len(d))], long)
	if cc != nil {
		return // a broken list says nothing that could be relied on
	}
	s.readOnly, s.fua = l.Header.WriteProtect, l.Header.DPOFUA
	for i := range l.Pages {
		if p := &l.Pages[i]; p.Page == scsi.ModeCaching && p.Subpage == 0 {
			if c, err := scsi.ParseCaching(p.Params); err == nil {
				s.writeBack = c.WCE
			}
		}
	}
}

// commands is which of the commands are served that not every target has.
type commands struct {
	same, noData, atomic, lbaStatus, sync16 bool
}

// askCommands asks REPORT SUPPORTED OPERATION CODES. Where that is missing, the
// limits tell of WRITE SAME, and the others are tried.
func askCommands(ctx context.Context, a *asker, same bool) (c commands, err error) {
	usage, known, err := askOpCode(ctx, a, scsi.OpWriteSame16, -1)
	if err != nil {
		return c, err
	}
	if !known {
		return commands{same: same, lbaStatus: true}, nil
	}
	c.same, c.noData = usage != nil, len(usage) > 1 && usage[1]&1 != 0
	for _, q := range []struct {
		op     scsi.OpCode
		action int
		to     *bool
	}{
		{scsi.OpWriteAtomic16, -1, &c.atomic},
		{scsi.OpSynchronizeCache16, -1, &c.sync16},
		{scsi.OpServiceActionIn16, int(scsi.SAGetLBAStatus16), &c.lbaStatus},
	} {
		if usage, _, err = askOpCode(ctx, a, q.op, q.action); err != nil {
			return c, err
		}
		*q.to = usage != nil
	}
	return c, nil
}

// askOpCode returns the CDB usage data of a command, nil where it is not
// supported; known is false where the target does not tell.
func askOpCode(ctx context.Context, a *asker, op scsi.OpCode, action int) (usage []byte, known bool, err error) {
	const n = 64
	d, err := a.in(ctx, cdbReportOpCode(op, action, n), n)
	if refused(err) {
		return nil, false, nil
	}
	if err != nil || len(d) < 4 {
		return nil, false, err
	}
	switch d[1] & 7 {
	case scsi.SupportStandard, scsi.SupportVendor:
		size := int(binary.BigEndian.Uint16(d[2:]))
		return append([]byte{}, d[4:min(len(d), 4+size)]...), true, nil
	case scsi.SupportNone:
		return nil, true, nil
	}
	return nil, false, nil
}

// thinness is what page B2h says.
type thinness struct{ unmap, same, zeros bool }

func askProvisioning(ctx context.Context, a *asker) (t thinness, err error) {
	d, err := vpd(ctx, a, scsi.VPDProvisioning)
	if err != nil || len(d) < 6 {
		return t, err
	}
	return thinness{unmap: d[5]&0x80 != 0, same: d[5]&0x40 != 0, zeros: d[5]>>2&7 != 0}, nil
}

// derive sets what follows from the answers.
func (s *shape) derive(c *scsi.Capacity, l *scsi.BlockLimits, has commands, thin thinness, ours bool) {
	bs := int64(s.block)
	bytes := func(blocks uint64, most int64) int64 {
		return int64(min(blocks, uint64(most/bs))) * bs
	}
	s.maxTransfer = fallbackTransfer
	if l.MaxTransfer > 0 {
		s.maxTransfer = bytes(uint64(l.MaxTransfer), mostTransfer)
	}
	if s.ten {
		s.maxTransfer = min(s.maxTransfer, 0xffff*bs)
	}
	s.optimal = bytes(uint64(l.OptimalTransfer), mostTransfer)
	s.sync16, s.lbaStatus = has.sync16, has.lbaStatus && !s.ten
	s.same, s.noData = has.same && !s.ten, has.noData
	s.maxSame = fallbackSame
	if l.MaxWriteSame > 0 {
		s.maxSame = bytes(l.MaxWriteSame, mostSame)
	}
	s.zeros = thin.zeros || c.ReadZeros
	s.unmaps = thin.same && s.zeros && s.same
	s.granule = max(bytes(uint64(l.OptimalUnmap), mostUnmap), bs)
	if l.UnmapAligned {
		s.alignment = int64(l.UnmapAlignment) * bs % s.granule
	}
	// The standard lets a target ignore an UNMAP; what WRITE SAME leaves are
	// zeros in any case, so it is preferred but where the target is known.
	unmap := thin.unmap && s.zeros && l.MaxUnmap > 0 && l.MaxUnmapDescriptors > 0
	s.maxUnmap = bytes(uint64(l.MaxUnmap), mostUnmap)
	switch {
	case unmap && ours:
		s.discard, s.exact = byUnmap, true
	case s.unmaps:
		s.discard = bySame
	case unmap && s.maxUnmap >= s.granule:
		s.discard = byUnmap
		s.maxUnmap -= s.maxUnmap % s.granule
	}
	// The contract promises atomic writes of any whole number of blocks.
	if has.atomic && l.AtomicAlignment <= 1 && l.AtomicGranularity <= 1 {
		s.maxAtomic = min(s.maxTransfer, 0xffff*bs)
		if l.MaxAtomic > 0 {
			s.maxAtomic = min(s.maxAtomic, bytes(uint64(l.MaxAtomic), mostTransfer))
		}
	}
}

// info is the shape as the block contract tells it.
func (s *shape) info() block.Info {
	i := block.Info{
		Size: s.size, BlockSize: s.block, PhysicalBlock: s.physical,
		Caps: block.Caps{
			ReadOnly: s.readOnly, WriteBack: s.writeBack && !s.through, WriteZeroes: block.Emulated,
			FUA: block.Emulated, AtomicMax: s.maxAtomic, Async: true,
		},
	}
	if s.fua || !s.writeBack {
		i.Caps.FUA = block.Native
	}
	if s.same {
		i.Caps.WriteZeroes = block.Native
	}
	if s.discard != noDiscard {
		i.Caps.Discard, i.Caps.Granularity = block.Native, s.granule
	}
	return i
}

// limits returns what is told of s to those above.
func (s *shape) limits() Limits {
	l := Limits{MaxTransfer: s.maxTransfer, OptimalIO: s.optimal, MaxWriteZeroes: s.maxTransfer, MaxAtomic: s.maxAtomic}
	if s.same {
		l.MaxWriteZeroes = s.maxSame
	}
	switch s.discard {
	case byUnmap:
		l.MaxDiscard, l.DiscardAlign = s.maxUnmap, s.granule
	case bySame:
		l.MaxDiscard, l.DiscardAlign = s.maxSame, s.granule
	}
	return l
}
