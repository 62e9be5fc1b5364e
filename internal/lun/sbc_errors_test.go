package lun

import (
	"sync/atomic"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/scsi"
)

// What the store says, in the words of SCSI.
func TestStoreErrors(t *testing.T) {
	for _, c := range []struct {
		class block.Class
		read  scsi.ASC
		rkey  scsi.SenseKey
		write scsi.ASC
		wkey  scsi.SenseKey
	}{
		{block.Medium, scsi.ASCUnrecoveredReadError, scsi.MediumError, scsi.ASCWriteError, scsi.MediumError},
		{block.NoSpace, 0, 0, scsi.ASCSpaceAllocationFailed, scsi.DataProtect},
		{block.ReadOnly, 0, 0, scsi.ASCWriteProtected, scsi.DataProtect},
		{block.Fenced, scsi.ASCAccessTransition, scsi.NotReady, scsi.ASCAccessTransition, scsi.NotReady},
		{block.Closed, scsi.ASCNotReady, scsi.NotReady, scsi.ASCNotReady, scsi.NotReady},
		{block.Failed, scsi.ASCManualIntervention, scsi.NotReady, scsi.ASCManualIntervention, scsi.NotReady},
		{block.Invalid, scsi.ASCInternalTargetFailure, scsi.HardwareError, scsi.ASCInternalTargetFailure, scsi.HardwareError},
	} {
		t.Run(c.class.String(), func(t *testing.T) {
			d := newDisk(t, mem.Options{})
			d.fault.Arm(fault.Rule{Class: c.class})
			if c.rkey != 0 {
				task := d.cmd(scsi.OpRead10, at(9, 2), 2*d.bs, nil)
				wantSense(t, task, c.rkey, c.read)
				if task.In.Len() != 0 {
					t.Error("data came with the error")
				}
				if c.class == block.Medium && info(task) != 9 {
					t.Errorf("INFORMATION = %d", info(task))
				}
				wantSense(t, d.cmd(scsi.OpVerify10, at(9, 2), 0, nil), c.rkey, c.read)
			}
			data := d.fill(2, 1)
			for _, op := range []scsi.OpCode{scsi.OpWrite10, scsi.OpWriteAtomic16, scsi.OpWriteAndVerify16} {
				wantSense(t, d.cmd(op, at(9, 2), 0, data), c.wkey, c.write)
			}
			wantSense(t, d.cmd(scsi.OpWriteSame16, at(9, 2), 0, data[:d.bs]), c.wkey, c.write)
		})
	}
}

// Where a device that serves nothing any more is opened again, hosts are to ask
// again; not for a comparison, which may have been written.
func TestFailedStoreReopens(t *testing.T) {
	for _, reopens := range []bool{false, true} {
		var why atomic.Pointer[error]
		d := newDiskOf(t, mem.Options{}, UnitOptions{Failed: func(err error) bool {
			why.Store(&err)
			return reopens
		}})
		d.fault.Arm(fault.Rule{Class: block.Failed})
		asc := scsi.ASCManualIntervention
		if reopens {
			asc = scsi.ASCAccessTransition
		}
		for _, task := range []*Task{
			d.cmd(scsi.OpRead10, at(0, 1), d.bs, nil), d.cmd(scsi.OpWrite10, at(0, 1), 0, d.fill(1, 1)), d.cmd(scsi.OpSynchronizeCache10, at(0, 0), 0, nil),
		} {
			wantSense(t, task, scsi.NotReady, asc)
		}
		if err := why.Load(); err == nil || block.ClassOf(*err) != block.Failed {
			t.Errorf("it was told %v", err)
		}
		wantSense(t, d.cmd(scsi.OpCompareAndWrite, at(0, 1), 0, append(d.fill(1, 1), d.fill(1, 1)...)), scsi.NotReady, scsi.ASCManualIntervention)
	}
}

func TestBusyStore(t *testing.T) {
	d := newDisk(t, mem.Options{})
	d.fault.Arm(fault.Rule{Class: block.Busy})
	for _, task := range []*Task{
		d.cmd(scsi.OpRead10, at(0, 1), d.bs, nil), d.cmd(scsi.OpWrite10, at(0, 1), 0, d.fill(1, 1)), d.cmd(scsi.OpOrWrite16, at(0, 1), 0, d.fill(1, 1)),
	} {
		if task.Status != scsi.Busy || len(task.Sense) != 0 {
			t.Errorf("% x: %v", task.CDB, task.Status)
		}
	}
}

