package lun

import (
	"bytes"
	"testing"

	"sango/internal/block/mem"
	"sango/internal/san"
	"sango/internal/scsi"
)

var sames = []scsi.OpCode{scsi.OpWriteSame10, scsi.OpWriteSame16}

func TestWriteSame(t *testing.T) {
	both(t, func(d *disk) {
		one := d.fill(1, 7)
		for _, op := range sames {
			for _, n := range []int{1, 2, 256, 3*chunk/d.bs + 1} {
				lba := d.blocks - uint64(n)
				task := d.cmd(op, at(lba, n), 0, one)
				wantGood(t, task)
				if task.OutLen != d.bs || task.Want != uint64(d.bs) {
					t.Errorf("%v: OutLen %d, Want %d", op, task.OutLen, task.Want)
				}
				d.holds(lba, bytes.Repeat(one, n))
			}
			wantGood(t, d.cmd(op, at(3, 1000), 0, make([]byte, d.bs)))
			d.holds(3, make([]byte, 1000*d.bs))
		}
	})
}

func TestWriteSameToTheEnd(t *testing.T) {
	d := newDisk(t, mem.Options{Size: 4 << 20})
	one := d.fill(1, 7)
	for _, op := range sames {
		wantGood(t, d.cmd(op, at(d.blocks-300, 0), 0, one))
		d.holds(d.blocks-300, bytes.Repeat(one, 300))
		wantGood(t, d.cmd(op, at(0, 0), 0, make([]byte, d.bs)))
		d.holds(0, make([]byte, d.blocks*uint64(d.bs)))
		wantSense(t, d.cmd(op, at(d.blocks, 0), 0, one), scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
	}
}

// With UNMAP the blocks are unmapped whatever the data-out holds.
func TestWriteSameUnmaps(t *testing.T) {
	both(t, func(d *disk) {
		for _, op := range sames {
			d.write(0, d.fill(1024, 1))
			b := at(0, 1024)
			b.Unmap = true
			wantGood(t, d.cmd(op, b, 0, make([]byte, d.bs)))
			if d.mem.Used() != 0 {
				t.Errorf("%v: %d bytes are left", op, d.mem.Used())
			}
			d.write(0, d.fill(1024, 1))
			wantGood(t, d.cmd(op, b, 0, d.fill(1, 9)))
			d.holds(0, make([]byte, 1024*d.bs))
		}
		b := at(0, 1024)
		b.Unmap, b.NoData = true, true
		wantGood(t, d.cmd(scsi.OpWriteSame16, b, 0, nil))
		if d.mem.Used() != 0 {
			t.Errorf("NDOB: %d bytes are left", d.mem.Used())
		}
	})
}

func TestWriteSameWithoutData(t *testing.T) {
	d := newDisk(t, mem.Options{})
	d.write(0, d.fill(20, 1))
	b := at(5, 10)
	b.NoData = true
	wantGood(t, d.cmd(scsi.OpWriteSame16, b, 0, nil))
	d.holds(5, make([]byte, 10*d.bs))
	d.holds(0, d.fill(20, 1)[:5*d.bs])
}

func TestWriteSameAnchorIsRefused(t *testing.T) {
	d := newDisk(t, mem.Options{})
	for _, op := range sames {
		for _, unmap := range []bool{false, true} {
			b := at(0, 1)
			b.Anchor, b.Unmap = true, unmap
			task := d.cmd(op, b, 0, d.fill(1, 1))
			wantSense(t, task, scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
			if !bytes.Equal(task.Sense[15:18], []byte{0xcc, 0, 1}) {
				t.Errorf("field pointer % x", task.Sense[15:18])
			}
		}
	}
}

func TestUnmap(t *testing.T) {
	both(t, func(d *disk) {
		unmap := func(r ...scsi.Range) *Task {
			list := scsi.AppendUnmapList(nil, r)
			return d.run(d.out(len(list), 0x42, 0, 0, 0, 0, 0, 0, byte(len(list)>>8), byte(len(list)), 0), list...)
		}
		n := uint32(4096 / d.bs) // blocks of a physical one
		data := d.fill(64*int(n), 1)
		d.write(0, data)
		wantGood(t, unmap(scsi.Range{LBA: 0, Blocks: n}, scsi.Range{LBA: scsi.LBA(8 * n), Blocks: 3 * n}, scsi.Range{LBA: scsi.LBA(9 * n), Blocks: n}))
		clear(data[:4096])
		clear(data[8*4096 : 11*4096])
		d.holds(0, data)
		wantGood(t, unmap())
		wantGood(t, d.run(d.newTask([]byte{0x42})))
		wantGood(t, unmap(scsi.Range{LBA: scsi.LBA(d.blocks)}, scsi.Range{LBA: 3}))
		d.holds(0, data)

		list := func(alloc byte, lba byte) []scsi.LBAStatus {
			task := d.run(d.in(512, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, alloc, 0, 0))
			wantGood(t, task)
			s, err := scsi.ParseLBAStatus(bytesIn(task))
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		want := []scsi.LBAStatus{
			{LBA: 0, Blocks: n, State: scsi.StatusDeallocated},
			{LBA: scsi.LBA(n), Blocks: 7 * n},
			{LBA: scsi.LBA(8 * n), Blocks: 3 * n, State: scsi.StatusDeallocated},
			{LBA: scsi.LBA(11 * n), Blocks: 53 * n},
			{LBA: scsi.LBA(64 * n), Blocks: uint32(d.blocks) - 64*n, State: scsi.StatusDeallocated},
		}
		got := list(200, 0)
		if len(got) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Errorf("%v, want %v", got[i], want[i])
			}
		}
		if got := list(24, byte(n)); len(got) != 1 || got[0] != want[1] {
			t.Errorf("one descriptor: %v", got)
		}

		bad := scsi.Range{LBA: scsi.LBA(d.blocks - 1), Blocks: 2}
		task := unmap(scsi.Range{LBA: 0, Blocks: 64 * n}, bad)
		wantSense(t, task, scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
		if info(task) != int64(d.blocks) {
			t.Errorf("INFORMATION = %d", info(task))
		}
		wantSense(t, unmap(make([]scsi.Range, maxUnmapDescriptors+1)...), scsi.IllegalRequest, scsi.ASCInvalidFieldInParameterList)
		wantGood(t, unmap(make([]scsi.Range, maxUnmapDescriptors)...))
		wantSense(t, d.run(d.out(4, 0x42, 0, 0, 0, 0, 0, 0, 0, 4, 0), 0, 2, 0, 0), scsi.IllegalRequest, scsi.ASCParameterListLength)
		wantSense(t, d.run(d.newTask([]byte{0x42, 1})), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB) // ANCHOR
		d.holds(0, data)
	})
}

func TestLBAStatusPastTheEnd(t *testing.T) {
	d := newDisk(t, mem.Options{Size: 1 << 20})
	for _, lba := range []byte{8, 9, 0xff} { // 2048, 2304, 65280
		wantSense(t, d.run(d.in(24, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 0, 24, 0, 0)), scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
	}
	wantSense(t, d.run(d.in(24, 0x9e, 0x12, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0)), scsi.IllegalRequest, scsi.ASCLBAOutOfRange)
}

// An extent longer than a descriptor can tell is told in several.
func TestLBAStatusOfHugeVolume(t *testing.T) {
	d := newDisk(t, mem.Options{Size: san.MaxVolumeSize})
	task := d.run(d.in(1024, 0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0))
	wantGood(t, task)
	list, err := scsi.ParseLBAStatus(bytesIn(task))
	if err != nil {
		t.Fatal(err)
	}
	var next uint64
	for _, s := range list {
		if uint64(s.LBA) != next || s.State != scsi.StatusDeallocated {
			t.Fatalf("%v", s)
		}
		next += uint64(s.Blocks)
	}
	if next != d.blocks {
		t.Errorf("covers %d of %d blocks", next, d.blocks)
	}
}

func TestWriteSameIsBounded(t *testing.T) {
	d := newDisk(t, mem.Options{Size: maxWriteSameBytes + 1<<20})
	n := d.u.blockLimits().MaxWriteSame
	if n != uint64(maxWriteSameBytes/d.bs) {
		t.Fatalf("MAXIMUM WRITE SAME LENGTH is %d blocks", n)
	}
	block := d.fill(1, 7)
	for _, b := range []scsi.Blocks{{Blocks: uint32(n) + 1}, {}, {LBA: scsi.LBA(d.blocks - n - 1)}} {
		wantSense(t, d.cmd(scsi.OpWriteSame16, b, 0, block), scsi.IllegalRequest, scsi.ASCInvalidFieldInCDB)
	}
	b := at(d.blocks-n, 0)
	b.Unmap = true
	wantGood(t, d.cmd(scsi.OpWriteSame16, b, 0, d.fill(1, 0)))
}
