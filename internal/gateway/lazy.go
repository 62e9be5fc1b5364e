package gateway

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"sango/internal/block"
)

// reopenAfter is how long a volume that failed to open is left alone before
// the next command tries again.
const reopenAfter = time.Second

// lazyDevice is a volume that is opened by the first request that needs it, so
// that a node with thousands of volumes starts at once. It implements
// block.Device; failures to open are the failures of requests.
type lazyDevice struct {
	open func() (block.Device, error)

	dev atomic.Pointer[opened] // nil: not open

	opening sync.Mutex // guards opening, and what follows
	closed  bool
	failed  time.Time

	mu      sync.Mutex // guards what follows; nobody waits for a store with it
	info    block.Info // as it will be: what is told before it is open
	failure error
}

// opened is an open device behind one pointer.
type opened struct{ dev block.Device }

var _ block.Device = (*lazyDevice)(nil)

func newLazy(info block.Info, open func() (block.Device, error)) *lazyDevice {
	return &lazyDevice{open: open, info: info}
}

// get returns the open device, opening it if need be.
func (d *lazyDevice) get() (block.Device, error) {
	if o := d.dev.Load(); o != nil {
		return o.dev, nil
	}
	d.opening.Lock()
	defer d.opening.Unlock()
	if o := d.dev.Load(); o != nil {
		return o.dev, nil
	}
	if d.closed {
		return nil, &block.Error{Class: block.Closed}
	}
	if err := d.problem(); err != nil && time.Since(d.failed) < reopenAfter {
		return nil, err
	}
	dev, err := d.open()
	d.mu.Lock()
	d.failure = err
	d.mu.Unlock()
	if err != nil {
		d.failed = time.Now()
		return nil, err
	}
	d.dev.Store(&opened{dev})
	return dev, nil
}

// problem returns why the last attempt to open it failed, nil if it did not.
func (d *lazyDevice) problem() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failure
}

// Info implements block.Device.
func (d *lazyDevice) Info() block.Info {
	if o := d.dev.Load(); o != nil {
		return o.dev.Info()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// grow tells a device that is not open how large it is now.
func (d *lazyDevice) grow(size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.info.Size = size
}

// Submit implements block.Device.
func (d *lazyDevice) Submit(r *block.Request) {
	if o := d.dev.Load(); o != nil {
		o.dev.Submit(r)
		return
	}
	if r.Flags&block.NoWait != 0 {
		r.End(block.ErrWouldBlock)
		return
	}
	dev, err := d.get()
	if err != nil {
		r.End(block.Fail(r, openClass(err), err))
		return
	}
	dev.Submit(r)
}

// openClass is the class of the requests that a failure to open ends.
func openClass(err error) block.Class {
	if e := (*block.Error)(nil); errors.As(err, &e) {
		return e.Class
	}
	return block.Failed
}

// Status implements block.Device.
func (d *lazyDevice) Status(off, n int64, limit int) ([]block.Extent, error) {
	dev, err := d.get()
	if err != nil {
		return nil, &block.Error{Class: openClass(err), Off: off, Len: n, Err: err}
	}
	return dev.Status(off, n, limit)
}

// Close implements block.Device.
func (d *lazyDevice) Close() error {
	d.opening.Lock()
	defer d.opening.Unlock()
	d.closed = true
	if o := d.dev.Load(); o != nil {
		return o.dev.Close()
	}
	return nil
}
