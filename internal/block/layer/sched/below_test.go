package sched_test

import (
	"bytes"
	"sync"

	"sango/internal/block"
)

// request is one that a test has submitted.
type request struct {
	block.Request
	ends int
}

func fill(n int, v byte) []byte { return bytes.Repeat([]byte{v}, n) }

func submit(d block.Device, op block.Op, f block.Flags, off, n int64, data []byte) *request {
	r := &request{Request: block.Request{Op: op, Flags: f, Off: off, Len: n}}
	switch op {
	case block.OpRead:
		data = make([]byte, n)
		fallthrough
	case block.OpWrite:
		r.Bufs = [][]byte{data}
	}
	r.Done = func(*block.Request) { r.ends++ }
	d.Submit(&r.Request)
	return r
}

// below is the device below a scheduler. It keeps what it gets until the test
// ends it, in whatever order, and asserts what a scheduler owes it.
type below struct {
	block.Device // the suite is what tests the methods of the scheduler
	t            block.Reporter
	depth        int // most that may be here; 0: not looked at
	maxData      int64
	maxDiscard   int64
	maxZeroes    int64
	fail         func(*block.Request) error
	sync         bool // end everything within Submit
	onSubmit     func(*block.Request)

	mu      sync.Mutex // guards all below
	held    []*block.Request
	total   int
	flushes int
}

func newBelow(t block.Reporter, d block.Device) *below {
	return &below{Device: block.Check(d, t), t: t}
}

func (b *below) Submit(r *block.Request) {
	b.mu.Lock()
	b.total++
	if b.onSubmit != nil {
		b.onSubmit(r)
	}
	limit := map[block.Op]int64{
		block.OpRead: b.maxData, block.OpWrite: b.maxData, block.OpDiscard: b.maxDiscard, block.OpWriteZeroes: b.maxZeroes,
	}[r.Op]
	if limit > 0 && r.Len > limit && r.Flags&block.Atomic == 0 {
		b.t.Errorf("%s at %d+%d is over the limit of %d", r.Op, r.Off, r.Len, limit)
	}
	for _, o := range b.held {
		if r.Op == block.OpFlush && o.Op == block.OpFlush {
			b.t.Errorf("two flushes at a time")
		}
		if r.Len > 0 && o.Len > 0 && r.Off < o.Off+o.Len && o.Off < r.Off+r.Len && (r.Op != block.OpRead || o.Op != block.OpRead) {
			b.t.Errorf("%s at %d+%d and %s at %d+%d at a time", o.Op, o.Off, o.Len, r.Op, r.Off, r.Len)
		}
	}
	if r.Op == block.OpFlush {
		b.flushes++
	}
	if b.sync {
		b.mu.Unlock()
		b.run(r)
		return
	}
	b.held = append(b.held, r)
	if b.depth > 0 && len(b.held) > b.depth {
		b.t.Errorf("%d requests below, the depth is %d", len(b.held), b.depth)
	}
	b.mu.Unlock()
}

func (b *below) run(r *block.Request) {
	if b.fail != nil {
		if err := b.fail(r); err != nil {
			r.End(err)
			return
		}
	}
	b.Device.Submit(r)
}

func (b *below) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// find returns the index of the first request of op.
func (b *below) find(op block.Op) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range b.held {
		if r.Op == op {
			return i
		}
	}
	return -1
}

// end executes and ends the request at index i.
func (b *below) end(i int) {
	b.mu.Lock()
	r := b.held[i]
	b.held = append(b.held[:i], b.held[i+1:]...)
	b.mu.Unlock()
	b.run(r)
}

// drain ends all, and what comes meanwhile.
func (b *below) drain() bool {
	for b.waiting() > 0 {
		b.end(0)
	}
	return true
}
