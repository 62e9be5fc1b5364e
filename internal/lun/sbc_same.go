package lun

import (
	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// sameCommands returns WRITE SAME (SBC-3 §5.42, §5.43). ANCHOR is refused:
// there is no anchored state. 0 blocks are all up to the end (WSNZ = 0), if
// those are not more than MAXIMUM WRITE SAME LENGTH.
func sameCommands() []command {
	list := []command{
		{op: scsi.OpWriteSame10, usage: "\x41\x08\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpWriteSame16, usage: "\x93\x09\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
	}
	for i := range list {
		c := &list[i]
		c.name, c.nominal, c.recommended = c.op.String(), long, 10*long
		c.flags, c.access = changes, accessWrite
		c.parse, c.run = parseWriteSame, writeSame
	}
	return list
}

func parseWriteSame(t *Task) error {
	b, err := t.toEnd(lockWrite)
	if err != nil {
		return err
	}
	if t.blocks > t.unit.maxWriteSame() {
		return scsi.InvalidField(b.BlocksAt, -1)
	}
	if b.Unmap {
		if !t.unit.thin() {
			return scsi.InvalidField(1, 3)
		}
		t.arg |= argUnmap
	}
	if b.NoData {
		t.arg |= argNoData
		return nil
	}
	bs, _ := t.unit.geometry()
	t.need = int(bs)
	if !t.Write || int64(t.Expected) != bs {
		return badLength()
	}
	return nil
}

// writeSame writes the block of the data-out, or zeros without one, to each
// block. UNMAP is followed whatever that block holds, as other targets do and
// the conformance suite of libiscsi expects: SBC-3 §4.7.3.4.4 would have one
// that is not zeros written.
func writeSame(t *Task) error {
	fl, flush := t.stability(false)
	var pattern []byte
	if t.arg&argNoData == 0 {
		pattern = t.outBytes(t.need)
	}
	if err := t.fill(t.off, t.end, pattern, t.arg&argUnmap != 0, fl); err != nil {
		return err
	}
	return t.settle(flush)
}

// fill writes pattern, of one block (nil: zeros), again and again to
// [off, end), or unmaps that.
func (t *Task) fill(off, end int64, pattern []byte, unmap bool, fl block.Flags) error {
	caps := t.unit.dev.Info().Caps
	if unmap || isZero(pattern) {
		op := block.OpWriteZeroes
		if unmap {
			op = block.OpDiscard
		}
		if unmap || caps.WriteZeroes != block.None {
			return t.stretches(off, end, stretch, func(off, n int64) error {
				return t.do(op, fl, off, n, nil)
			})
		}
	}
	b := bufpool.Get(int(min(chunk, end-off)))
	defer b.Release()
	tile(b.B, pattern)
	return t.stretches(off, end, chunk, func(off, n int64) error {
		return t.do(block.OpWrite, fl, off, n, [][]byte{b.B[:n]})
	})
}

// tile fills b with copies of pattern, the last one cut; nil is zeros.
func tile(b, pattern []byte) {
	if len(pattern) == 0 {
		clear(b)
		return
	}
	for n := copy(b, pattern); n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

func isZero(p []byte) bool {
	for _, c := range p {
		if c != 0 {
			return false
		}
	}
	return true
}
