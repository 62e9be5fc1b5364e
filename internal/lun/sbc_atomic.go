package lun

import (
	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// atomicCommands returns the commands that read and write as one: COMPARE AND
// WRITE (SBC-3 §5.2) and ORWRITE(16) (SBC-3 §5.8). Their ranges exclude every
// other command, readers too.
func atomicCommands() []command {
	return []command{{
		op: scsi.OpCompareAndWrite, name: "COMPARE AND WRITE",
		usage:   "\x89\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\xff\x3f\x00",
		nominal: medium, recommended: long,
		flags: changes, access: accessWrite,
		parse: parseCompareAndWrite, run: compareAndWrite,
	}, {
		op: scsi.OpOrWrite16, name: "ORWRITE(16)",
		usage:   "\x8b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00",
		nominal: medium, recommended: long,
		flags: changes, access: accessWrite,
		parse: parseOrWrite, run: orWrite,
	}}
}

func parseCompareAndWrite(t *Task) error {
	b, err := t.blocksOf(lockExclusive, uint64(t.unit.maxCompareAndWrite()))
	if err != nil {
		return err
	}
	t.need = 2 * int(t.end-t.off)
	if t.need == 0 && t.Write && t.Expected > 0 {
		// 256 blocks do not fit the one byte of the field: such a host means
		// more than it says.
		return scsi.InvalidField(b.BlocksAt, -1)
	}
	if t.need > 0 && (!t.Write || int64(t.Expected) != int64(t.need)) {
		return badLength()
	}
	if b.FUA {
		t.arg = argFUA
	}
	return nil
}

// compareAndWrite compares with the first half of the data-out and, if all of
// it is equal, writes the second half. A miscompare tells the offset of the
// first byte that differs.
func compareAndWrite(t *Task) error {
	n := t.end - t.off
	if n == 0 {
		return nil
	}
	b := bufpool.Get(int(n))
	defer b.Release()
	if err := t.do(block.OpRead, 0, t.off, n, [][]byte{b.B}); err != nil {
		return err
	}
	if at := t.differs(b.B, 0); at >= 0 {
		cc := scsi.Check(scsi.Miscompare, scsi.ASCMiscompare)
		cc.Sense.HasInfo, cc.Sense.Info = true, uint64(at)
		return cc
	}
	if t.killed.Load() {
		return nil
	}
	fl, flush := t.stability(t.arg&argFUA != 0)
	if err := t.do(block.OpWrite, fl, t.off, n, t.Out.Slice(nil, int(n), int(n))); err != nil {
		return err
	}
	return t.settle(flush)
}

func parseOrWrite(t *Task) error {
	b, err := t.blocksOf(lockExclusive, uint64(t.unit.maxTransferBlocks()))
	if err != nil {
		return err
	}
	t.need = int(t.end - t.off)
	if b.FUA {
		t.arg = argFUA
	}
	return nil
}

func orWrite(t *Task) error {
	n, err := t.offered()
	if err != nil || n == 0 {
		return err
	}
	fl, flush := t.stability(t.arg&argFUA != 0)
	b := bufpool.Get(int(min(chunk, n)))
	defer b.Release()
	at := 0
	err = t.stretches(t.off, t.off+n, chunk, func(off, n int64) error {
		p := [][]byte{b.B[:n]}
		if err := t.do(block.OpRead, 0, off, n, p); err != nil {
			return err
		}
		dst := p[0]
		for _, v := range t.Out.Slice(nil, at, int(n)) {
			for i := range v {
				dst[i] |= v[i]
			}
			dst = dst[len(v):]
		}
		at += int(n)
		return t.do(block.OpWrite, fl, off, n, p)
	})
	if err != nil {
		return err
	}
	return t.settle(flush)
}
