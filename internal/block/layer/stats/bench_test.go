package stats_test

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/layer/stats"
)

// nothing is a device that does nothing.
type nothing struct{ block.Device }

func (nothing) Submit(r *block.Request) { r.End(nil) }

// What counting costs a request.
func BenchmarkSubmit(b *testing.B) {
	d := stats.New(nothing{})
	r := &block.Request{Op: block.OpRead, Bufs: [][]byte{make([]byte, 4096)}, Len: 4096, Done: func(*block.Request) {}}
	b.ReportAllocs()
	for b.Loop() {
		d.Submit(r)
	}
}
