//go:build !race

// Under the race detector sync.Pool forgets at random.

package multipath

import (
	"runtime"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
)

// In steady state a request allocates nothing, here and below.
func TestNoAllocations(t *testing.T) {
	r := newRig(t, mem.Options{BlockSize: 512}, lun.TargetOptions{})
	c := r.config()
	c.Check, c.PingInterval = 1<<40, 1<<40
	for i := range c.URLs { // proxies allocate
		c.URLs[i].Host = r.direct[i]
	}
	d := r.open(c)
	bothUp(t, d)
	done := make(chan error, 1)
	q := &block.Request{Len: 4096, Bufs: [][]byte{make([]byte, 4096)}, Done: func(r *block.Request) { done <- r.Err }}
	round := func(op block.Op) {
		q.Op, q.Err = op, nil
		d.Submit(q)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for _, op := range []block.Op{block.OpWrite, block.OpRead} {
		for range 2000 { // everything that is kept has been made
			round(op)
		}
		const rounds = 4000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round(op)
		}
		runtime.ReadMemStats(&after)
		if n := float64(after.Mallocs-before.Mallocs) / rounds; n > 0.1 {
			t.Errorf("%v: %.2f allocations a request", op, n)
		}
	}
}
