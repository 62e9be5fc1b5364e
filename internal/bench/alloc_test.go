//go:build !race

package bench

import (
	"testing"
	"time"
)

// The race detector makes the target's pools forget what they hold.
func TestSessionAllocatesNothingPerRequest(t *testing.T) {
	cfg := base(nil)
	cfg.Volumes, cfg.Pattern, cfg.Interval = serve(t, false).open(t).Volumes, RandRW, time.Hour
	run := func(n int64) float64 {
		cfg.Count = n
		return testing.AllocsPerRun(1, func() { mustRun(t, cfg) })
	}
	few, many := run(1000), run(21_000)
	if many-few > 400 { // of target and runtime, over 20,000 requests
		t.Errorf("%v allocations for 1,000 requests, %v for 21,000", few, many)
	}
}
