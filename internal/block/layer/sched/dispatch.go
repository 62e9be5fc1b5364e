package sched

import (
	"errors"
	"sync/atomic"

	"sango/internal/block"
)

// call is a request to the device below.
type call struct {
	block.Request
	d     *Device
	unit  *unit
	state atomic.Int32
	bufs  [][]byte // backing of Bufs where it is not that of a single request
	next  *call    // in the free list
}

// The states of a call.
const (
	submitting int32 = iota // in the Submit of the device below
	underway                // that has returned
	over                    // ended
)

// pump sends down what may go. d.mu is held at its begin and not at its end.
//
// A device may end a request within Submit. Then the goroutine that is in there
// looks for the next one when it is back, and not the one within, or a long
// queue would become a deep stack.
func (d *Device) pump() {
	for {
		u := d.choose()
		if u == nil {
			d.mu.Unlock()
			return
		}
		c := d.take(u)
		more := d.ready > 0
		d.mu.Unlock()
		d.dev.Submit(&c.Request)
		if c.state.CompareAndSwap(submitting, underway) {
			if !more {
				return // whoever queues something pumps as well
			}
			d.mu.Lock()
			continue
		}
		d.mu.Lock()
		d.freeCall(c)
	}
}

// take makes the next request of u. d.mu is held.
func (d *Device) take(u *unit) *call {
	c := d.calls
	if c == nil {
		c = &call{d: d}
	} else {
		d.calls = c.next
	}
	lo, hi := u.at, d.cut(u)
	c.unit = u
	c.state.Store(submitting)
	c.Request = block.Request{
		Op: u.op, Flags: u.flags, Off: lo, Len: hi - lo, Epoch: u.epoch, Done: ended, User: c,
		Bufs: u.gather(c, hi-lo),
	}
	u.at = hi
	if hi == u.hi {
		d.dequeue(u)
	}
	u.flying++
	d.flying[u.class]++
	d.inflight++
	d.stats[u.class].Sent++
	return c
}

// cut returns where the next request of u ends.
func (d *Device) cut(u *unit) int64 {
	limit := d.max[u.op]
	if limit == 0 || u.hi-u.at <= limit || u.flags&block.Atomic != 0 {
		return u.hi
	}
	end := u.at + limit
	if even := end - end%u.align; even > u.at {
		return even
	}
	return end
}

// gather returns the buffers of the next n bytes of u.
func (u *unit) gather(c *call, n int64) [][]byte {
	if u.op != block.OpRead && u.op != block.OpWrite {
		return nil
	}
	if len(u.parts) > 1 {
		for _, r := range u.parts {
			c.bufs = append(c.bufs, r.Bufs...)
		}
		return c.bufs
	}
	r := u.parts[0]
	if n == r.Len {
		return r.Bufs
	}
	for n > 0 {
		b := r.Bufs[u.buf][u.byte:]
		if int64(len(b)) > n {
			b = b[:n:n]
			u.byte += int(n)
		} else {
			u.buf, u.byte = u.buf+1, 0
		}
		if len(b) > 0 {
			c.bufs = append(c.bufs, b)
		}
		n -= int64(len(b))
	}
	return c.bufs
}

func (d *Device) freeCall(c *call) {
	clear(c.bufs)
	c.bufs = c.bufs[:0]
	c.Request, c.unit = block.Request{}, nil
	c.next, d.calls = d.calls, c
}

// ended is the Done of requests to the device below.
func ended(r *block.Request) {
	c := r.User.(*call)
	d, u, err := c.d, c.unit, r.Err
	d.mu.Lock()
	d.inflight--
	d.flying[u.class]--
	u.flying--
	if err != nil {
		d.stats[u.class].Errors++
		if u.err == nil {
			u.err = err
		}
		if u.queued {
			d.dequeue(u) // it has failed: the rest of it need not be sent
		}
	}
	// The goroutine in Submit may pump as soon as it sees this, so the above is
	// done; and it may use c again.
	within := c.state.Swap(over) == submitting
	if !within {
		d.freeCall(c)
	}
	if u.queued || u.flying > 0 || d.resolve(u) {
		d.finish(within)
		return
	}
	if len(u.parts) == 1 && len(u.echoes) == 0 {
		outer, split := u.parts[0], u.alone
		failed := u.err
		d.freeUnit(u)
		d.mu.Unlock()
		if failed != nil && split {
			failed = personal(outer, failed)
		}
		outer.End(failed)
		d.gauge.Leave()
	} else {
		d.mu.Unlock()
		for _, outer := range u.parts {
			outer.End(personal(outer, u.err))
			d.gauge.Leave()
		}
		for _, outer := range u.echoes {
			outer.End(personal(outer, u.err))
			d.gauge.Leave()
		}
		d.mu.Lock()
		d.freeUnit(u)
		d.mu.Unlock()
	}
	d.mu.Lock()
	d.finish(within)
}

// finish ends the work on an ended call: what became free goes to whoever
// waits. d.mu is held.
func (d *Device) finish(within bool) {
	if within {
		d.mu.Unlock()
		return
	}
	d.pump()
}

// resolve takes u, of which nothing is below any more, out of the way of
// others. It returns true when the parts of u were queued again one by one, so
// that u itself is no more. d.mu is held.
func (d *Device) resolve(u *unit) bool {
	if u.span >= 0 {
		d.spansOf(u).remove(u)
	}
	again := len(u.parts) > 1 && u.class != Flush && inRange(u.err)
	if again {
		d.stats[u.class].Retried++
		for _, r := range u.parts {
			one := d.newUnit(r)
			one.seq, one.due, one.align, one.alone = u.seq, u.due, u.align, true
			d.spansOf(one).add(one)
			d.enqueue(one)
		}
	}
	for w := u.waiters; w != nil; {
		next := w.nextWaiter
		w.nextWaiter = nil
		d.blocked--
		if b := d.blocker(w.lo, w.hi, w.class != Read, w.seq); b != nil {
			d.wait(w, b)
		} else {
			d.enqueue(w)
		}
		w = next
	}
	u.waiters = nil
	if again {
		d.freeUnit(u)
	}
	return again
}

// inRange reports whether err may concern some of the blocks only.
func inRange(err error) bool {
	switch block.ClassOf(err) {
	case block.Medium, block.NoSpace, block.Invalid:
		return true
	}
	return false
}

// personal returns err as that of r.
func personal(r *block.Request, err error) error {
	if err == nil { // what follows allocates
		return nil
	}
	if e := (*block.Error)(nil); errors.As(err, &e) && e.Class != block.WouldBlock {
		return block.Fail(r, e.Class, e.Err)
	}
	return err
}
