package gateway

import (
	"sync/atomic"

	"sango/internal/block"
	"sango/internal/block/mem"
)

// kept is a mem volume as one unit sees it: closing it leaves the contents
// with the node, for the next one that maps the volume.
type kept struct {
	dev    *mem.Device
	closed atomic.Bool
}

var _ block.Device = (*kept)(nil)

// Info implements block.Device.
func (k *kept) Info() block.Info { return k.dev.Info() }

// Submit implements block.Device. Requests have ended when it returns.
func (k *kept) Submit(r *block.Request) {
	if k.closed.Load() {
		r.End(block.Fail(r, block.Closed, nil))
		return
	}
	k.dev.Submit(r)
}

// Status implements block.Device.
func (k *kept) Status(off, n int64, limit int) ([]block.Extent, error) {
	if k.closed.Load() {
		return nil, &block.Error{Class: block.Closed, Off: off, Len: n}
	}
	return k.dev.Status(off, n, limit)
}

// Close implements block.Device.
func (k *kept) Close() error {
	k.closed.Store(true)
	return nil
}
