//go:build !race

// Under the race detector sync.Pool forgets at random.

package initiator

import (
	"runtime"
	"testing"

	"sango/internal/iscsi"
)

// A command in steady state allocates nothing, on either side: alone, in a
// batch, and with digests.
func TestCommandsDoNotAllocate(t *testing.T) {
	const count = 3200
	for _, digest := range []string{iscsi.ValueNone, iscsi.DigestCRC32C} {
		for _, depth := range []int{1, 32} {
			for _, write := range []bool{false, true} {
				x := start(t).login(func(c *Config) {
					o := iscsi.DefaultOffers()
					o.HeaderDigest, o.DataDigest = []string{digest}, []string{digest}
					c.Offers = &o
				})
				l := newLoad(x, write, depth, 4096)
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
					t.Errorf("write %t, digest %s, depth %d: %.2f allocations a command", write, digest, depth, per)
				}
			}
		}
	}
}
