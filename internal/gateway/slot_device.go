package gateway

import (
	"sync"
	"sync/atomic"

	"sango/internal/block"
)

// slotDevice is a volume as its unit sees it, whoever owns it: requests are
// executed while it is open here, and end with Closed else. It implements
// block.Device.
type slotDevice struct {
	dev atomic.Pointer[servedDevice] // nil: not open

	mu   sync.Mutex // guards info
	info block.Info // of the record, for when it is not open
}

var _ block.Device = (*slotDevice)(nil)

// servedDevice is an open device, and what it does.
type servedDevice struct {
	dev    block.Device
	done   atomic.Uint64 // bytes, and workUnit for each request
	effort effort        // of member.followWork
	failed atomic.Bool   // see slotDevice.fail
}

// count adds a request. One that is sent back because it would block, and comes
// again, is two: it is more work.
func (o *servedDevice) count(r *block.Request) {
	n := uint64(workUnit)
	if r.Op == block.OpRead || r.Op == block.OpWrite {
		n += uint64(r.Len)
	}
	o.done.Add(n)
}

// put makes dev what is behind d.
func (d *slotDevice) put(dev block.Device) { d.dev.Store(&servedDevice{dev: dev}) }

// fail notes that what is behind d serves nothing until it is opened again, and
// reports whether that was not known yet.
func (d *slotDevice) fail() (news bool) {
	o := d.dev.Load()
	return o != nil && o.failed.CompareAndSwap(false, true)
}

// take closes what is behind d. All requests have ended.
func (d *slotDevice) take() error {
	if o := d.dev.Swap(nil); o != nil {
		return o.dev.Close()
	}
	return nil
}

// noted returns nil when whoever opens next what is behind d knows of all flushes
// that failed (block.Info.Lost).
func (d *slotDevice) noted() error {
	o := d.dev.Load()
	if o == nil {
		return nil
	}
	// Not one that is written through: nothing that was acknowledged is lost, and a
	// disk that is out of reach takes no notes.
	if n, ok := o.dev.(interface{ Noted() error }); ok {
		return n.Noted()
	}
	return nil
}

// describe tells d what it is while it is not open.
func (d *slotDevice) describe(i block.Info) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.info = i
}

// grow tells how large it is now.
func (d *slotDevice) grow(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.info.Size = size
}

// problem implements volumeDevice: what does not open is not served.
func (d *slotDevice) problem() error { return nil }

// Info implements block.Device.
func (d *slotDevice) Info() block.Info {
	if o := d.dev.Load(); o != nil {
		return o.dev.Info()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// Submit implements block.Device.
func (d *slotDevice) Submit(r *block.Request) {
	if o := d.dev.Load(); o != nil {
		o.count(r)
		o.dev.Submit(r)
		return
	}
	r.End(block.Fail(r, block.Closed, nil))
}

// Status implements block.Device.
func (d *slotDevice) Status(off, n int64, limit int) ([]block.Extent, error) {
	if o := d.dev.Load(); o != nil {
		return o.dev.Status(off, n, limit)
	}
	return nil, &block.Error{Class: block.Closed, Off: off, Len: n}
}

// Close implements block.Device for the unit: the device is its owner's.
func (d *slotDevice) Close() error { return nil }
