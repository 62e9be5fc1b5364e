package lun

import (
	"bytes"

	"sango/internal/block"
	"sango/internal/bufpool"
	"sango/internal/scsi"
)

// verifyCommands returns VERIFY (SBC-3 §5.30 ff.) and WRITE AND VERIFY (SBC-3
// §5.38 ff.), which has no BYTCHK 10b and 11b.
func verifyCommands() []command {
	list := []command{
		{op: scsi.OpVerify10, usage: "\x2f\x16\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpVerify12, usage: "\xaf\x16\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpVerify16, usage: "\x8f\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpWriteAndVerify10, usage: "\x2e\x12\xff\xff\xff\xff\x3f\xff\xff\x00"},
		{op: scsi.OpWriteAndVerify12, usage: "\xae\x12\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
		{op: scsi.OpWriteAndVerify16, usage: "\x8e\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00"},
	}
	for i := range list {
		c := &list[i]
		c.name, c.nominal, c.recommended = c.op.String(), medium, long
		if i < 3 {
			c.access, c.parse, c.run = accessRead, parseVerify, verify
		} else {
			c.flags, c.access, c.parse, c.run = changes, accessWrite, parseWriteVerify, writeVerify
		}
	}
	return list
}

func parseVerify(t *Task) error {
	// Nothing is transferred but with BYTCHK = 01b; without, it may go on for long.
	mode, limit := lockShared, uint64(noLimit)
	by := scsi.ParseBlocks(&t.CDB).ByteCheck
	if by == scsi.VerifyBlocks {
		mode, limit = lockRead, uint64(t.unit.maxTransferBlocks())
	}
	b, err := t.blocksOf(mode, limit)
	if err != nil {
		return err
	}
	bs, _ := t.unit.geometry()
	switch {
	case by == scsi.VerifyReserved:
		return scsi.InvalidField(1, 2)
	case b.Blocks == 0 || by == scsi.VerifyMedium:
		return nil
	case by == scsi.VerifyOneBlock:
		t.need, t.arg = int(bs), argOne
	default:
		t.need, t.arg = int(t.end-t.off), argCompare
	}
	if !t.Write || int64(t.Expected) < int64(t.need) {
		return badLength() // GOOD would claim a comparison that was not made
	}
	return nil
}

func verify(t *Task) error { return t.check(t.off, t.end, t.arg) }

// check reads [off, end) and, as how says, compares it with the data-out: it
// ends with MISCOMPARE DURING VERIFY OPERATION at the first difference.
func (t *Task) check(off, end int64, how uint64) error {
	b := bufpool.Get(int(min(chunk, end-off)))
	defer b.Release()
	bs, _ := t.unit.geometry()
	at := 0
	return t.stretches(off, end, chunk, func(off, n int64) error {
		got := b.B[:n]
		if err := t.do(block.OpRead, 0, off, n, [][]byte{got}); err != nil {
			return err
		}
		switch how {
		case argCompare:
			if t.differs(got, at) >= 0 {
				return scsi.Check(scsi.Miscompare, scsi.ASCMiscompare)
			}
			at += len(got)
		case argOne:
			for ; len(got) > 0; got = got[bs:] {
				if t.differs(got[:bs], 0) >= 0 {
					return scsi.Check(scsi.Miscompare, scsi.ASCMiscompare)
				}
			}
		}
		return nil
	})
}

// differs returns the index of the first byte of p that differs from the
// data-out at offset at, -1 if there is none.
func (t *Task) differs(p []byte, at int) int {
	i := 0
	for _, v := range t.Out.Vec() {
		if at >= len(v) {
			at -= len(v)
			continue
		}
		v = v[at:min(len(v), at+len(p)-i)]
		at = 0
		if q := p[i : i+len(v)]; !bytes.Equal(q, v) {
			for k := range v {
				if q[k] != v[k] {
					return i + k
				}
			}
		}
		if i += len(v); i == len(p) {
			break
		}
	}
	return -1
}

func parseWriteVerify(t *Task) error {
	if err := parseWrite(t); err != nil {
		return err
	}
	if scsi.ParseBlocks(&t.CDB).ByteCheck == scsi.VerifyBlocks {
		t.arg = argCompare
	}
	return nil
}

// writeVerify writes to the medium, not just to a cache, and reads it back.
func writeVerify(t *Task) error {
	n, err := t.offered()
	if err != nil || n == 0 {
		return err
	}
	fl, flush := t.stability(true)
	if err := t.do(block.OpWrite, fl, t.off, n, t.Out.Vec()); err != nil {
		return err
	}
	if err := t.settle(flush); err != nil {
		return err
	}
	return t.check(t.off, t.off+n, t.arg)
}
