package lun

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/scsi"
)

var verifies = []scsi.OpCode{scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16}

func TestVerifyComparesEveryByte(t *testing.T) {
	both(t, func(d *disk) {
		n := 2*chunk/d.bs + 3 // more than is compared at a time
		data := d.fill(n, 3)
		d.write(5, data)
		for _, op := range verifies {
			b := at(5, n)
			b.ByteCheck = scsi.VerifyBlocks
			task := d.cmd(op, b, 0, data)
			wantGood(t, task)
			if task.Want != uint64(len(data)) {
				t.Errorf("%v: Want = %d", op, task.Want)
			}
			for _, i := range []int{0, 1, d.bs, chunk - 1, chunk, len(data) - 1} {
				data[i] ^= 1
				wantSense(t, d.cmd(op, b, 0, data), scsi.Miscompare, scsi.ASCMiscompare)
				data[i] ^= 1
			}
		}
	})
}

func TestVerifyOfTheMediumTakesNoData(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range verifies {
		task := d.cmd(op, at(0, 4), 0, d.fill(4, 77)) // not what is there
		wantGood(t, task)
		if task.OutLen != 0 || task.Want != 0 {
			t.Errorf("%v: OutLen %d, Want %d", op, task.OutLen, task.Want)
		}
	}
	// Its length is not that of a transfer.
	wantGood(t, d.cmd(scsi.OpVerify16, at(0, int(d.blocks)), 0, nil))
}

func TestVerifyAgainstOneBlock(t *testing.T) {
	d := newDisk(t, mem.Options{})
	one := d.fill(1, 3)
	var same []byte
	for range 20 {
		same = append(same, one...)
	}
	d.write(0, same)
	for _, op := range verifies {
		b := at(0, 20)
		b.ByteCheck = scsi.VerifyOneBlock
		task := d.cmd(op, b, 0, one)
		wantGood(t, task)
		if task.OutLen != d.bs {
			t.Errorf("%v: OutLen %d", op, task.OutLen)
		}
		b.Blocks = 21
		wantSense(t, d.cmd(op, b, 0, one), scsi.Miscompare, scsi.ASCMiscompare)
	}
}

func TestReservedByteChecks(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range append([]scsi.OpCode{scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16}, verifies...) {
		for _, c := range []scsi.ByteCheck{scsi.VerifyReserved, scsi.VerifyOneBlock} {
			if c == scsi.VerifyOneBlock && op != scsi.OpWriteAndVerify10 && op != scsi.OpWriteAndVerify12 && op != scsi.OpWriteAndVerify16 {
				continue
			}
			b := at(0, 1)
			b.ByteCheck = c
			wantSense(t, d.cmd(op, b, 0, d.fill(1, 1)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
		}
	}
}

func TestWriteAndVerifyNoticesWhatDidNotStick(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range []scsi.OpCode{scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16} {
		b := at(3, 4)
		b.ByteCheck = scsi.VerifyBlocks
		data := d.fill(4, byte(op))
		wantGood(t, d.cmd(op, b, 0, data))
		d.holds(3, data)
		bad := d.fault.Arm(fault.Rule{Ops: fault.Read, Class: block.Medium, Times: 1})
		task := d.cmd(op, b, 0, data)
		wantSense(t, task, scsi.MediumError, scsi.ASCWriteError)
		if info(task) != 3 {
			t.Errorf("INFORMATION = %d", info(task))
		}
		bad.Disarm()
	}
}
