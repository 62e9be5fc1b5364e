package initiator

import (
	"fmt"
	"testing"

	"sango/internal/scsi"
)

// BenchmarkSession keeps commands of one session in flight against a target of
// this process, on a volume in memory. Allocations are of both sides.
func BenchmarkSession(b *testing.B) {
	for _, op := range []string{"read", "write"} {
		for _, c := range []struct{ size, depth int }{{4 << 10, 1}, {4 << 10, 32}, {64 << 10, 16}, {1 << 20, 8}} {
			b.Run(fmt.Sprintf("op=%s/size=%dk/depth=%d", op, c.size>>10, c.depth), func(b *testing.B) {
				l := newLoad(start(b).login(), op == "write", c.depth, c.size)
				b.SetBytes(int64(c.size))
				b.ReportAllocs()
				for b.Loop() {
					l.next(b)
				}
				l.drain(b)
			})
		}
	}
}

// load is a number of equal commands of which one is sent as soon as another
// has ended.
type load struct {
	x    *Session
	free chan *Command
}

func newLoad(x *Session, write bool, depth, size int) *load {
	l := &load{x: x, free: make(chan *Command, depth)}
	again := func(c *Command) { l.free <- c }
	for i := range depth {
		c := &Command{Attr: scsi.Simple, Done: again}
		if write {
			c.CDB, c.Out = writeCDB(i*2048, size/512), [][]byte{make([]byte, size)}
		} else {
			c.CDB, c.In = readCDB(i*2048, size/512), [][]byte{make([]byte, size)}
		}
		l.free <- c
	}
	return l
}

// next waits for a command that is free, and sends it.
func (l *load) next(t testing.TB) {
	c := <-l.free
	if c.Err != nil || c.Status != scsi.Good {
		t.Fatal(c.Err, c.Status)
	}
	l.x.Submit(c)
}

// drain waits for all commands, and gives them back.
func (l *load) drain(t testing.TB) {
	depth := cap(l.free)
	all := make([]*Command, depth)
	for i := range all {
		all[i] = <-l.free
		if all[i].Err != nil || all[i].Status != scsi.Good {
			t.Fatal(all[i].Err, all[i].Status)
		}
	}
	for _, c := range all {
		l.free <- c
	}
}
