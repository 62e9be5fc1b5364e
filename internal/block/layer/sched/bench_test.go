package sched_test

import (
	"slices"
	"testing"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/sched"
)

// BenchmarkSubmit is requests of 4 KiB over a device that costs nothing: what a
// request takes that goes straight down, one that queues (256 in flight over a
// device that takes 128), and one that is merged there.
func BenchmarkSubmit(b *testing.B) {
	b.Run("op=read/queue=none", func(b *testing.B) {
		d := sched.New(blocktest.NewNull(1<<40), sched.Options{})
		r := &block.Request{Op: block.OpRead, Len: 4096, Bufs: [][]byte{make([]byte, 4096)}, Done: func(*block.Request) {}}
		b.ReportAllocs()
		for b.Loop() {
			d.Submit(r)
		}
	})
	b.Run("op=write/queue=full", func(b *testing.B) { cycle(b, 8192) })
	b.Run("op=write/queue=merge", func(b *testing.B) { cycle(b, 4096) })
}

// keeper is a device that leaves the end of requests to a test.
type keeper struct {
	*blocktest.Null
	held []*block.Request
}

func (k *keeper) Submit(r *block.Request) { k.held = append(k.held, r) }

// BenchmarkInFlight ends a request and submits another while some hundred
// others are below.
func BenchmarkInFlight(b *testing.B) {
	for _, c := range []struct {
		name string
		at   func(i int64) int64
	}{
		{"random", func(i int64) int64 { return i * 7919 % (1 << 18) * 4096 }},
		{"sequential", func(i int64) int64 { return i % (1 << 18) * 4096 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			n := &keeper{Null: blocktest.NewNull(1 << 40)}
			d := sched.New(n, sched.Options{Depth: 512})
			reqs := make([]block.Request, 300)
			bufs := [][]byte{make([]byte, 4096)}
			for i := range reqs {
				reqs[i] = block.Request{Op: block.OpWrite, Off: c.at(int64(i)), Len: 4096, Bufs: bufs, Done: func(*block.Request) {}}
				d.Submit(&reqs[i])
			}
			held := slices.Clone(n.held)
			b.ReportAllocs()
			i := int64(len(reqs))
			for b.Loop() {
				k := i % int64(len(reqs))
				n.held = n.held[:0]
				held[k].End(nil)
				reqs[k].Off = c.at(i)
				d.Submit(&reqs[k])
				held[k] = n.held[0]
				i++
			}
		})
	}
}

// cycle has 256 writes in flight at a device that takes 128; each round they
// all end.
func cycle(b *testing.B, stride int64) {
	n := blocktest.NewNull(1 << 40)
	n.Hold = true
	d := sched.New(n, sched.Options{})
	reqs := make([]block.Request, 256)
	bufs := [][]byte{make([]byte, 4096)}
	for i := range reqs {
		reqs[i] = block.Request{Op: block.OpWrite, Off: int64(i) * stride, Len: 4096, Bufs: bufs, Done: func(*block.Request) {}}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Submit(&reqs[i%256])
		if i%256 == 255 {
			n.Release()
		}
	}
}

// In steady state nothing is allocated, also when requests queue, merge, split
// and wait for one another.
func TestNoAllocation(t *testing.T) {
	n := blocktest.NewNull(1 << 40)
	n.Hold = true
	d := sched.New(n, sched.Options{Depth: 4, MaxTransfer: 16384})
	buf := make([]byte, 65536)
	reqs := make([]block.Request, 64)
	for i := range reqs {
		reqs[i] = block.Request{
			Op: block.OpWrite, Off: int64(i%40) * 4096, Len: 4096, Bufs: [][]byte{buf[:4096]}, Done: func(*block.Request) {},
		}
		switch i % 8 {
		case 5:
			reqs[i].Op = block.OpRead
		case 6:
			reqs[i].Len, reqs[i].Bufs = 65536, [][]byte{buf[:1000], buf[1000:]}
		case 7:
			reqs[i] = block.Request{Op: block.OpFlush, Done: reqs[i].Done}
		}
	}
	round := func() {
		for i := range reqs {
			d.Submit(&reqs[i])
		}
		n.Release()
	}
	for range 100 { // buffers find their sizes
		round()
	}
	if got := testing.AllocsPerRun(100, round); got != 0 {
		t.Errorf("%v allocations a round", got)
	}
	s := d.Stats().Classes[sched.Write]
	if s.Merged == 0 || s.Split == 0 || s.Blocked == 0 || s.Queued == 0 {
		t.Errorf("the round does not do it all: %+v", s)
	}
}
