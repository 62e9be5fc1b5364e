package multipath

import (
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
	"sango/internal/lun"
)

// BenchmarkDevice is 4 KiB requests at depth 32 over two paths to a target in
// the same process.
func BenchmarkDevice(b *testing.B) {
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		b.Run(op.String(), func(b *testing.B) {
			r := newRig(b, mem.Options{BlockSize: 512}, lun.TargetOptions{})
			c := r.config()
			for i := range c.URLs {
				c.URLs[i].Host = r.direct[i]
			}
			d := r.open(c)
			bothUp(b, d)
			const depth = 32
			free := make(chan *block.Request, depth)
			for i := range depth {
				free <- &block.Request{
					Op: op, Off: int64(i) * 4096, Len: 4096, Bufs: [][]byte{make([]byte, 4096)},
					Done: func(r *block.Request) {
						if r.Err != nil {
							b.Error(r.Err)
						}
						free <- r
					},
				}
			}
			b.SetBytes(4096)
			b.ReportAllocs()
			for b.Loop() {
				d.Submit(<-free)
			}
			for range depth {
				<-free
			}
		})
	}
}
