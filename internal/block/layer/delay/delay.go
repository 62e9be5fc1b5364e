// Package delay is a layer that makes requests slow on purpose, or holds them
// until they are released: a slow store, or a store that stands still, for
// tests and drills. NoWait requests that would be delayed end with
// ErrWouldBlock, as they would on a device that is really that slow.
package delay

import (
	"sync"
	"time"

	"sango/internal/block"
	"sango/internal/block/layer"
)

// Options say how slow the layer is.
type Options struct {
	// Latency is how long a request of each operation waits before it goes
	// down to the device.
	Latency map[block.Op]time.Duration
}

// Device is the layer. It implements block.Device.
type Device struct {
	dev   block.Device
	pool  *layer.Pool
	gauge block.Gauge

	mu      sync.Mutex // guards all below
	latency [8]time.Duration
	hold    [8]bool
	held    []*layer.Call
	arrived chan struct{} // a token for each request that is held
}

// heldBacklog is how many held requests Arrived can count.
const heldBacklog = 4096

// New returns a layer over d.
func New(d block.Device, o Options) *Device {
	l := &Device{dev: d, arrived: make(chan struct{}, heldBacklog)}
	l.pool = layer.NewPool(l.after)
	for op, t := range o.Latency {
		l.SetLatency(op, t)
	}
	return l
}

// SetLatency changes the latency of op for requests to come.
func (d *Device) SetLatency(op block.Op, t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latency[op&7] = t
}

// Hold keeps requests of these operations back (none named: all) until
// Release.
func (d *Device) Hold(ops ...block.Op) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.hold {
		if len(ops) == 0 {
			d.hold[i] = true
		}
	}
	for _, op := range ops {
		d.hold[op&7] = true
	}
}

// Arrived receives a token for each request that is held back: a test waits on
// it to know that its request has got as far as the device.
func (d *Device) Arrived() <-chan struct{} { return d.arrived }

// Held returns how many requests are held back now.
func (d *Device) Held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// Release ends Hold and lets all go that were held back, in their order.
func (d *Device) Release() {
	d.mu.Lock()
	d.hold = [8]bool{}
	held := d.held
	d.held = nil
	d.mu.Unlock()
	for _, c := range held {
		d.dev.Submit(&c.Inner)
	}
}

// Info implements block.Device.
func (d *Device) Info() block.Info { return d.dev.Info() }

// Submit implements block.Device.
func (d *Device) Submit(r *block.Request) {
	if !d.gauge.Enter() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	d.mu.Lock()
	hold, wait := d.hold[r.Op&7], d.latency[r.Op&7]
	if (hold || wait > 0) && r.Flags&block.NoWait != 0 {
		d.mu.Unlock()
		r.End(block.ErrWouldBlock)
		d.gauge.Leave()
		return
	}
	c := d.pool.Get(r)
	if hold {
		d.held = append(d.held, c)
		select {
		case d.arrived <- struct{}{}:
		default:
		}
	}
	d.mu.Unlock()
	switch {
	case hold:
	case wait > 0:
		time.AfterFunc(wait, func() { d.dev.Submit(&c.Inner) })
	default:
		d.dev.Submit(&c.Inner)
	}
}

func (d *Device) after(c *layer.Call) {
	c.Finish(c.Inner.Err)
	d.gauge.Leave()
}

// Status implements block.Device.
func (d *Device) Status(off, n int64, limit int) ([]block.Extent, error) {
	return d.dev.Status(off, n, limit)
}

// Close implements block.Device. It releases what is held back and waits for
// what is delayed.
func (d *Device) Close() error {
	d.Release()
	d.gauge.Shut()
	return d.dev.Close()
}
