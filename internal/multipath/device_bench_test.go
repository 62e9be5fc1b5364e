package multipath

import (
	"fmt"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
)

// BenchmarkDevice keeps requests in flight over one path or two to a target in
// the same process, on a volume in memory. Allocations are of both sides.
func BenchmarkDevice(b *testing.B) {
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		for _, c := range []struct{ size, depth, paths int }{
			{4 << 10, 1, 1},
			{4 << 10, 1, 2},
			{4 << 10, 32, 1},
			{4 << 10, 32, 2},
			{64 << 10, 16, 2},
			{1 << 20, 8, 2},
		} {
			b.Run(fmt.Sprintf("op=%s/size=%dk/depth=%d/paths=%d", op, c.size>>10, c.depth, c.paths), func(b *testing.B) {
				l := newSteadyLoad(b, op, c.size, c.depth, c.paths)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for b.Loop() {
					l.next(b)
				}
				l.drain(b)
			})
		}
	}
}

// steadyLoad is a number of requests of which one is submitted as soon as another
// has ended.
type steadyLoad struct {
	d    *Device
	free chan *block.Request
}

func newSteadyLoad(t testing.TB, op block.Op, size, depth, paths int) *steadyLoad {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.URLs = c.URLs[:paths]
	for i := range c.URLs {
		c.URLs[i].Host = r.direct[i]
	}
	d := r.open(c)
	until(t, d, "usable paths", func(v *View) bool { return usable(v) == paths })
	l := &steadyLoad{d: d, free: make(chan *block.Request, depth)}
	for i := range depth {
		l.free <- &block.Request{
			Op: op, Off: int64(i * size), Len: int64(size), Bufs: [][]byte{make([]byte, size)},
			Done: func(r *block.Request) { l.free <- r },
		}
	}
	return l
}

// next waits for a request that is free, and submits it.
func (l *steadyLoad) next(t testing.TB) {
	r := <-l.free
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	l.d.Submit(r)
}

// drain waits for all requests, and gives them back.
func (l *steadyLoad) drain(t testing.TB) {
	all := make([]*block.Request, cap(l.free))
	for i := range all {
		if all[i] = <-l.free; all[i].Err != nil {
			t.Fatal(all[i].Err)
		}
	}
	for _, r := range all {
		l.free <- r
	}
}
