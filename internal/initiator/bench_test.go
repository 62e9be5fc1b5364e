package initiator

import (
	"fmt"
	"testing"

	"sango/internal/scsi"
)

// BenchmarkSession measures 4 KiB commands of one session against a target of
// this process, on a volume in memory. Allocations are of both sides.
func BenchmarkSession(b *testing.B) {
	for _, write := range []bool{false, true} {
		for _, depth := range []int{1, 32} {
			name := "read"
			if write {
				name = "write"
			}
			b.Run(fmt.Sprintf("%s/4k/depth=%d", name, depth), func(b *testing.B) { benchmark(b, write, depth, 4096) })
		}
	}
	b.Run("read/1m/depth=8", func(b *testing.B) { benchmark(b, false, 8, 1<<20) })
	b.Run("write/1m/depth=8", func(b *testing.B) { benchmark(b, true, 8, 1<<20) })
}

func benchmark(b *testing.B, write bool, depth, size int) {
	x := start(b).login()
	free := make(chan *Command, depth)
	again := func(c *Command) { free <- c }
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := range depth {
		c := &Command{Attr: scsi.Simple, Done: again}
		if write {
			c.CDB, c.Out = writeCDB(i*2048, size/512), [][]byte{make([]byte, size)}
		} else {
			c.CDB, c.In = readCDB(i*2048, size/512), [][]byte{make([]byte, size)}
		}
		free <- c
	}
	b.ResetTimer()
	for range b.N {
		c := <-free
		if c.Err != nil || c.Status != scsi.Good {
			b.Fatal(c.Err, c.Status)
		}
		x.Submit(c)
	}
	for range depth {
		<-free
	}
}
