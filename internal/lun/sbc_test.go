package lun

import (
	"bytes"
	"encoding/binary"
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/fault"
	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
)

// disk is a unit over checked memory with a layer that injects faults, and a
// nexus to it.
type disk struct {
	*wire
	t      *testing.T
	u      *Unit
	mem    *mem.Device
	fault  *fault.Device
	bs     int
	blocks uint64
}

const diskSize = 64 << 20 // bytes

func newDisk(t *testing.T, o mem.Options) *disk {
	t.Helper()
	return newDiskOf(t, o, UnitOptions{})
}

func newDiskOf(t *testing.T, o mem.Options, unit UnitOptions) *disk {
	t.Helper()
	if o.Size == 0 {
		o.Size = diskSize
	}
	m, err := mem.New(o)
	if err != nil {
		t.Fatal(err)
	}
	f := fault.New(block.Check(m, t), 1)
	v := testVolume()
	in := m.Info()
	v.Size, v.BlockSize, v.PhysicalBlock, v.ReadOnly = in.Size, in.BlockSize, in.PhysicalBlock, in.Caps.ReadOnly
	u := unitOver(t, v, block.Check(f, t), nil, unit)
	return &disk{
		wire: attach(t, oneUnit(u), nexusName(1), ""), t: t, u: u, mem: m, fault: f,
		bs: in.BlockSize, blocks: uint64(in.Size) / uint64(in.BlockSize),
	}
}

// both runs f on a disk of either block size.
func both(t *testing.T, f func(*disk)) {
	for _, bs := range []int{san.BlockSize512, san.BlockSize4096} {
		t.Run(map[int]string{512: "512", 4096: "4096"}[bs], func(t *testing.T) {
			f(newDisk(t, mem.Options{BlockSize: bs, PhysicalBlock: 4096}))
		})
	}
}

func cdbOf(t testing.TB, op scsi.OpCode, b scsi.Blocks) []byte {
	t.Helper()
	c, err := b.CDB(op)
	if err != nil {
		t.Fatal(err)
	}
	return c[:]
}

// blocks runs a command on n blocks at lba that takes bytes of data-in or has
// data-out, as there is.
func (d *disk) cmd(op scsi.OpCode, b scsi.Blocks, in int, data []byte) *Task {
	d.t.Helper()
	task := d.newTask(cdbOf(d.t, op, b))
	task.Read, task.Write = in > 0, data != nil
	task.Expected = uint32(max(in, len(data)))
	return d.run(task, data...)
}

func at(lba uint64, n int) scsi.Blocks { return scsi.Blocks{LBA: scsi.LBA(lba), Blocks: uint32(n)} }

func (d *disk) write(lba uint64, data []byte) {
	d.t.Helper()
	task := d.cmd(scsi.OpWrite16, at(lba, len(data)/d.bs), 0, data)
	wantGood(d.t, task)
	task.Reset()
}

// holds asserts what the medium holds.
func (d *disk) holds(lba uint64, want []byte) {
	d.t.Helper()
	task := d.cmd(scsi.OpRead16, at(lba, len(want)/d.bs), len(want), nil)
	wantGood(d.t, task)
	got := bytesIn(task)
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		d.t.Fatalf("at LBA %d: %d bytes, differs from byte %d on", lba, len(got), i)
	}
	task.Reset()
}

// fill returns n blocks, none of them like another.
func (d *disk) fill(n int, seed byte) []byte {
	b := make([]byte, n*d.bs)
	for i := range b {
		b[i] = byte(i/d.bs) + byte(i%251) + seed
	}
	return b
}

// info returns the INFORMATION field of fixed sense data, -1 without.
func info(t *Task) int64 {
	if len(t.Sense) < 7 || t.Sense[0]&0x80 == 0 {
		return -1
	}
	return int64(binary.BigEndian.Uint32(t.Sense[3:]))
}

var (
	reads  = []scsi.OpCode{scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16}
	writes = []scsi.OpCode{
		scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteAtomic16,
		scsi.OpWriteAndVerify10, scsi.OpWriteAndVerify12, scsi.OpWriteAndVerify16,
	}
)

func TestWriteThenRead(t *testing.T) {
	both(t, func(d *disk) {
		for i, op := range writes {
			n := 3
			if op == scsi.OpWriteAtomic16 {
				n = int(d.u.atomicUnit())
			}
			data := d.fill(n, byte(i*16))
			lba := uint64(96 + 16*i)
			task := d.cmd(op, at(lba, n), 0, data)
			wantGood(t, task)
			if task.Want != uint64(len(data)) {
				t.Errorf("%v: Want = %d", op, task.Want)
			}
			for _, r := range reads {
				task := d.cmd(r, at(lba, n), len(data), nil)
				wantGood(t, task)
				if !bytes.Equal(bytesIn(task), data) {
					t.Errorf("%v after %v: other data", r, op)
				}
				if task.Want != uint64(len(data)) {
					t.Errorf("%v: Want = %d", r, task.Want)
				}
				task.Reset()
			}
		}
	})
}

