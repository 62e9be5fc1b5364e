package stats_test

import (
	"testing"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/fault"
	"sango/internal/block/layer/stats"
	"sango/internal/block/mem"
)

func memory(t testing.TB, s blocktest.Spec) block.Device {
	t.Helper()
	d, err := mem.New(mem.Options{Size: s.Size, BlockSize: s.BlockSize})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var small = blocktest.Spec{Size: 1 << 20, BlockSize: 512}

func TestContract(t *testing.T) {
	blocktest.Run(t, blocktest.Driver{
		New: func(t testing.TB, s blocktest.Spec) block.Device { return stats.New(memory(t, s)) },
	})
}

func TestCounts(t *testing.T) {
	f := fault.New(memory(t, small), 1)
	s := stats.New(f)
	d := block.Check(s, t)
	for range 3 {
		if err := block.WriteAt(d, make([]byte, 1024), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	f.Arm(fault.Rule{Ops: fault.Read, Class: block.WouldBlock})
	_ = block.Do(d, block.OpRead, block.NoWait, 0, 512, make([]byte, 512))
	f.Arm(fault.Rule{Ops: fault.Read, Class: block.Medium})
	_ = block.ReadAt(d, make([]byte, 512), 0)
	snap := s.Snapshot()
	w, r := snap.Ops[block.OpWrite], snap.Ops[block.OpRead]
	if w.Requests != 3 || w.Bytes != 3072 || w.Errors != 0 || sum(w) != 3 {
		t.Errorf("writes: %+v", w)
	}
	if r.Requests != 1 || r.Bytes != 0 || r.Errors != 1 || r.WouldBlock != 1 || sum(r) != 1 {
		t.Errorf("reads: %+v", r)
	}
	if snap.InFlight != 0 {
		t.Errorf("%d in flight", snap.InFlight)
	}
}

func sum(o stats.Op) (n uint64) {
	for _, b := range o.Latency {
		n += b
	}
	return n
}

func TestBounds(t *testing.T) {
	if stats.Bound(0) != time.Microsecond || stats.Bound(10) != 1024*time.Microsecond || stats.Bound(stats.Buckets-1) != 0 {
		t.Error(stats.Bound(0), stats.Bound(10), stats.Bound(stats.Buckets-1))
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	d := stats.New(memory(t, small))
	r := &block.Request{Op: block.OpRead, Bufs: [][]byte{make([]byte, 512)}, Len: 512, Done: func(*block.Request) {}}
	if n := testing.AllocsPerRun(100, func() { d.Submit(r) }); n >= 1 || r.Err != nil {
		t.Errorf("%v allocations, error %v", n, r.Err)
	}
}
