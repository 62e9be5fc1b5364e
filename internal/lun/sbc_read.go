package lun

import (
	"sango/internal/block"
	"sango/internal/scsi"
)

// readCommands returns READ (SBC-3 §5.11 ff.). RDPROTECT is not among the bits
// looked at: there is no protection information, so anything but 0 is refused.
// GROUP NUMBER is taken and means nothing (GROUP_SUP = 0).
func readCommands() []command {
	list := []command{
		{op: scsi.OpRead6, usage: "\x08\x1f\xff\xff\xff\x00"},
		{op: scsi.OpRead10, usage: "\x28\x18\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpRead12, usage: "\xa8\x18\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpRead16, usage: "\x88\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
	}
	for i := range list {
		c := &list[i]
		c.name, c.nominal, c.recommended = c.op.String(), medium, long
		c.flags, c.access = fast, accessRead
		c.parse, c.run, c.done = parseRead, read, readDone
	}
	return list
}

func parseRead(t *Task) error {
	b, err := t.blocksOf(lockRead, uint64(t.unit.maxTransferBlocks()))
	if b.FUA {
		t.arg = 1
	}
	return err
}

// read reads straight into the buffers that are sent. A host that expects less
// than the CDB asks for gets less, and is told so by the residual.
func read(t *Task) error {
	t.Want = uint64(t.end - t.off)
	n := min(t.end-t.off, int64(t.room()))
	if n == 0 {
		return nil
	}
	if t.arg != 0 && t.unit.dev.Info().Caps.WriteBack {
		// FUA: what is read is on the medium (SBC-3 §5.11).
		if !t.mayBlock {
			return block.ErrWouldBlock
		}
		if err := t.do(block.OpFlush, 0, 0, 0, nil); err != nil {
			return err
		}
	}
	if n < t.end-t.off { // else it is whole blocks as it is
		bs, _ := t.unit.geometry()
		n = (n + bs - 1) / bs * bs
	}
	if t.In.Len() == 0 { // else this is the second try
		t.In.Grow(int(n))
	}
	return t.start(block.OpRead, 0, t.off, n, t.In.Vec())
}

func readDone(t *Task, err error) error {
	if err == nil {
		t.In.Truncate(t.room())
	}
	return err
}
