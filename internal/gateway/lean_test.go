package gateway

import (
	"runtime/debug"
	"testing"
)

// Starts beside each other leave the collector as it was before the first.
func TestLeanStartsLeaveTheCollectorAsItWas(t *testing.T) {
	percent := func() int {
		p := debug.SetGCPercent(100)
		debug.SetGCPercent(p)
		return p
	}
	before := percent()
	a, b := newLean(), newLean()
	if p := percent(); p > leanPercent {
		t.Errorf("during a start: %d %%", p)
	}
	a.end()
	a.end()
	if p := percent(); p > leanPercent {
		t.Errorf("while one is left: %d %%", p)
	}
	b.end()
	if p := percent(); p != before {
		t.Errorf("afterwards: %d %%, before: %d %%", p, before)
	}
}
