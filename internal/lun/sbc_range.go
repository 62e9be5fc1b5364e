package lun

import (
	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// chunk is how much a command moves at a time where it moves data by itself,
// in bytes.
const chunk = bufpool.MaxPooled

// stretch is how much of the medium a command changes at a time where it moves
// no data (unmapping, writing zeros), in bytes: between two it can be aborted.
const stretch = 1 << 30

// noLimit is for commands that move no data.
const noLimit = 1 << 63

// geometry returns the block size of the device in bytes, and its capacity in
// blocks.
func (u *Unit) geometry() (bs int64, blocks uint64) {
	in := u.dev.Info()
	return int64(in.BlockSize), uint64(in.Size / int64(in.BlockSize))
}

// outOfRange returns LOGICAL BLOCK ADDRESS OUT OF RANGE for n blocks at lba of
// a unit of total blocks, with the first address that is not there in the
// INFORMATION field; nil if all are there. No blocks at the very end are no
// error.
func outOfRange(lba, n, total uint64) *scsi.CheckCondition {
	if lba <= total && n <= total-lba {
		return nil
	}
	cc := scsi.Check(scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
	cc.Sense.HasInfo, cc.Sense.Info = true, max(lba, total)
	return cc
}

// badLength returns INVALID FIELD IN COMMAND INFORMATION UNIT: the host
// announced another amount of data than the CDB asks for, and the command can't
// make sense of it.
func badLength() *scsi.CheckCondition {
	return scsi.Check(scsi.IllegalRequest, scsi.ASCInvalidFieldInCommandInfoUnit)
}

// blocksOf reads the CDB of a command on a range of blocks, checks the range
// and the limit on its length, and locks it.
func (t *Task) blocksOf(mode lockMode, limit uint64) (scsi.Blocks, error) {
	b := scsi.ParseBlocks(&t.CDB)
	bs, total := t.unit.geometry()
	lba, n := uint64(b.LBA), uint64(b.Blocks)
	if cc := outOfRange(lba, n, total); cc != nil {
		return b, cc
	}
	if n > limit {
		return b, scsi.InvalidField(b.BlocksAt, -1)
	}
	t.lba, t.blocks = lba, n
	t.span(mode, int64(lba)*bs, int64(n)*bs)
	return b, nil
}

// toEnd is blocksOf for commands that take 0 blocks for all up to the end of
// the medium.
func (t *Task) toEnd(mode lockMode) (scsi.Blocks, error) {
	b := scsi.ParseBlocks(&t.CDB)
	bs, total := t.unit.geometry()
	lba, n := uint64(b.LBA), uint64(b.Blocks)
	if n == 0 && lba < total {
		n = total - lba
	}
	// Here a block must be there to begin with.
	if cc := outOfRange(lba, max(n, 1), total); cc != nil {
		return b, cc
	}
	t.lba, t.blocks = lba, n
	t.span(mode, int64(lba)*bs, int64(n)*bs)
	return b, nil
}

// stability returns how a write of t must be done to be as stable as promised:
// the flags, and whether a flush has to follow because the device has no FUA.
func (t *Task) stability(fua bool) (fl block.Flags, flush bool) {
	caps := t.unit.dev.Info().Caps
	if !caps.WriteBack || !fua && t.unit.modes.writeCache() {
		return 0, false
	}
	if caps.FUA == block.None {
		return 0, true
	}
	return block.FUA, false
}

// settle ends a change that was made without block.FUA: it flushes where that
// is needed for what stability promised.
func (t *Task) settle(flush bool) error {
	if !flush {
		return nil
	}
	return t.do(block.OpFlush, 0, 0, 0, nil)
}

// stretches calls f for [off, end) piece by piece, until one fails or the task
// is to end.
func (t *Task) stretches(off, end, size int64, f func(off, n int64) error) error {
	for off < end {
		if stop, err := t.halted(); stop {
			return err
		}
		n := min(size, end-off)
		if err := f(off, n); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// halted reports whether t, which executes, is to go no further, and the error
// that it ends with then: none if it was aborted, for nobody is told. Commands
// that may take long ask now and then.
func (t *Task) halted() (bool, error) {
	switch {
	case t.killed.Load():
		return true, nil
	case t.itl.retired.Load() || t.hastened.Load():
		return true, scsi.Check(scsi.IllegalRequest, scsi.ASCLUNotSupported)
	case t.unit.cond.Load()&condMoving != 0 && t.cmd.flags&atFront == 0:
		return true, moving()
	}
	return false, nil
}
