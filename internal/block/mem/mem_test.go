package mem_test

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/mem"
	"sango/internal/san"
)

func open(t testing.TB, o mem.Options) *mem.Device {
	t.Helper()
	d, err := mem.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func driver(physical int) blocktest.Driver {
	return blocktest.Driver{
		New: func(t testing.TB, s blocktest.Spec) block.Device {
			return open(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize, PhysicalBlock: max(physical, s.BlockSize)})
		},
		ReadOnly: func(t testing.TB, s blocktest.Spec) block.Device {
			return open(t, mem.Options{Size: s.Size, BlockSize: s.BlockSize, ReadOnly: true})
		},
		Resize:  func(d block.Device, size int64) error { return d.(*mem.Device).Resize(size) },
		MaxSize: san.MaxVolumeSize,
	}
}

func TestContract(t *testing.T) { blocktest.Run(t, driver(0)) }

func TestContractPhysical4K(t *testing.T) { blocktest.Run(t, driver(4096)) }

func TestDiscardFreesMemory(t *testing.T) {
	d := open(t, mem.Options{Size: 64 << 20})
	if err := block.WriteAt(d, make([]byte, 1<<20), 0, 0); err != nil {
		t.Fatal(err)
	}
	if d.Used() != 1<<20 {
		t.Fatalf("1 MiB takes %d bytes", d.Used())
	}
	if err := block.Do(d, block.OpDiscard, 0, 0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if d.Used() != 0 {
		t.Fatalf("after the discard %d bytes are in use", d.Used())
	}
}

func TestLimitEndsWithNoSpace(t *testing.T) {
	d := block.Check(open(t, mem.Options{Size: 64 << 20, Limit: 128 << 10}), t)
	p := make([]byte, 64<<10)
	for i := range int64(2) {
		if err := block.WriteAt(d, p, i*1<<20, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := block.WriteAt(d, p, 2<<20, 0); block.ClassOf(err) != block.NoSpace {
		t.Fatalf("third chunk: %v", err)
	}
	if err := block.Do(d, block.OpDiscard, 0, 0, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := block.WriteAt(d, p, 2<<20, 0); err != nil {
		t.Fatalf("after making room: %v", err)
	}
}

func TestEpoch(t *testing.T) {
	d := open(t, mem.Options{Size: 1 << 20, Epoch: 7})
	for epoch, want := range map[san.Epoch]block.Class{0: 0, 7: 0, 6: block.Fenced, 8: block.Fenced} {
		done := make(chan error, 1)
		d.Submit(&block.Request{Op: block.OpFlush, Epoch: epoch, Done: func(r *block.Request) { done <- r.Err }})
		if err := <-done; block.ClassOf(err) != want {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []mem.Options{
		{Size: 1000},
		{Size: -512},
		{Size: san.MaxVolumeSize + 512},
		{Size: 4096, BlockSize: 1024},
		{Size: 4096, BlockSize: 4096, PhysicalBlock: 512},
		{Size: 4096, PhysicalBlock: 3000},
		{Size: 4096, AtomicMax: 100},
	} {
		if _, err := mem.New(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestDiscardOfOnePhysicalBlock(t *testing.T) {
	d := open(t, mem.Options{Size: 1 << 20, PhysicalBlock: 4096})
	if err := block.WriteAt(d, make([]byte, 64<<10), 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := block.Do(d, block.OpDiscard, 0, 512, 8192); err != nil {
		t.Fatal(err)
	}
	ext, err := d.Status(0, 64<<10, 8)
	if err != nil {
		t.Fatal(err)
	}
	want := []block.Extent{{Off: 0, Len: 4096}, {Off: 4096, Len: 4096, Alloc: block.Deallocated}, {Off: 8192, Len: 56 << 10}}
	if len(ext) != 3 || ext[0] != want[0] || ext[1] != want[1] || ext[2] != want[2] {
		t.Fatalf("got %v, want %v", ext, want)
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	d := open(t, mem.Options{Size: 1 << 20})
	p := make([]byte, 8192)
	r := &block.Request{Bufs: [][]byte{p}, Len: 8192, Off: 60 << 10, Done: func(*block.Request) {}}
	for _, op := range []block.Op{block.OpWrite, block.OpRead} {
		r.Op, r.Flags = op, block.NoWait
		if n := testing.AllocsPerRun(100, func() { d.Submit(r) }); n != 0 || r.Err != nil {
			t.Errorf("%s: %v allocations, error %v", op, n, r.Err)
		}
	}
}
