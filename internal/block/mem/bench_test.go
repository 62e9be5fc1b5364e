package mem_test

import (
	"fmt"
	"testing"

	"sango/internal/block"
	"sango/internal/block/mem"
)

// BenchmarkDevice walks through a volume that is in memory as a whole.
func BenchmarkDevice(b *testing.B) {
	const volume = 64 << 20
	for _, op := range []block.Op{block.OpRead, block.OpWrite} {
		for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("op=%s/size=%dk", op, size>>10), func(b *testing.B) {
				d := open(b, mem.Options{Size: volume})
				r := &block.Request{Bufs: [][]byte{make([]byte, size)}, Len: int64(size), Done: func(*block.Request) {}}
				walk := func(op block.Op) {
					r.Op = op
					d.Submit(r)
					r.Off = (r.Off + r.Len) % volume
				}
				for range volume / size {
					walk(block.OpWrite)
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					walk(op)
				}
				if r.Err != nil {
					b.Fatal(r.Err)
				}
			})
		}
	}
}
