package multipath

import (
	"fmt"
	"testing"
	"time"

	"sango/internal/block"
)

// steady is an engine with some paths up.
func steady(paths int) *engine {
	e := newEngine(settings{check: time.Hour})
	for i := range paths {
		id := pathID(i + 1)
		e.step(0, event{kind: evAdd, path: id}, nil)
		e.step(0, event{kind: evLogin, path: id, login: uint32(id)}, nil)
		e.step(0, event{kind: evProbed, path: id, login: uint32(id), probe: &probe{identity: "v", fence: true}}, nil)
	}
	return e
}

// TestSteadyStateAllocatesNothing: a request costs no garbage.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	e := steady(4)
	r := &request{blk: &block.Request{Op: block.OpWrite, Len: 4096}}
	acts := make([]action, 0, 8)
	now := instant(0)
	n := testing.AllocsPerRun(1000, func() {
		now += time.Microsecond
		acts = e.step(now, event{kind: evSubmit, req: r}, acts[:0])
		if len(acts) != 1 || acts[0].kind != actSend {
			t.Fatalf("got %+v", acts)
		}
		acts = e.step(now, event{kind: evResult, req: r}, acts[:0])
		e.wake()
	})
	if n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

// BenchmarkStep is what a request costs the engine: to submit it, and to end it,
// with 128 in flight.
func BenchmarkStep(b *testing.B) {
	for _, paths := range []int{1, 4} {
		b.Run(fmt.Sprintf("op=read/size=4k/depth=128/paths=%d", paths), func(b *testing.B) {
			e := steady(paths)
			rs := make([]*request, 128)
			for i := range rs {
				rs[i] = &request{blk: &block.Request{Op: block.OpRead, Len: 4096}}
				e.step(0, event{kind: evSubmit, req: rs[i]}, nil)
			}
			acts := make([]action, 0, 8)
			now := instant(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				r := rs[i%len(rs)]
				now += time.Microsecond
				acts = e.step(now, event{kind: evResult, req: r}, acts[:0])
				acts = e.step(now, event{kind: evSubmit, req: r}, acts[:0])
				e.wake()
			}
		})
	}
}