func TestSixByteFormMoves256BlocksForZero(t *testing.T) {
	d := newDisk(t, mem.Options{})
	data := d.fill(256, 1)
	wantGood(t, d.cmd(scsi.OpWrite6, at(7, 256), 0, data))
	d.holds(7, data)
}

func TestNoBlocks(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range append(append([]scsi.OpCode{
		scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpOrWrite16, scsi.OpCompareAndWrite, scsi.OpPreFetch10,
		scsi.OpPreFetch16, scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16,
	}, reads[1:]...), writes[1:]...) {
		wantGood(t, d.cmd(op, at(0, 0), 0, nil))
		wantSense(t, d.cmd(op, at(d.blocks+1, 0), 0, nil), scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
	}
	// COMPARE AND WRITE of nothing, with data: 256 blocks do not fit its field.
	wantSense(t, d.cmd(scsi.OpCompareAndWrite, at(0, 0), 0, make([]byte, d.bs)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
}

func TestPastTheEnd(t *testing.T) {
	d := newDisk(t, mem.Options{Size: 1 << 20}) // so that READ(6) reaches its end
	type ranged struct {
		lba  uint64
		n    int
		info uint64
	}
	ranges := []ranged{{d.blocks, 1, d.blocks}, {d.blocks - 1, 2, d.blocks}, {d.blocks + 5, 1, d.blocks + 5}}
	data := d.fill(4, 1)
	for _, op := range append(append([]scsi.OpCode{
		scsi.OpVerify10, scsi.OpVerify12, scsi.OpVerify16, scsi.OpOrWrite16, scsi.OpCompareAndWrite, scsi.OpPreFetch10,
		scsi.OpPreFetch16, scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16, scsi.OpWriteSame10, scsi.OpWriteSame16,
	}, reads...), writes...) {
		list := ranges
		if op.CDBLen() == 16 {
			list = append(list, ranged{1 << 63, 1, 1 << 63}, ranged{1<<64 - 1, 2, 1<<64 - 1})
		}
		for _, r := range list {
			task := d.cmd(op, at(r.lba, r.n), 0, data[:r.n*d.bs])
			wantSense(t, task, scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
			if got := info(task); r.info < 1<<32 && got != int64(r.info) {
				t.Errorf("%v %+v: INFORMATION = %d", op, r, got)
			}
		}
	}
	if d.mem.Used() != 0 {
		t.Errorf("%d bytes were written", d.mem.Used())
	}
}

func TestTooLong(t *testing.T) {
	d := newDisk(t, mem.Options{})
	n := int(d.u.maxTransferBlocks())
	for _, op := range []scsi.OpCode{scsi.OpRead12, scsi.OpRead16, scsi.OpWrite12, scsi.OpWrite16, scsi.OpOrWrite16, scsi.OpWriteAndVerify16} {
		task := d.cmd(op, at(0, n+1), 0, nil)
		wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	}
	task := d.cmd(scsi.OpCompareAndWrite, at(0, int(d.u.maxCompareAndWrite())), 0, nil)
	wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCommandInfoUnit)
	wantSense(t, d.cmd(scsi.OpWriteAtomic16, at(0, int(d.u.maxAtomicBlocks())+1), 0, nil), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	data := d.fill(n, 3)
	d.write(0, data)
	d.holds(0, data)
}

func TestWriteAtomicTakesWholePhysicalBlocks(t *testing.T) {
	d := newDisk(t, mem.Options{PhysicalBlock: 4096})
	if l := d.u.blockLimits(); l.AtomicAlignment != 8 || l.AtomicGranularity != 8 {
		t.Fatalf("alignment %d, granularity %d, want 8", l.AtomicAlignment, l.AtomicGranularity)
	}
	for _, c := range []struct {
		b  scsi.Blocks
		at uint16
	}{{at(4, 8), 2}, {at(8, 4), 12}, {at(8, 9), 12}} {
		task := d.cmd(scsi.OpWriteAtomic16, c.b, 0, d.fill(int(c.b.Blocks), 1))
		wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
		if got := binary.BigEndian.Uint16(task.Sense[16:]); got != c.at {
			t.Errorf("%+v: field pointer to byte %d, want %d", c.b, got, c.at)
		}
	}
	if d.mem.Used() != 0 {
		t.Errorf("%d bytes were written", d.mem.Used())
	}
	wantGood(t, d.cmd(scsi.OpWriteAtomic16, at(8, 16), 0, d.fill(16, 1)))
}

func TestProtectionIsRefused(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range append(append([]scsi.OpCode{scsi.OpVerify10, scsi.OpVerify16, scsi.OpOrWrite16, scsi.OpWriteSame10, scsi.OpWriteSame16, scsi.OpCompareAndWrite}, reads[1:]...), writes[1:]...) {
		for p := uint8(1); p < 8; p++ {
			b := at(0, 1)
			b.Protect = p
			task := d.cmd(op, b, 0, nil)
			wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
			if task.Sense[15]&0xc0 != 0xc0 || binary.BigEndian.Uint16(task.Sense[16:]) != 1 {
				t.Errorf("%v: field pointer % x", op, task.Sense[15:18])
			}
		}
	}
}

func TestCacheBits(t *testing.T) {
	d := newDisk(t, mem.Options{})
	data := d.fill(int(d.u.atomicUnit()), 1)
	for _, op := range append(append([]scsi.OpCode{}, reads[1:]...), scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16, scsi.OpWriteAtomic16, scsi.OpOrWrite16) {
		for bits := range 4 {
			b := at(0, int(d.u.atomicUnit()))
			b.DPO, b.FUA, b.Group = bits&1 != 0, bits&2 != 0, 9
			wantGood(t, d.cmd(op, b, 0, data))
		}
	}
}

func TestCapacity(t *testing.T) {
	both(t, func(d *disk) {
		task := d.run(d.in(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0))
		wantGood(t, task)
		b := bytesIn(task)
		if binary.BigEndian.Uint32(b) != uint32(d.blocks-1) || binary.BigEndian.Uint32(b[4:]) != uint32(d.bs) {
			t.Errorf("READ CAPACITY(10): % x", b)
		}
		for alloc := range 33 {
			task := d.run(d.in(32, 0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(alloc), 0, 0))
			wantGood(t, task)
			if len(bytesIn(task)) != alloc {
				t.Errorf("allocation length %d: %d bytes", alloc, len(bytesIn(task)))
			}
			if alloc == 32 {
				c, err := scsi.ParseCapacity16(bytesIn(task))
				want := scsi.Capacity{Blocks: d.blocks, BlockSize: uint32(d.bs), Provisioned: true, ReadZeros: true}
				if d.bs == 512 {
					want.LBPPBE = 3
				}
				if err != nil || c != want {
					t.Errorf("got %+v, %v; want %+v", c, err, want)
				}
			}
		}
		wantSense(t, d.run(d.in(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 1, 0)), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	})
}

func TestCapacityOfHugeVolume(t *testing.T) {
	d := newDisk(t, mem.Options{Size: san.MaxVolumeSize})
	task := d.run(d.in(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	if b := bytesIn(task); binary.BigEndian.Uint32(b) != 1<<32-1 {
		t.Errorf("% x", b)
	}
	data := d.fill(2, 9)
	d.write(d.blocks-2, data)
	d.holds(d.blocks-2, data)
}

func TestDefectListIsEmpty(t *testing.T) {
	d := newDisk(t, mem.Options{})
	task := d.run(d.in(32, 0x37, 0, 0x18|5, 0, 0, 0, 0, 0, 32, 0))
	wantGood(t, task)
	if b := bytesIn(task); !bytes.Equal(b, []byte{0, 0x1d, 0, 0}) {
		t.Errorf("(10): % x", b)
	}
	task = d.run(d.in(32, 0xb7, 0x08, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0))
	wantGood(t, task)
	if b := bytesIn(task); !bytes.Equal(b, []byte{0, 8, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("(12): % x", b)
	}
}

func TestReadOnlyVolume(t *testing.T) {
	d := newDisk(t, mem.Options{ReadOnly: true})
	data := d.fill(2, 1)
	for _, op := range append([]scsi.OpCode{scsi.OpOrWrite16, scsi.OpWriteSame10, scsi.OpWriteSame16, scsi.OpCompareAndWrite}, writes...) {
		n := 2
		if op == scsi.OpWriteSame10 || op == scsi.OpWriteSame16 || op == scsi.OpCompareAndWrite {
			n = 1
		}
		out := data[:n*d.bs]
		if op == scsi.OpCompareAndWrite {
			out = data
		}
		wantSense(t, d.cmd(op, at(0, n), 0, out), scsi.DataProtect, scsi.ASCWriteProtected)
	}
	wantGood(t, d.cmd(scsi.OpRead10, at(0, 1), d.bs, nil))
	wantGood(t, d.cmd(scsi.OpSynchronizeCache10, at(0, 0), 0, nil))
}
