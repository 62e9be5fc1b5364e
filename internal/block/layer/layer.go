// Package layer holds what the layers over a block.Device share. A layer wraps
// a device and is one itself. It never embeds the device that it wraps: a
// method that Device gains later would slip through unwrapped.
package layer

import (
	"sync"
	"time"

	"sango/internal/block"
)

// Call is a request on its way through a layer that has to see its end: the
// layer's own request to the device below, which shares the buffers of the
// outer one.
type Call struct {
	// Inner goes to the device below. Its Err is the outcome there.
	Inner block.Request
	// Outer is the request that the layer was given.
	Outer *block.Request
	// Begin is for the layer's own use.
	Begin time.Duration
	// Tag is for the layer's own use.
	Tag  any
	pool *Pool
}

// Pool makes Calls without allocating in steady state.
type Pool struct {
	calls sync.Pool
	after func(*Call)
}

// NewPool returns a pool. after is called when the device below has ended a
// call; it has to see to it that Finish is called once.
func NewPool(after func(*Call)) *Pool {
	p := &Pool{after: after}
	p.calls.New = func() any { return &Call{pool: p} }
	return p
}

func ended(r *block.Request) {
	c := r.User.(*Call)
	c.pool.after(c)
}

// Get returns a call whose Inner does what outer asks for.
func (p *Pool) Get(outer *block.Request) *Call {
	c := p.calls.Get().(*Call)
	c.Outer = outer
	c.Inner = block.Request{
		Op: outer.Op, Flags: outer.Flags, Off: outer.Off, Len: outer.Len, Bufs: outer.Bufs,
		Epoch: outer.Epoch, Done: ended, User: c,
	}
	return c
}

// Finish gives c back to its pool and ends the outer request with err.
func (c *Call) Finish(err error) {
	outer := c.Outer
	c.Outer, c.Tag, c.Inner = nil, nil, block.Request{}
	c.pool.calls.Put(c)
	outer.End(err)
}
