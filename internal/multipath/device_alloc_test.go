//go:build !race

// Under the race detector sync.Pool forgets at random.

package multipath

import (
	"runtime"
	"testing"

	"sango/internal/block"
)

// A request in steady state allocates nothing, on the way down, over either
// path, and in the target.
func TestRequestsDoNotAllocate(t *testing.T) {
	const count = 3200
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		l := newSteadyLoad(t, op, 4096, 32, 2)
		run := func() {
			for range count {
				l.next(t)
			}
			l.drain(t)
		}
		run()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		// What the runtime does on the side may allocate now and then.
		if per := float64(after.Mallocs-before.Mallocs) / count; per > 0.1 {
			t.Errorf("%s: %.2f allocations a request", op, per)
		}
	}
}
