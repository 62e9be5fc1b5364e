package sched_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sango/internal/block"
	"sango/internal/block/blocktest"
	"sango/internal/block/layer/delay"
	"sango/internal/block/layer/sched"
)

// loop keeps n requests of op in flight, of a range of their own each, and
// notes how long they take, until the test stops it.
type loop struct {
	d       block.Device
	op      block.Op
	stop    *atomic.Bool
	ends    atomic.Int64
	mu      sync.Mutex // guards longest
	longest time.Duration
}

func (l *loop) run(n int, at int64) {
	for i := range int64(n) {
		r := &block.Request{Op: l.op, Off: at + i*1024, Len: 512}
		switch l.op {
		case block.OpFlush:
			r.Off, r.Len = 0, 0
		case block.OpRead, block.OpWrite:
			r.Bufs = [][]byte{make([]byte, 512)}
		}
		begun := time.Now()
		r.Done = func(r *block.Request) {
			l.ends.Add(1)
			l.mu.Lock()
			l.longest = max(l.longest, time.Since(begun))
			l.mu.Unlock()
			if !l.stop.Load() {
				begun = time.Now()
				l.d.Submit(r)
			}
		}
		l.d.Submit(r)
	}
}

// No class starves another one, nor itself, when all of them keep far more in
// flight than goes down: each request ends within the time that the
// precedence of the classes allows.
func TestNoClassStarves(t *testing.T) {
	for _, depth := range []int{1, 2, 4, 16} {
		synctest.Test(t, func(t *testing.T) {
			const ms = time.Millisecond
			slow := delay.New(memory(t, blocktest.Spec{Size: 4 << 20, BlockSize: 512}), delay.Options{Latency: map[block.Op]time.Duration{
				block.OpRead: ms, block.OpWrite: ms, block.OpDiscard: ms, block.OpWriteZeroes: ms, block.OpFlush: ms,
			}})
			d := sched.New(slow, sched.Options{Depth: depth})
			stop := &atomic.Bool{}
			var loops []*loop
			for i, op := range []block.Op{block.OpRead, block.OpWrite, block.OpDiscard, block.OpWriteZeroes, block.OpFlush} {
				l := &loop{d: d, op: op, stop: stop}
				loops = append(loops, l)
				n := 64
				if op == block.OpFlush {
					n = 4
				}
				l.run(n, int64(i)<<18)
			}
			<-time.After(30 * time.Second)
			stop.Store(true)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			for _, l := range loops {
				t.Logf("depth %d: %6d of %-12s the longest took %v", depth, l.ends.Load(), l.op, l.longest)
				// 128 trims are ahead of the last one of them, each after 3 batches of 16
				// others, with as many flushes between them at a depth of 1.
				if most := 129 * (1 + 3*16) * 2 * ms; l.longest > most {
					t.Errorf("depth %d: a %s took %v, more than %v", depth, l.op, l.longest, most)
				}
			}
			if loops[0].ends.Load() < loops[1].ends.Load() || loops[1].ends.Load() < loops[2].ends.Load() {
				t.Error("reads do not go ahead of writes, or writes of trims")
			}
		})
	}
}

// A write that waits behind reads which never end goes by its deadline at the
// latest; here by the count of batches, long before.
func TestWriteAmongReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := delay.New(memory(t, blocktest.Spec{Size: 4 << 20, BlockSize: 512}), delay.Options{
			Latency: map[block.Op]time.Duration{block.OpRead: time.Millisecond},
		})
		d := sched.New(slow, sched.Options{Depth: 1})
		stop := &atomic.Bool{}
		reads := &loop{d: d, op: block.OpRead, stop: stop}
		reads.run(256, 0)
		before := reads.ends.Load()
		ended := make(chan int64, 1)
		d.Submit(&block.Request{
			Op: block.OpWrite, Off: 1 << 20, Len: 512, Bufs: [][]byte{make([]byte, 512)},
			Done: func(*block.Request) { ended <- reads.ends.Load() },
		})
		if passed := <-ended - before; passed > 3*16 {
			t.Errorf("%d reads went ahead of the write", passed)
		}
		stop.Store(true)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A deadline that has passed gives its class the next batch before the count
// of batches would.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBelow(t, memory(t, blocktest.Spec{Size: 1 << 20, BlockSize: 512}))
		var order []block.Op
		b.onSubmit = func(r *block.Request) { order = append(order, r.Op) }
		d := sched.New(b, sched.Options{Depth: 1, WriteDeadline: time.Second, ReadDeadline: time.Minute})
		submit(d, block.OpRead, 0, 0, 512, nil)
		submit(d, block.OpWrite, 0, 4096, 512, fill(512, 1))
		<-time.After(2 * time.Second)
		for i := range int64(14) { // what is left of the batch, and then one more
			submit(d, block.OpRead, 0, 8192+i*1024, 512, nil)
		}
		submit(d, block.OpRead, 0, 65536, 512, nil)
		submit(d, block.OpRead, 0, 65536+1024, 512, nil)
		b.drain()
		if n := len(order); n != 18 || order[16] != block.OpWrite {
			t.Errorf("%d went down in the order %v", n, order)
		}
		if d.Stats().Classes[sched.Write].Overdue != 1 {
			t.Errorf("%+v", d.Stats().Classes[sched.Write])
		}
	})
}
