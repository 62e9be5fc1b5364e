package block

import (
	"sync"

	"sango/internal/san"
)

// call is a request somebody waits for. It waits on a condition rather than on a
// channel, which belongs for ever to the bubble of testing/synctest that it was
// made in: calls go from one to the next.
type call struct {
	Request
	mu    sync.Mutex // guards over
	over  bool
	ended sync.Cond
}

var calls = sync.Pool{New: func() any {
	c := &call{}
	c.ended.L = &c.mu
	c.Done = func(*Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.over = true
		c.ended.Signal()
	}
	return c
}}

// wait returns when the request has ended.
func (c *call) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.over {
		c.ended.Wait()
	}
	c.over = false
}

// Do submits one request to d and waits for its end. It is for the control
// path, background work and tests; the data path uses Submit.
func Do(d Device, op Op, flags Flags, off, n int64, bufs ...[]byte) error {
	return DoAt(d, 0, op, flags, off, n, bufs...)
}

// DoAt is Do for a request that was admitted under epoch e.
func DoAt(d Device, e san.Epoch, op Op, flags Flags, off, n int64, bufs ...[]byte) error {
	c := calls.Get().(*call)
	done := c.Done
	c.Request = Request{Op: op, Flags: flags, Off: off, Len: n, Bufs: bufs, Epoch: e, Done: done}
	d.Submit(&c.Request)
	c.wait()
	err := c.Err
	c.Request = Request{Done: done}
	calls.Put(c)
	return err
}

// ReadAt reads len(p) bytes at off.
func ReadAt(d Device, p []byte, off int64) error { return Do(d, OpRead, 0, off, int64(len(p)), p) }

// WriteAt writes p at off.
func WriteAt(d Device, p []byte, off int64, flags Flags) error {
	return Do(d, OpWrite, flags, off, int64(len(p)), p)
}

// Flush makes every write that has ended stable.
func Flush(d Device) error { return Do(d, OpFlush, 0, 0, 0) }