// A store that can't answer at once is asked again by a worker.
func TestBlockingStore(t *testing.T) {
	d := newDisk(t, mem.Options{})
	again := d.fault.Arm(fault.Rule{Class: block.WouldBlock})
	data := d.fill(3, 8)
	for _, op := range []scsi.OpCode{scsi.OpWrite10, scsi.OpWriteAtomic16} {
		wantGood(t, d.cmd(op, at(1, 3), 0, data))
	}
	d.holds(1, data)
	wantGood(t, d.cmd(scsi.OpSynchronizeCache16, at(0, 0), 0, nil))
	task := d.cmd(scsi.OpRead10, at(1, 3), 700, nil)
	wantGood(t, task)
	if task.In.Len() != 700 {
		t.Errorf("%d bytes", task.In.Len())
	}
	if again.Fired() < 5 {
		t.Errorf("blocked %d times", again.Fired())
	}
}

func TestFlushFails(t *testing.T) {
	d := newDisk(t, mem.Options{})
	d.fault.Arm(fault.Rule{Ops: fault.Flush, Class: block.Failed})
	wantSense(t, d.cmd(scsi.OpSynchronizeCache10, at(0, 0), 0, nil), scsi.NotReady, scsi.ASCManualIntervention)
}

// volatile is a device with a write cache: it counts what reaches it.
type volatile struct {
	dev        block.Device
	fua, flush int
}

func (v *volatile) Info() block.Info {
	i := v.dev.Info()
	i.Caps.WriteBack = true
	return i
}

func (v *volatile) Status(off, n int64, limit int) ([]block.Extent, error) {
	return v.dev.Status(off, n, limit)
}

func (v *volatile) Close() error { return v.dev.Close() }

func (v *volatile) Submit(r *block.Request) {
	if r.Flags&block.NoWait == 0 || r.Op != block.OpFlush {
		if r.Flags&block.FUA != 0 {
			v.fua++
		}
		if r.Op == block.OpFlush {
			v.flush++
		}
	}
	v.dev.Submit(r)
}

// WCE and FUA are obeyed (DESIGN R7).
func TestStability(t *testing.T) {
	m, err := mem.New(mem.Options{Size: 1 << 20, PhysicalBlock: 512})
	if err != nil {
		t.Fatal(err)
	}
	dev := &volatile{dev: m}
	v := testVolume()
	v.Size, v.PhysicalBlock = 1<<20, 512
	u := unitOver(t, v, dev, nil, UnitOptions{})
	d := &disk{wire: attach(t, oneUnit(u), nexusName(1), ""), t: t, u: u, mem: m, bs: 512, blocks: 2048}
	one := d.fill(1, 1)
	count := func(what string, fua, flush int, b scsi.Blocks, ops ...scsi.OpCode) {
		t.Helper()
		for _, op := range ops {
			dev.fua, dev.flush = 0, 0
			in := 0
			out := one
			if op == scsi.OpCompareAndWrite {
				out = append(d.now(int(b.LBA)), one...)
			}
			if op == scsi.OpRead10 {
				in, out = 512, nil
			}
			dev.fua, dev.flush = 0, 0
			wantGood(t, d.cmd(op, b, in, out))
			if dev.fua != fua || dev.flush != flush {
				t.Errorf("%s: %v: %d writes with FUA and %d flushes, want %d and %d", what, op, dev.fua, dev.flush, fua, flush)
			}
		}
	}
	plain, forced := at(4, 1), at(4, 1)
	forced.FUA = true
	cached := []scsi.OpCode{scsi.OpWrite10, scsi.OpWriteAtomic16, scsi.OpOrWrite16, scsi.OpCompareAndWrite}
	count("WCE = 1", 0, 0, plain, append(cached, scsi.OpWriteSame16)...)
	count("WCE = 1, FUA", 1, 0, forced, cached...)
	count("WCE = 1", 1, 0, plain, scsi.OpWriteAndVerify10)
	count("read", 0, 0, plain, scsi.OpRead10)
	count("read, FUA", 0, 1, forced, scsi.OpRead10)
	owner(u).modes.wce.Store(false)
	count("WCE = 0", 1, 0, plain, append(cached, scsi.OpWriteSame16)...)
}

// now returns what block lba holds.
func (d *disk) now(lba int) []byte {
	d.t.Helper()
	task := d.cmd(scsi.OpRead10, at(uint64(lba), 1), d.bs, nil)
	wantGood(d.t, task)
	return bytesIn(task)
}
