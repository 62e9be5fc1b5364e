package lun

import (
	"bytes"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/scsi"
)

// The amounts that a host announces and a CDB asks for may differ (RFC 7143
// §11.4.5).
func TestReadResiduals(t *testing.T) {
	both(t, func(d *disk) {
		data := d.fill(2, 5)
		d.write(0, data)
		for _, op := range reads {
			for _, c := range []struct{ blocks, expected, got int }{
				{1, 0, 0}, {1, 10000, d.bs}, {1, 200, 200}, {2, d.bs, d.bs}, {2, d.bs + 1, d.bs + 1},
			} {
				task := d.cmd(op, at(0, c.blocks), c.expected, nil)
				wantGood(t, task)
				if in := bytesIn(task); !bytes.Equal(in, data[:min(c.got, len(data))]) {
					t.Errorf("%v %+v: %d bytes", op, c, len(in))
				}
				if task.Want != uint64(c.blocks*d.bs) {
					t.Errorf("%v %+v: Want = %d", op, c, task.Want)
				}
				task.Reset()
			}
		}
		// A read that the host announces as a write.
		task := d.cmd(scsi.OpRead10, at(0, 1), 0, data[:d.bs])
		wantGood(t, task)
		if task.OutLen != 0 || task.In.Len() != 0 || task.Want != uint64(d.bs) {
			t.Errorf("OutLen %d, In %d, Want %d", task.OutLen, task.In.Len(), task.Want)
		}
	})
}

func TestWriteResiduals(t *testing.T) {
	both(t, func(d *disk) {
		for _, op := range []scsi.OpCode{scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify16, scsi.OpOrWrite16} {
			old := make([]byte, 3*d.bs)
			d.write(0, old)
			data := bytes.Repeat([]byte("b"), 10000)

			task := d.cmd(op, at(0, 1), 0, nil) // nothing is offered
			wantGood(t, task)
			if task.Want != uint64(d.bs) {
				t.Errorf("%v without data: Want = %d", op, task.Want)
			}
			d.holds(0, old)

			task = d.cmd(op, at(0, 2), 0, data[:d.bs]) // one block of two
			wantGood(t, task)
			if task.OutLen != d.bs || task.Want != uint64(2*d.bs) {
				t.Errorf("%v with less: OutLen %d, Want %d", op, task.OutLen, task.Want)
			}
			d.holds(0, append(bytes.Clone(data[:d.bs]), old[d.bs:]...))

			task = d.cmd(op, at(2, 1), 0, data) // more than one block
			wantGood(t, task)
			if task.OutLen != d.bs || task.Want != uint64(d.bs) {
				t.Errorf("%v with more: OutLen %d, Want %d", op, task.OutLen, task.Want)
			}
			d.holds(1, append(bytes.Clone(old[:d.bs]), data[:d.bs]...))

			task = d.cmd(op, at(1, 1), 0, data[:200]) // less than a block
			wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCommandInfoUnit)
			if task.Want != uint64(d.bs) {
				t.Errorf("%v with part of a block: Want = %d", op, task.Want)
			}
			d.holds(1, old[:d.bs])
		}
	})
}

// Where less data would change the meaning, the command is refused.
func TestWrongAmountOfData(t *testing.T) {
	d := newDisk(t, mem.Options{})
	data := d.fill(8, 1)
	for _, c := range []struct {
		op     scsi.OpCode
		b      scsi.Blocks
		length int
	}{
		{scsi.OpCompareAndWrite, at(0, 1), 4 * d.bs},
		{scsi.OpCompareAndWrite, at(0, 3), 4 * d.bs},
		{scsi.OpCompareAndWrite, at(0, 1), 0},
		{scsi.OpWriteAtomic16, at(0, 2), d.bs},
		{scsi.OpWriteSame10, at(0, 1), d.bs / 2},
		{scsi.OpWriteSame10, at(0, 1), 2 * d.bs},
		{scsi.OpWriteSame16, scsi.Blocks{Blocks: 1, Unmap: true}, d.bs / 2},
		{scsi.OpWriteSame16, scsi.Blocks{Blocks: 1, Unmap: true}, 2 * d.bs},
		{scsi.OpWriteSame16, at(0, 1), 0},
		{scsi.OpVerify10, scsi.Blocks{Blocks: 2, ByteCheck: scsi.VerifyBlocks}, d.bs},
		{scsi.OpVerify16, scsi.Blocks{Blocks: 2, ByteCheck: scsi.VerifyOneBlock}, 0},
	} {
		var out []byte
		if c.length > 0 {
			out = data[:c.length]
		}
		wantSense(t, d.cmd(c.op, c.b, 0, out), scsi.IllegalRequest, scsi.ASCInvalidFieldInCommandInfoUnit)
	}
	if d.mem.Used() != 0 {
		t.Errorf("%d bytes were written", d.mem.Used())
	}
}
