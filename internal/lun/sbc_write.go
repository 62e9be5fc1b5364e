package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// writeCommands returns WRITE (SBC-3 §5.34 ff.) and WRITE ATOMIC(16) (SBC-4
// §5.48).
func writeCommands() []command {
	list := []command{
		{op: scsi.OpWrite6, usage: "\x0a\x1f\xff\xff\xff\x00"},
		{op: scsi.OpWrite10, usage: "\x2a\x18\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpWrite12, usage: "\xaa\x18\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpWrite16, usage: "\x8a\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{
			op: scsi.OpWriteAtomic16, usage: "\x9c\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\xff\xff\x3f\x00",
			only:  func(u *Unit) bool { return u.maxAtomicBlocks() > 0 },
			parse: parseWriteAtomic, run: writeAtomic,
		},
	}
	for i := range list {
		c := &list[i]
		c.name, c.nominal, c.recommended = c.op.String(), medium, long
		c.flags, c.access = fast|changes, accessWrite
		if c.parse == nil {
			c.parse, c.run = parseWrite, write
			c.flags |= streams
		}
	}
	return list
}

// The bits of Task.arg in commands that write.
const (
	argFUA     uint64 = 1 << iota
	argUnmap          // WRITE SAME
	argNoData         // WRITE SAME
	argCompare        // VERIFY, WRITE AND VERIFY: with the data-out
	argOne            // VERIFY: with its one block
)

func parseWrite(t *Task) error {
	b, err := t.blocksOf(lockWrite, uint64(t.unit.maxTransferBlocks()))
	if err != nil {
		return err
	}
	t.need = int(t.end - t.off)
	if b.FUA {
		t.arg = argFUA
	}
	return nil
}

// offered checks the data-out of a command that can do with less than its CDB
// asks for, in whole blocks, and returns how many bytes there are. The host is
// told by the residual that they were less (RFC 7143 §11.4.5).
func (t *Task) offered() (int64, error) {
	n := int64(t.Out.Len())
	if n == int64(t.need) {
		return n, nil
	}
	if bs, _ := t.unit.geometry(); n%bs != 0 {
		t.overflow = true
		return 0, badLength()
	}
	return n, nil
}

func write(t *Task) error {
	n, err := t.offered()
	if err != nil || n == 0 {
		return err
	}
	return t.put(n)
}

func parseWriteAtomic(t *Task) error {
	b, err := t.blocksOf(lockExclusive, uint64(t.unit.maxAtomicBlocks()))
	if err != nil {
		return err
	}
	switch unit := uint64(t.unit.atomicUnit()); {
	case t.lba%unit != 0:
		return scsi.InvalidField(2, -1)
	case t.blocks%unit != 0:
		return scsi.InvalidField(b.BlocksAt, -1)
	}
	t.need = int(t.end - t.off)
	if t.Write && int64(t.Expected) < int64(t.need) || !t.Write && t.need > 0 {
		return badLength() // half of it would be neither all nor nothing
	}
	if b.FUA {
		t.arg = argFUA
	}
	return nil
}

func writeAtomic(t *Task) error {
	if t.need == 0 {
		return nil
	}
	fl, flush := t.stability(t.arg&argFUA != 0)
	if flush {
		if !t.mayBlock {
			return block.ErrWouldBlock
		}
		if err := t.do(block.OpWrite, fl|block.Atomic, t.off, int64(t.need), t.Out.Vec()); err != nil {
			return err
		}
		return t.settle(true)
	}
	return t.start(block.OpWrite, fl|block.Atomic, t.off, int64(t.need), t.Out.Vec())
}
